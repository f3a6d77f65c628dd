"""Collects the parts that a format's reader finds into a text and its blocks."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from komrc.documents.document import Block
from komrc.documents.limits import Limits
from komrc.documents.statutes import heading_at
from komrc.errors import DataError

CELL_SEPARATOR = " | "
_BETWEEN_BLOCKS = "\n\n"
_LONGEST_TITLE = 200  # characters

# U+0085, U+2028 and U+2029 are line ends in no text editor, so they stay.
_LINE_ENDS = re.compile(r"\r\n?|[\x0b\x0c]")
# UTF-8 can't encode lone surrogates. Control characters are never text; \ufffe and \uffff are no characters.
_NOT_TEXT = re.compile("[\x00-\x08\x0e-\x1f\x7f\ud800-\udfff\ufffe\uffff]")
_SURROGATES = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Extracted:
    """What a reader got from a file, or from one record of it; ``record`` is the record's id."""

    title: str
    text: str
    blocks: tuple[Block, ...]
    record: str = ""


def clean(text: str) -> str:
    """The text with ``\\n`` at line ends, without control characters, and with U+FFFD for half characters."""
    text = _LINE_ENDS.sub("\n", text)
    if _NOT_TEXT.search(text):
        text = _NOT_TEXT.sub("", _SURROGATES.sub("\ufffd", text))
    return text


def one_line(text: str) -> str:
    """The text in one line, with one space where it had white space: for titles, headings and cells."""
    return " ".join(clean(text).split())


def paragraph_blocks(text: str, start: int, end: int, page: int | None = None) -> Iterator[Block]:
    """The blocks of a run of lines: a new one begins at each statute heading."""
    begin = at = start
    while at < end:
        line_end = text.find("\n", at, end)
        line_end = end if line_end < 0 else line_end
        indent = len(text[at:line_end]) - len(text[at:line_end].lstrip())
        heading = heading_at(text[at + indent : line_end])
        if heading:
            length, level = heading
            yield from _trimmed("paragraph", text, begin, at, page)
            yield Block("heading", at + indent, at + indent + length, page, level)
            begin = at + indent + length
        at = line_end + 1
    yield from _trimmed("paragraph", text, begin, end, page)


def _trimmed(kind: str, text: str, start: int, end: int, page: int | None) -> Iterator[Block]:
    """The block without white space at its ends; none if nothing else is in it."""
    part = text[start:end]
    stripped = part.strip()
    if stripped:
        start += len(part) - len(part.lstrip())
        yield Block(kind, start, start + len(stripped), page)


class Builder:
    """A document's text as it grows. Raises DataError if it exceeds the limit of characters."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._parts: list[str] = []
        self._blocks: list[Block] = []
        self._length = 0
        self._first_heading = ""

    def heading(self, text: str, level: int, page: int | None = None) -> None:
        """Add a heading of level 1 to 6; an empty one is left out."""
        text = one_line(text)
        self._first_heading = self._first_heading or text
        self._add("heading", text, page, min(6, max(1, level)))

    def paragraph(self, text: str, page: int | None = None) -> None:
        """Add a paragraph; statute headings in it become headings."""
        text = _strip_lines(text)
        if heading_at(text) is None and "\n제" not in text:
            self._add("paragraph", text, page)
            return
        start = self._begin(text)
        if text:
            self._blocks += [
                Block(block.kind, start + block.start, start + block.end, page, block.level)
                for block in paragraph_blocks(text, 0, len(text))
            ]

    def items(self, items: Iterable[str], page: int | None = None) -> None:
        """Add a list: one line for each item."""
        self._add("list", "\n".join(filter(None, (_strip_lines(item) for item in items))), page)

    def code(self, text: str, page: int | None = None) -> None:
        """Add text whose white space counts."""
        self._add("code", clean(text).strip("\n").rstrip(), page)

    def table(self, rows: Iterable[Sequence[str]], page: int | None = None) -> None:
        """Add a table: one line for each row that has text, " | " between cells."""
        lines = []
        length = 0
        for row in rows:
            cells = [one_line(cell) for cell in row]
            while cells and not cells[-1]:
                cells.pop()
            if cells:
                lines.append(CELL_SEPARATOR.join(cells))
                length += len(lines[-1]) + 1
                self._check(length)
        self._add("table", "\n".join(lines), page)

    def extracted(self, title: str, *, record: str = "") -> Extracted:
        """The document so far. If ``title`` is empty, it is the first heading that is none of a statute."""
        title = (one_line(title) or self._first_heading)[:_LONGEST_TITLE]
        return Extracted(title, "".join(self._parts), tuple(self._blocks), record)

    def _add(self, kind: str, text: str, page: int | None, level: int = 0) -> None:
        if text.strip():
            start = self._begin(text)
            self._blocks.append(Block(kind, start, start + len(text), page, level))

    def _begin(self, text: str) -> int:
        """Append a text; where it begins."""
        if self._parts and text:
            self._parts.append(_BETWEEN_BLOCKS)
            self._length += len(_BETWEEN_BLOCKS)
        start = self._length
        self._check(len(text))
        self._parts.append(text)
        self._length += len(text)
        return start

    def _check(self, more: int) -> None:
        if self._length + more > self._limits.characters:
            raise too_long(self._limits)


def too_long(limits: Limits) -> DataError:
    """The error for a document with more text than the limit."""
    return DataError(
        f"has more than {limits.characters:,} characters", fix="split it, or raise the limit (characters)"
    )


def _strip_lines(text: str) -> str:
    """The lines of a paragraph without white space at their ends and without empty lines."""
    return "\n".join(line for part in clean(text).split("\n") if (line := part.strip()))
