"""HWP 5 documents (Hancom Hangul), after the format that Hancom publishes ("한글문서파일형식 5.0").

The file is an OLE container. DocInfo has the shapes of paragraphs, BodyText/SectionN the text: records of a
tag, a level and bytes. A record is in the nearest record above it that has a lower level.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from komrc.documents.builder import Builder, Extracted
from komrc.documents.limits import Limits
from komrc.errors import DataError

_SIGNATURE = b"HWP Document File"
_COMPRESSED, _PASSWORD, _DISTRIBUTION = 0x1, 0x2, 0x4  # flags of the FileHeader

_FIRST_TAG = 0x10
_PARA_SHAPE = _FIRST_TAG + 9
_PARA_HEADER = _FIRST_TAG + 50
_PARA_TEXT = _FIRST_TAG + 51
_CONTROL = _FIRST_TAG + 55
_LIST_HEADER = _FIRST_TAG + 56
_TABLE = _FIRST_TAG + 61
_EQUATION = _FIRST_TAG + 72

# Control ids are stored as little-endian numbers, so their letters are reversed.
_LEFT_OUT = frozenset((b"daeh", b"toof", b"tmct"))  # headers, footers, hidden comments
_TABLE_ID, _EQUATION_ID = b" lbt", b"deqe"

# Control characters in a paragraph: these are one UTF-16 unit long, the other ones below 32 are eight.
_SHORT = {0: "", 10: "\n", 13: "\n", 24: "-", 25: "", 26: "", 27: "", 28: "", 29: "", 30: "\u00a0", 31: " "}
_TAB, _LONG_UNITS = 9, 8

_OUTLINE = 1  # the kind of a paragraph's number that makes it a part of the outline
_LONGEST_HEADING = 100  # characters; the outline numbers whole paragraphs in some documents
_DEEPEST = 64  # lists in lists
_MOST_COLUMNS = 1024


@dataclass(slots=True)
class _Record:
    tag: int
    data: bytes
    inside: list[_Record] = field(default_factory=list)

    def of(self, tag: int) -> list[_Record]:
        """The records in this one that have a tag."""
        return [record for record in self.inside if record.tag == tag]


def read(path: Path, limits: Limits) -> Iterator[Extracted]:
    """The document of an HWP 5 file: text, tables, text boxes, notes; no headers, footers and comments."""
    import olefile

    try:
        container = olefile.OleFileIO(str(path))
    except (OSError, ValueError, IndexError, struct.error) as error:
        raise DataError("is damaged, or no HWP document", fix="get the whole file again") from error
    with container:
        compressed = _check_header(container)
        unpack = _Unpacker(compressed, limits, path.stat().st_size)
        levels = _outline_levels(unpack(_stream(container, "DocInfo")))
        builder = Builder(limits)
        names = [entry[1] for entry in container.listdir() if len(entry) == 2 and entry[0] == "BodyText"]
        for name in sorted(names, key=lambda name: (len(name), name)):  # Section2 before Section10
            writer = _Writer(builder, levels)
            for paragraph in _tree(unpack(_stream(container, f"BodyText/{name}"))):
                writer.paragraph(paragraph)
        title = _title(container)
    yield builder.extracted(title)


def _check_header(container: Any) -> bool:
    """Whether the streams are compressed. Raises DataError for a file that can't be read."""
    header = _stream(container, "FileHeader")
    if not header.startswith(_SIGNATURE) or len(header) < 40:
        raise DataError("is no HWP 5 document", fix="open it in Hangul and save it as HWPX")
    (flags,) = struct.unpack_from("<I", header, 36)
    if flags & _PASSWORD:
        raise DataError("is encrypted with a password", fix="save it without a password")
    if flags & _DISTRIBUTION:
        raise DataError(
            "is an HWP document for distribution (배포용 문서), whose text is encrypted",
            fix="get it as an ordinary HWP, HWPX or PDF file",
        )
    return bool(flags & _COMPRESSED)


def _stream(container: Any, name: str) -> bytes:
    if not container.exists(name):
        raise DataError(f"is damaged: it has no part {name}", fix="get the whole file again")
    with container.openstream(name) as stream:
        data: bytes = stream.read()
        return data


def _title(container: Any) -> str:
    """The title of the summary, "" if it has none."""
    name = "\x05HwpSummaryInformation"
    if not container.exists(name):
        return ""
    title = container.getproperties(name).get(2, "")
    return title if isinstance(title, str) else ""


class _Unpacker:
    """Unpacks streams, all of them together up to the limits."""

    def __init__(self, compressed: bool, limits: Limits, file_bytes: int) -> None:
        self._compressed = compressed
        self._left = min(limits.unpacked_bytes, max(16 << 20, limits.unpacked_ratio * file_bytes))

    def __call__(self, data: bytes) -> bytes:
        """The bytes of a stream. Raises DataError for a damaged one."""
        if self._compressed:
            unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
            try:
                data = unpacker.decompress(data, self._left + 1)
            except zlib.error as error:
                raise DataError(f"is damaged ({error})", fix="get the whole file again") from error
        if len(data) > self._left:
            raise DataError(
                "is too large for its size when it is unpacked",
                fix="if you trust it, raise the limit (unpacked_bytes)",
            )
        self._left -= len(data)
        return data


def _records(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Tag, level and bytes of each record. What follows a damaged one is left out."""
    at = 0
    while at + 4 <= len(data):
        (header,) = struct.unpack_from("<I", data, at)
        at += 4
        size = header >> 20
        if size == 0xFFF:
            if at + 4 > len(data):
                return
            (size,) = struct.unpack_from("<I", data, at)
            at += 4
        yield header & 0x3FF, header >> 10 & 0x3FF, data[at : at + size]
        at += size


def _tree(data: bytes) -> list[_Record]:
    """The paragraphs of a section, each with the records in it."""
    root = _Record(-1, b"")
    path = [root]
    for tag, level, content in _records(data):
        del path[min(level, len(path) - 1, _DEEPEST) + 1 :]
        record = _Record(tag, content)
        path[-1].inside.append(record)
        path.append(record)
    return root.of(_PARA_HEADER)


def _outline_levels(data: bytes) -> list[int]:
    """For each shape of paragraphs: its level in the outline, from 1; 0 if it is not a part of it."""
    levels = []
    for tag, _, content in _records(data):
        if tag == _PARA_SHAPE:
            attributes = struct.unpack_from("<I", content)[0] if len(content) >= 4 else 0
            is_outline = attributes >> 23 & 0x3 == _OUTLINE
            levels.append((attributes >> 25 & 0x7) + 1 if is_outline else 0)
    return levels


def paragraph_text(data: bytes) -> str:
    """The text of a record HWPTAG_PARA_TEXT: UTF-16 with control characters, some with data behind them."""
    units = memoryview(data[: len(data) // 2 * 2]).cast("H")
    pieces: list[str] = []
    at = begin = 0
    while at < len(units):
        unit = units[at]
        if unit >= 32:
            at += 1
            continue
        pieces.append(data[2 * begin : 2 * at].decode("utf-16-le", "replace"))
        if unit in _SHORT:
            pieces.append(_SHORT[unit])
            at += 1
        else:
            pieces.append("\t" if unit == _TAB else "")
            at += _LONG_UNITS
        begin = at
    pieces.append(data[2 * begin : 2 * len(units)].decode("utf-16-le", "replace"))
    return "".join(pieces)


class _Writer:
    def __init__(self, builder: Builder, outline_levels: list[int]) -> None:
        self._builder = builder
        self._outline_levels = outline_levels

    def paragraph(self, paragraph: _Record) -> None:
        """Write a paragraph, then the tables, text boxes and notes that are anchored in it."""
        text = "".join(paragraph_text(record.data) for record in paragraph.of(_PARA_TEXT)).strip()
        level = self._level(paragraph)
        if level and len(text) <= _LONGEST_HEADING and not text.endswith("."):
            self._builder.heading(text, level)
        else:
            self._builder.paragraph(text)
        for control in paragraph.of(_CONTROL):
            self._control(control)

    def _level(self, paragraph: _Record) -> int:
        if len(paragraph.data) < 10:
            return 0
        (shape,) = struct.unpack_from("<H", paragraph.data, 8)
        return self._outline_levels[shape] if shape < len(self._outline_levels) else 0

    def _control(self, control: _Record) -> None:
        kind = control.data[:4]
        if kind in _LEFT_OUT:
            return
        if kind == _TABLE_ID and control.of(_TABLE):
            for caption in _before_table(control):
                self.paragraph(caption)
            self._builder.table(_rows(control))
            return
        if kind == _EQUATION_ID:
            for equation in control.of(_EQUATION):
                self._builder.paragraph(_equation(equation.data))
        self._inside(control)

    def _inside(self, record: _Record) -> None:
        """Write the paragraphs in text boxes and notes, at whatever depth."""
        for part in record.inside:
            if part.tag == _PARA_HEADER:
                self.paragraph(part)
            elif part.tag == _CONTROL:
                self._control(part)
            else:
                self._inside(part)


def _before_table(control: _Record) -> Iterator[_Record]:
    """The paragraphs of a table's caption: they are in front of the record of the table."""
    for part in control.inside:
        if part.tag == _TABLE:
            return
        if part.tag == _PARA_HEADER:
            yield part


def _rows(control: _Record) -> list[list[str]]:
    """The rows of a table. A merged cell has its text once and is empty in the other places."""
    rows: dict[int, dict[int, str]] = {}
    parts = iter(control.inside)
    next((part for part in parts if part.tag == _TABLE), None)
    texts: list[str] = []
    for part in parts:
        if part.tag == _LIST_HEADER and len(part.data) >= 12:
            column, row = struct.unpack_from("<HH", part.data, 8)
            texts = []
            rows.setdefault(row, {})[min(column, _MOST_COLUMNS)] = ""
            cell = row, min(column, _MOST_COLUMNS)
            inside = part.inside
        elif part.tag == _PARA_HEADER and rows:
            inside = [part]
        else:
            continue
        texts += [text for record in inside for text in _texts(record)]
        rows[cell[0]][cell[1]] = " ".join(texts)
    return [[cells.get(at, "") for at in range(max(cells) + 1)] for _, cells in sorted(rows.items())]


def _texts(record: _Record) -> Iterator[str]:
    """All texts in a record, in order."""
    if record.tag == _PARA_TEXT:
        yield paragraph_text(record.data).strip()
    elif record.tag == _EQUATION:
        yield _equation(record.data)
    for part in record.inside:
        yield from _texts(part)


def _equation(data: bytes) -> str:
    """The script of an equation, in Hangul's own notation."""
    if len(data) < 6:
        return ""
    (length,) = struct.unpack_from("<H", data, 4)
    return data[6 : 6 + 2 * length].decode("utf-16-le", "replace").strip("\x00 ")
