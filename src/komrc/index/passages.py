"""Documents to passages: pieces that one window of a reader can hold, each with its place in the document."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from komrc.documents.document import Block, Document
from komrc.index.bigrams import bigrams
from komrc.text.sentences import sentences

# Characters of a passage, so that it is one window of 384 tokens with its prefix and a question: 99 of 100
# pieces of 440 characters have at most 310 tokens of the embedded model, 99 of 100 questions at most 42.
SIZE = 440
OVERLAP = 100  # whole sentences of at most this many characters are in two neighbouring passages
SMALL = 200  # a passage with fewer characters is continued behind the next heading
_PREFIX = 60  # characters of title and heading, and of a table's header row, in front of a passage


@dataclass(frozen=True, slots=True)
class Passage:
    """A piece of a document: ``document_text[start:end] == text``, offsets in code points.

    Args:
        id: its number in the store; it changes when the document is indexed again.
        document: the document's id.
        title: the document's title.
        heading: the headings that it is below, the outermost first, with " > " between them; "" if none.
        text: the characters of the document.
        start: first character.
        end: one past the last character.
        page: the page where it begins, from 1; None if the format has no pages.
        line: the line of the document's text where it begins, from 1.
        header: the first row of the table in which the passage begins; "" if that row is part of the text.
    """

    id: int
    document: str
    title: str
    heading: str
    text: str
    start: int
    end: int
    page: int | None
    line: int
    header: str = ""

    @property
    def prefix(self) -> str:
        """Title, heading and header row, a line each, cut to a bounded length; "" or with ``\\n`` at the end.

        What is searched and read is ``prefix + text``. A line with which the text begins is left out.
        """
        parts = dict.fromkeys([self.title, *self.heading.split(" > ")])
        place = " > ".join(part for part in parts if part and not self.text.startswith(part))
        if len(place) > _PREFIX:  # the innermost headings are the nearest to the passage
            place = place[: _PREFIX // 2 - 1] + "…" + place[len(place) - _PREFIX // 2 :]
        return "".join(f"{line}\n" for line in (place, self.header) if line)

    def terms(self) -> list[str]:
        """What it is found by: the terms of prefix and text."""
        return bigrams(self.prefix + self.text)


@dataclass(frozen=True, slots=True)
class _Unit:
    """A sentence, a line or a table's row: passages are made of whole ones."""

    start: int
    end: int
    page: int | None
    heading: str
    header: str
    opens: bool  # a heading: a passage may begin here


def passages(document: Document, *, size: int = SIZE, overlap: int = OVERLAP) -> Iterator[Passage]:
    """The passages of a document in order, with ids from 0. Every character that is not white space is in
    one or, where sentences overlap, in several."""
    line, counted = 1, 0
    for number, (first, last) in enumerate(_packed(list(_units(document, size)), size, overlap)):
        line += document.text.count("\n", counted, first.start)
        counted = first.start
        yield Passage(
            id=number,
            document=document.id,
            title=document.title,
            heading=first.heading,
            text=document.text[first.start : last.end],
            start=first.start,
            end=last.end,
            page=first.page,
            line=line,
            header=first.header,
        )


def _packed(units: list[_Unit], size: int, overlap: int) -> Iterator[tuple[_Unit, _Unit]]:
    """First and last unit of each passage."""
    begin = 0
    for number, unit in enumerate(units):
        if number == begin:
            continue
        first, last = units[begin], units[number - 1]
        room = size - len(first.header)
        new_page = unit.page != last.page
        new_part = unit.opens and last.end - first.start >= SMALL
        if not (new_page or new_part or unit.end - first.start > room):
            continue
        yield first, last
        begin = number
        if not (new_page or new_part):
            while (
                begin - 1 > 0
                and last.end - units[begin - 1].start <= overlap
                and unit.end - units[begin - 1].start <= size - len(units[begin - 1].header)
                and units[begin - 1].start > first.start
            ):
                begin -= 1
    if units:
        yield units[begin], units[-1]


def _units(document: Document, size: int) -> Iterator[_Unit]:
    headings: list[tuple[int, str]] = []
    path = ""
    for block in document.blocks or (Block("paragraph", 0, len(document.text)),):
        text = document.text[block.start : block.end]
        if block.kind == "heading":
            headings = [(level, name) for level, name in headings if level < block.level]
            headings.append((block.level, " ".join(text.split())))
            path = " > ".join(name for _, name in headings if name)
        header = ""
        opens = block.kind == "heading"
        for start, end in _pieces(text, size, lines=block.kind == "table"):
            low, high = block.start + start, block.start + end
            yield _Unit(low, high, block.page, path, header, opens)
            opens = False
            if block.kind == "table" and not header:
                header = " ".join(document.text[low:high].split())[:_PREFIX]


def _pieces(text: str, size: int, *, lines: bool) -> Iterator[tuple[int, int]]:
    """The sentences, or only the lines, of a block, without white space around them, of at most ``size``."""
    position = 0
    spans = (
        ((position, position := position + len(line)) for line in text.splitlines(keepends=True))
        if lines
        else ((sentence.start, sentence.end) for sentence in sentences(text))
    )
    for start, end in spans:
        piece = text[start:end]
        low, high = start + len(piece) - len(piece.lstrip()), start + len(piece.rstrip())
        while high - low > size:
            cut = max(
                text.rfind(" ", low + size // 2, low + size), text.rfind("\n", low + size // 2, low + size)
            )
            cut = cut if cut > low else low + size
            yield low, low + len(text[low:cut].rstrip())
            low = cut + len(text[cut:high]) - len(text[cut:high].lstrip())
        if low < high:
            yield low, high
