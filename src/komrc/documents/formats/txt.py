"""Plain text: paragraphs between empty lines, statute headings."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from komrc.documents.builder import Extracted, clean, one_line, paragraph_blocks, too_long
from komrc.documents.document import Block
from komrc.documents.encodings import decode
from komrc.documents.limits import Limits

_EMPTY_LINES = re.compile(r"\n(?:[^\S\n]*\n)+")


def read(path: Path, limits: Limits) -> Iterator[Extracted]:
    """The text of the file with its own lines; a line number in it is one of the file."""
    text = clean(decode(path.read_bytes()))
    if len(text) > limits.characters:
        raise too_long(limits)
    yield extract(text)


def extract(text: str, *, title: str = "", record: str = "") -> Extracted:
    """A text as a document; it stays as it is."""
    blocks: list[Block] = []
    start = 0
    for gap in _EMPTY_LINES.finditer(text):
        blocks += paragraph_blocks(text, start, gap.start())
        start = gap.end()
    blocks += paragraph_blocks(text, start, len(text))
    return Extracted(one_line(title), text, tuple(blocks), record)
