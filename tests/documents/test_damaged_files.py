"""A sample of damaged files of each kind: each gives a document or a reason, and the walk goes on."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
from support import office_files

from komrc.documents import Document, Limits, Unread, read_documents

TIMES = 24
LIMITS = replace(Limits(), seconds=60.0, memory_bytes=2 << 30)

PAGE = (
    "<html><head><title>가</title></head><body><h1>휴가</h1><ul><li>연차<li>병가</ul><table><tr><td>1</table>"
)
TEXTS = {
    "html": PAGE,
    "md": "# 휴가\n\n- 연차\n  1. 반차\n\n| 가 | 나 |\n|---|---|\n| 1 | `2` |\n\n> 인용\n\n```\nx\n```\n",
    "txt": "제1장 총칙\n제2조(연차) 연차는 15일\n\n끝",
    "csv": '가,나\n"연,차",15\n',
    "json": '{"data": [{"title": "가", "paragraphs": [{"context": "연차는 15일", "qas": []}]}]}',
    "jsonl": '{"id": "1", "title": "가", "text": "연차"}\n{"id": "2", "text": "병가"}\n',
}
OFFICE: dict[str, Callable[[], bytes]] = {
    "docx": office_files.docx_bytes,
    "pptx": office_files.pptx_bytes,
    "xlsx": office_files.xlsx_bytes,
    "hwpx": office_files.hwpx_bytes,
    "hwp": office_files.hwp_bytes,
    "pdf": office_files.pdf_bytes,
}


def damaged(data: bytes, draw: Random) -> bytes:
    """The bytes with some of them changed, left out, repeated or cut off."""
    changed = bytearray(data)
    for _ in range(draw.choice((1, 1, 3, 30))):
        at = draw.randrange(len(changed) or 1)
        length = draw.choice((1, 2, 8, 64))
        kind = draw.randrange(5)
        if kind == 0:
            changed[at : at + length] = draw.randbytes(length)
        elif kind == 1:
            del changed[at : at + length]
        elif kind == 2:
            changed[at:at] = changed[at : at + length] * draw.choice((1, 50))
        elif kind == 3:
            changed[at : at + length] = bytes(draw.choice((0, 255)) for _ in range(length))
        elif draw.random() < 0.2:
            del changed[at:]
    return bytes(changed)


def damaged_inside(data: bytes, draw: Random) -> bytes:
    """A ZIP file that is sound, with a damaged member."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = draw.choice([name for name in members if name.endswith(".xml")])
    members[name] = damaged(members[name], draw)
    with io.BytesIO() as file:
        with zipfile.ZipFile(file, "w") as archive:
            for member, content in members.items():
                archive.writestr(member, content)
        return file.getvalue()


def check(folder: Path, count: int) -> None:
    files = set()
    for entry in read_documents([folder], limits=LIMITS):
        files.add(entry.source)
        if isinstance(entry, Unread):
            assert entry.reason and "crashed" not in entry.reason, entry
            continue
        assert isinstance(entry, Document)
        entry.text.encode()
        end = 0
        for block in entry.blocks:
            assert end <= block.start < block.end <= len(entry.text)
            end = block.end
    assert len(files) == count


@pytest.mark.parametrize("kind", [*TEXTS, *OFFICE])
def test_damaged_files(tmp_path: Path, kind: str) -> None:
    data = OFFICE[kind]() if kind in OFFICE else TEXTS[kind].encode()
    draw = Random(kind)
    for number in range(TIMES):
        (tmp_path / f"{number}.{kind}").write_bytes(damaged(data, draw) or b"x")
    check(tmp_path, TIMES)


@pytest.mark.parametrize("kind", ["docx", "pptx", "xlsx", "hwpx"])
def test_damaged_files_in_a_sound_zip_file(tmp_path: Path, kind: str) -> None:
    data, draw = OFFICE[kind](), Random(kind)
    for number in range(TIMES):
        (tmp_path / f"{number}.{kind}").write_bytes(damaged_inside(data, draw))
    check(tmp_path, TIMES)


def test_damaged_records_of_hwp(tmp_path: Path) -> None:
    draw = Random("hwp")
    for number in range(TIMES):
        section = damaged(office_files.hwp_section(), draw)
        (tmp_path / f"{number}.hwp").write_bytes(office_files.hwp_bytes(flags=number % 2, section=section))
    check(tmp_path, TIMES)
