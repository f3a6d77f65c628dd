"""Files of each kind, written by the libraries that people's programs use, or by us after the format."""

from __future__ import annotations

import io
import struct
import zlib
from itertools import pairwise
from pathlib import Path

import pytest

FONTS = (
    Path("/usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc"),
    Path("/usr/share/fonts/truetype/nanum/NanumGothic.ttf"),
)
ROWS = [["구분", "일수"], ["연차", "15일"], ["병가", "60일"]]


def docx_bytes() -> bytes:
    """A heading, a paragraph, a list and a table with a merged cell."""
    import docx

    document = docx.Document()
    document.core_properties.title = "취업 규칙"
    document.add_heading("근무", 1)
    document.add_heading("휴가", 2)
    document.add_paragraph("연차는 사흘 전에 신청한다.")
    document.add_paragraph("제3조(병가) 병가는 60일까지 쓴다.")
    table = document.add_table(rows=3, cols=2)
    for row, cells in enumerate(ROWS):
        for column, text in enumerate(cells):
            table.cell(row, column).text = text
    return _saved(document)


def pptx_bytes() -> bytes:
    """Two slides: bullets and speaker's notes; a table in a group of its own slide."""
    import pptx
    from pptx.util import Inches

    presentation = pptx.Presentation()
    first = presentation.slides.add_slide(presentation.slide_layouts[1])
    first.shapes.title.text = "휴가 안내"
    first.placeholders[1].text = "연차 15일\n병가 60일"
    first.notes_slide.notes_text_frame.text = "사흘 전에 신청한다."
    second = presentation.slides.add_slide(presentation.slide_layouts[5])
    second.shapes.title.text = "표"
    table = second.shapes.add_table(3, 2, Inches(1), Inches(2), Inches(6), Inches(2)).table
    for row, cells in enumerate(ROWS):
        for column, text in enumerate(cells):
            table.cell(row, column).text = text
    group = second.shapes.add_group_shape()
    group.shapes.add_textbox(Inches(1), Inches(5), Inches(3), Inches(1)).text_frame.text = "묶음 속의 글"
    return _saved(presentation)


def xlsx_bytes() -> bytes:
    """Two sheets: numbers, a date and an empty row between tables; text."""
    import datetime

    import openpyxl

    workbook = openpyxl.Workbook()
    sheet = workbook.active
    sheet.title = "휴가"
    for row in [["구분", "일수", "부터"], ["연차", 15, datetime.date(2026, 3, 1)], [], ["비율", 0.25, True]]:
        sheet.append(row)
    workbook.create_sheet("주소록").append(["김철수", "서울"])
    workbook.create_sheet("빈 시트")
    return _saved(workbook)


def pdf_bytes(*, password: str | None = None, text: bool = True) -> bytes:
    """Two pages with a large heading and paragraphs; with ``text=False`` only a drawing."""
    import fpdf

    font = next((path for path in FONTS if path.exists()), None)
    if font is None:
        pytest.skip("no Korean font on this machine")
    pdf = fpdf.FPDF()
    pdf.add_font("korean", fname=str(font))
    pdf.add_page()
    if text:
        pdf.set_font("korean", size=20)
        pdf.multi_cell(0, 12, "휴가 규정", new_x="LMARGIN", new_y="NEXT")
        pdf.set_font("korean", size=11)
        pdf.ln(8)
        pdf.multi_cell(0, 6, "연차는 사흘 전에 신청한다. " * 8, new_x="LMARGIN", new_y="NEXT")
        pdf.ln(8)
        pdf.multi_cell(0, 6, "병가는 육십 일까지 쓴다.", new_x="LMARGIN", new_y="NEXT")
        pdf.add_page()
        pdf.multi_cell(0, 6, "둘째 쪽의 글이다.")
    else:
        pdf.rect(10, 10, 50, 50)
    if password:
        pdf.set_encryption(owner_password=password, user_password=password)
    return bytes(pdf.output())


def hwpx_bytes() -> bytes:
    """A paragraph and a table by python-hwpx."""
    from hwpx.document import HwpxDocument

    document = HwpxDocument.new()
    document.add_paragraph("연차는 사흘 전에 신청한다.")
    table = document.add_table(3, 2)
    for row, cells in enumerate(ROWS):
        for column, text in enumerate(cells):
            table.set_cell_text(row, column, text)
    document.add_paragraph("제3조(병가) 병가는 60일까지 쓴다.")
    with io.BytesIO() as file:
        document.save_to_stream(file)
        return file.getvalue()


# --- HWP 5, after "한글문서파일형식 5.0" --------------------------------------------------------------------


def hwp_bytes(*, flags: int = 1, section: bytes | None = None) -> bytes:
    """A heading of the outline, a paragraph with a tab and a line end, a table; deflated if bit 0 is set."""

    def packed(data: bytes) -> bytes:
        if not flags & 1:
            return data
        packer = zlib.compressobj(wbits=-15)
        return packer.compress(data) + packer.flush()

    header = b"HWP Document File".ljust(32, b"\0") + struct.pack("<II", 0x05010100, flags)
    shapes = _record(0x19, 1, struct.pack("<I", 0)) + _record(0x19, 1, struct.pack("<I", 1 << 23 | 1 << 25))
    return compound_file(
        {
            "FileHeader": header.ljust(256, b"\0"),
            "DocInfo": packed(shapes),
            "BodyText/Section0": packed(section if section is not None else hwp_section()),
        }
    )


def hwp_section() -> bytes:
    """The records of the section."""
    tab = struct.pack("<8H", 9, 0, 0, 0, 0, 0, 0, 9)
    text = "연차는".encode("utf-16-le") + tab + "사흘 전에\n신청한다.\r".encode("utf-16-le")
    anchor = struct.pack("<8H", 11, 0x6C62, 0x7462, 0, 0, 0, 0, 11) + "\r".encode("utf-16-le")
    cells = b""
    for row, texts in enumerate(ROWS):
        for column, cell in enumerate(texts):
            address = struct.pack("<HIHHHHH", 1, 0, 0, column, row, 1, 1)
            cells += _record(0x48, 2, address) + _paragraph(2, cell.encode("utf-16-le"))
    table = _record(0x47, 1, b" lbt") + _record(0x4D, 2, struct.pack("<IHH", 0, 3, 2)) + cells
    footer = (
        _record(0x47, 1, b"toof") + _record(0x48, 2, b"\0" * 8) + _paragraph(3, "꼬리말".encode("utf-16-le"))
    )
    return (
        _paragraph(0, "휴가\r".encode("utf-16-le"), shape=1)
        + _paragraph(0, text)
        + _paragraph(0, anchor)
        + table
        + footer
        + _paragraph(0, ("긴 글 " * 2000).encode("utf-16-le"))  # its size needs the long form
    )


def _paragraph(level: int, text: bytes, *, shape: int = 0) -> bytes:
    return _record(0x42, level, struct.pack("<IIHBB", len(text) // 2, 0, shape, 0, 0)) + _record(
        0x43, level + 1, text
    )


def _record(tag: int, level: int, data: bytes) -> bytes:
    if len(data) >= 0xFFF:
        return struct.pack("<II", tag | level << 10 | 0xFFF << 20, len(data)) + data
    return struct.pack("<I", tag | level << 10 | len(data) << 20) + data


def compound_file(streams: dict[str, bytes]) -> bytes:
    """An OLE container (MS-CFB, version 3) with streams, some of them in storages ("storage/stream").

    Streams are filled up to the size from which they are stored in sectors of their own.
    """
    storages = sorted({name.partition("/")[0] for name in streams if "/" in name})
    entries: list[tuple[str, int, int, int]] = [("Root Entry", 5, 0xFFFFFFFE, 0)]  # name, kind, sector, size
    data, chains, at = b"", [], 0
    for name, stream in streams.items():
        content = stream.ljust(max(4096, -(-len(stream) // 512) * 512), b"\0")
        entries.append((name.rpartition("/")[2], 2, at, len(content)))
        chains.append(len(content) // 512)
        at += len(content) // 512
        data += content
    entries += [(name, 1, 0, 0) for name in storages]
    top = [n + 1 for n, name in enumerate(streams) if "/" not in name] + [
        len(streams) + 1 + n for n in range(len(storages))
    ]
    inside = {
        len(streams) + 1 + n: [m + 1 for m, name in enumerate(streams) if name.startswith(f"{storage}/")]
        for n, storage in enumerate(storages)
    }
    siblings = {0: top, **inside}
    right: dict[int, int] = {}
    for names in siblings.values():  # siblings as a list: each is to the right of the one before
        names.sort(key=lambda n: (len(entries[n][0]), entries[n][0].upper()))
        right |= dict(pairwise(names))
    directory = b""
    for number, (name, kind, sector, size) in enumerate(entries):
        encoded = name.encode("utf-16-le")
        child = siblings[number][0] if siblings.get(number) else 0xFFFFFFFF
        directory += encoded.ljust(64, b"\0") + struct.pack(
            "<HBBIII16sIQQIQ", len(encoded) + 2, kind, 1, 0xFFFFFFFF, right.get(number, 0xFFFFFFFF), child,
            b"\0" * 16, 0, 0, 0, sector, size,
        )  # fmt: skip
    directory = directory.ljust(-(-len(directory) // 512) * 512, b"\0")
    table: list[int] = []
    for length in (*chains, len(directory) // 512):
        table += [*range(len(table) + 1, len(table) + length), 0xFFFFFFFE]
    directory_at = at
    table_sectors = -(-(len(table) + 8) // 128)
    table += [0xFFFFFFFD] * table_sectors
    table += [0xFFFFFFFF] * (table_sectors * 128 - len(table))
    first_table = directory_at + len(directory) // 512
    header = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 16
    header += struct.pack("<HHHHHHII", 0x3E, 3, 0xFFFE, 9, 6, 0, 0, 0)
    header += struct.pack(
        "<IIIIIIIII", table_sectors, directory_at, 0, 4096, 0xFFFFFFFE, 0, 0xFFFFFFFE, 0, first_table
    )
    places = list(range(first_table, first_table + table_sectors)) + [0xFFFFFFFF] * (109 - table_sectors)
    header = header[: 512 - 109 * 4] + struct.pack("<109I", *places)
    return header + data + directory + struct.pack(f"<{len(table)}I", *table)


def _saved(document: object) -> bytes:
    with io.BytesIO() as file:
        document.save(file)  # type: ignore[attr-defined]
        return file.getvalue()
