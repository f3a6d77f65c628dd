"""An HTML document as the encoder reads it, and the way back from any of its characters to the HTML."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from komrc.html.left_out import is_left_out
from komrc.html.tree import Element, Text, parse

BlockKind = Literal[
    "heading", "paragraph", "list", "item", "term", "table", "caption", "row", "header", "cell"
]

# A block begins with one character of Unicode's private use area, its marker.
MARKERS: dict[BlockKind, str] = {
    "heading": "\ue000",
    "paragraph": "\ue001",
    "list": "\ue002",
    "item": "\ue003",
    "term": "\ue004",
    "table": "\ue005",
    "caption": "\ue006",
    "row": "\ue007",
    "header": "\ue008",
    "cell": "\ue009",
}
_KINDS: dict[str, BlockKind] = {
    **{f"h{level}": "heading" for level in range(1, 7)},
    **dict.fromkeys(("p", "pre", "blockquote", "figcaption", "summary"), "paragraph"),
    **dict.fromkeys(("ul", "ol", "dl", "menu", "dir"), "list"),
    **dict.fromkeys(("li", "dd"), "item"),
    "dt": "term",
    "table": "table",
    "caption": "caption",
    "tr": "row",
    "th": "header",
    "td": "cell",
}
_IN_MARKERS = re.compile(f"[{MARKERS['heading']}-{MARKERS['cell']}]")
_SHOWN: dict[BlockKind, str] = {"header": "|", "cell": "|", "item": "•"}  # tokenizers drop white space
_PLAIN = str.maketrans({marker: _SHOWN.get(kind, "\n") for kind, marker in MARKERS.items()})
_ENDS_LINE = frozenset(
    (
        "div",
        "section",
        "article",
        "main",
        "header",
        "footer",
        "aside",
        "address",
        "figure",
        "details",
        "form",
        "hr",
    )
)
_WITHDRAWN = frozenset(("s", "strike", "del"))  # text that is no longer true: its tags are read, as text
_SPACE = re.compile(r"[ \t\n\f\r]+")
_MAX_SPAN = 1000  # columns, and rows up to 65,534, as in the HTML standard

Offsets = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Block:
    """A block of a document. Ranges are half-open, in code points.

    ``view[start:end]`` is its text with its marker, ``html[html_start:html_end]`` the element with its tags.
    ``parent``: index of the block that it is in, -1 without one. ``level``: 1 to 6 of a heading, else 0.
    ``row``, ``column``, ``row_span`` and ``column_span``: the slots of the table that a cell fills.
    """

    kind: BlockKind
    start: int
    end: int
    html_start: int
    html_end: int
    parent: int
    level: int = 0
    row: int = 0
    column: int = 0
    row_span: int = 1
    column_span: int = 1


@dataclass(slots=True)
class _Piece:
    """A block whose end is not yet known."""

    element: Element
    kind: BlockKind
    parent: int
    start: int
    end: int = -1


@dataclass(slots=True)
class _Writer:
    """Walks the tree once and writes the view."""

    characters: list[str] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)
    owners: list[Element] = field(default_factory=list)
    pieces: list[_Piece] = field(default_factory=list)
    open: list[int] = field(default_factory=list)  # indexes of pieces
    waiting: list[Element] = field(default_factory=list)  # blocks that have no text yet
    heading: str = ""  # the last one
    line_end: bool = False  # the next text begins a line
    preformatted: int = 0

    def walk(self, root: Element) -> None:
        stack: list[tuple[Element, Iterator[Element | Text]]] = [(root, iter(root.children))]
        while stack:
            element, children = stack[-1]
            node = next(children, None)
            if node is None:
                stack.pop()
                self._leave(element)
            elif isinstance(node, Text):
                self._text(node, element)
            elif node.tag == "br":
                self._put("\n", node.start, node.end, element)
            elif not is_left_out(node, self.heading):
                self._enter(node)
                stack.append((node, iter(node.children)))

    def _enter(self, element: Element) -> None:
        if element.tag in _KINDS:
            self.waiting.append(element)
            if element.tag in ("td", "th"):  # an empty cell keeps its place
                self._begin_blocks()
        elif element.tag in _ENDS_LINE:
            self.line_end = True
        elif element.tag in _WITHDRAWN:
            self._begin_text(element.start, element)
            self._tag(f"<{element.tag}>", element.start, element.inner_start, element)
        self.preformatted += element.tag == "pre"

    def _leave(self, element: Element) -> None:
        self.preformatted -= element.tag == "pre"
        if self.waiting and self.waiting[-1] is element:
            self.waiting.pop()
        elif self.open and self.pieces[self.open[-1]].element is element:
            piece = self.pieces[self.open.pop()]
            while len(self.characters) > piece.start + 1 and self.characters[-1] in " \n":
                self._drop_last()
            piece.end = len(self.characters)
            if piece.kind == "heading":
                self.heading = "".join(self.characters[piece.start + 1 :]).strip()
            self.line_end = True
        elif element.tag in _ENDS_LINE:
            self.line_end = True
        elif element.tag in _WITHDRAWN and element.end > element.inner_end:
            self._tag(f"</{element.tag}>", element.inner_end, element.end, element)

    def _tag(self, text: str, start: int, end: int, owner: Element) -> None:
        for character in text:
            self._append(character, start, end, owner)

    def _drop_last(self) -> None:
        for values in (self.characters, self.starts, self.ends, self.owners):
            values.pop()

    def _begin_blocks(self) -> None:
        for element in self.waiting:
            if self.characters and self.characters[-1] == " ":
                self._drop_last()
            parent = self.open[-1] if self.open else -1
            kind = _KINDS[element.tag]
            self.open.append(len(self.pieces))
            self.pieces.append(_Piece(element, kind, parent, len(self.characters)))
            self._append(MARKERS[kind], element.start, element.inner_start, element)
        self.waiting.clear()
        self.line_end = False

    def _append(self, character: str, start: int, end: int, owner: Element) -> None:
        self.characters.append(character)
        self.starts.append(start)
        self.ends.append(end)
        self.owners.append(owner)

    def _put(self, character: str, start: int, end: int, owner: Element) -> None:
        """A character that is white space only where it separates text."""
        last = self.characters[-1] if self.characters else ""
        if self.waiting or not last or last in " \n" or _IN_MARKERS.match(last) or self.line_end:
            return
        self._append(character, start, end, owner)

    def _text(self, text: Text, owner: Element) -> None:
        data = text.data
        if text.end - text.start != len(data) or (len(data) == 1 and not data.isspace()):
            if not _SPACE.fullmatch(data):
                self._begin_text(text.start, owner)
                for character in data:  # all at the place of the reference, or of CR LF
                    self._append(_IN_MARKERS.sub("\ufffd", character), text.start, text.end, owner)
            else:
                self._put(" ", text.start, text.end, owner)
            return
        place = 0
        for run in [] if self.preformatted else _SPACE.finditer(data):
            self._plain(data, place, run.start(), text.start, owner)
            self._put(" ", text.start + run.start(), text.start + run.end(), owner)
            place = run.end()
        self._plain(data, place, len(data), text.start, owner)

    def _begin_text(self, place: int, owner: Element) -> None:
        if self.waiting:
            self._begin_blocks()
        if self.line_end:
            while self.characters and self.characters[-1] == " ":
                self._drop_last()
            if self.characters and self.characters[-1] != "\n" and not _IN_MARKERS.match(self.characters[-1]):
                self._append("\n", place, place, owner)
            self.line_end = False

    def _plain(self, data: str, start: int, end: int, offset: int, owner: Element) -> None:
        if start == end:
            return
        self._begin_text(offset + start, owner)
        self.characters.extend(_IN_MARKERS.sub("\ufffd", data[start:end]))
        self.starts.extend(range(offset + start, offset + end))
        self.ends.extend(range(offset + start + 1, offset + end + 1))
        self.owners.extend([owner] * (end - start))


class HtmlView:
    """The text of an HTML document as the encoder reads it.

    ``text`` has a marker (``MARKERS``) in front of each block, then the block's text with white space
    collapsed and references decoded. The tags of withdrawn text (<s>, <del>) stay. Navigation, code, edit
    links, marks of references and lists of them are left out.

    ``starts`` and ``ends``: int64 arrays ``[len(text)]``; ``html[starts[i]:ends[i]]`` is what the document
    has for ``text[i]``: a character, a reference, a run of white space, a <br>, or the start tag of a
    marker's block. It is empty for a line feed that only separates two blocks without a marker. Both arrays
    ascend.

    ``blocks`` are in the order of their starts.

    Broken HTML is no error. Raises MissingPackageError without turbohtml.
    """

    def __init__(self, html: str) -> None:
        writer = _Writer()
        root = parse(html)
        writer.walk(root)
        self.html = html
        self.text = "".join(writer.characters)
        self.starts: Offsets = np.array(writer.starts, dtype=np.int64)
        self.ends: Offsets = np.array(writer.ends, dtype=np.int64)
        self._owners = writer.owners
        self.blocks: tuple[Block, ...] = tuple(_blocks(writer.pieces))
        self._block_starts = [block.start for block in self.blocks]

    @property
    def plain(self) -> str:
        """``text`` for readers that don't know the markers, and for people; offsets are the same.

        A cell begins with "|", an item of a list with "•", and another block with a line feed.
        """
        return self.text.translate(_PLAIN)

    def to_html(self, start: int, end: int) -> tuple[int, int]:
        """The smallest range of the HTML that has ``text[start:end]`` and cuts no element in two.

        It is well-formed if the document is. A span that begins at a block's marker has the whole block; one
        that begins in one element and ends in another has both elements whole, as far as they are inside of
        the element that has both. Raises ValueError outside of the text.
        """
        if not 0 <= start <= end <= len(self.text):
            raise ValueError(f"[{start}, {end}) is outside of the view's {len(self.text)} characters")
        if start == end:
            place = int(self.starts[start]) if start < len(self.text) else len(self.html)
            return place, place
        first, first_start, _ = self._place(start)
        last, _, last_end = self._place(end - 1)
        common = _common(first, last)
        return (
            _child_below(common, first).start if first is not common else first_start,
            _child_below(common, last).end if last is not common else last_end,
        )

    def from_html(self, start: int, end: int) -> tuple[int, int] | None:
        """The span of the text that has what the view shows of ``html[start:end]``; None if that is nothing.

        A part of a reference or of a start tag counts as the whole.
        """
        first = int(np.searchsorted(self.ends, start, side="right"))
        last = int(np.searchsorted(self.starts, end, side="left"))
        while first < last and self.starts[first] == self.ends[first]:
            first += 1
        while first < last and self.starts[last - 1] == self.ends[last - 1]:
            last -= 1
        return (first, last) if first < last else None

    def block_at(self, place: int) -> int:
        """The index of the innermost block that has ``text[place]``, -1 without one."""
        index = bisect_right(self._block_starts, place) - 1
        while index >= 0 and self.blocks[index].end <= place:
            index = self.blocks[index].parent
        return index

    def block_text(self, index: int) -> str:
        """The text of a block as people read it, without white space around it."""
        block = self.blocks[index]
        return self.plain[block.start + 1 : block.end].strip()

    def heading_path(self, place: int) -> tuple[str, ...]:
        """The texts of the headings above ``text[place]``, from the top level to the deepest."""
        path: list[tuple[int, int]] = []  # level, index
        for index in range(bisect_right(self._block_starts, place)):
            block = self.blocks[index]
            if block.kind == "heading" and block.end <= place:
                path = [above for above in path if above[0] < block.level] + [(block.level, index)]
        return tuple(self.block_text(index) for _, index in path)

    def grid(self, table: int) -> npt.NDArray[np.int32]:
        """The cells of a table block, ``[rows, columns]`` of block indexes, -1 for a slot without a cell.

        A cell that spans rows or columns is in all of its slots.
        """
        cells = [i for i, block in enumerate(self.blocks) if _is_cell(block) and self._table_of(i) == table]
        rows = 1 + max((self.blocks[i].row for i in cells), default=-1)
        columns = max((self.blocks[i].column + self.blocks[i].column_span for i in cells), default=0)
        slots = np.full((rows, columns), -1, dtype=np.int32)
        for i in cells:
            cell = self.blocks[i]
            slots[cell.row : cell.row + cell.row_span, cell.column : cell.column + cell.column_span] = i
        return slots

    def _table_of(self, index: int) -> int:
        while index >= 0 and self.blocks[index].kind != "table":
            index = self.blocks[index].parent
        return index

    def _place(self, place: int) -> tuple[Element, int, int]:
        """The element that has a character, and the character's range in it: for a tag the whole element."""
        owner, start, end = self._owners[place], int(self.starts[place]), int(self.ends[place])
        if owner.parent is not None and not owner.inner_start <= start <= end <= owner.inner_end:
            return owner.parent, owner.start, owner.end
        return owner, start, end


def _is_cell(block: Block) -> bool:
    return block.kind in ("cell", "header")


def _common(one: Element, other: Element) -> Element:
    """The innermost element that has both."""
    while one is not other:
        if one.depth >= other.depth:
            assert one.parent is not None
            one = one.parent
        else:
            assert other.parent is not None
            other = other.parent
    return one


def _child_below(ancestor: Element, element: Element) -> Element:
    """The child of ``ancestor`` that has ``element``."""
    while element.parent is not ancestor:
        assert element.parent is not None
        element = element.parent
    return element


def _blocks(pieces: list[_Piece]) -> Iterator[Block]:
    rows: dict[int, int] = {}  # table -> its rows so far
    taken: dict[int, dict[int, int]] = {}  # table -> column -> the first row that has it free
    row_of: dict[int, int] = {}  # a row's piece -> its number in its table
    for index, piece in enumerate(pieces):
        row = column = 0
        row_span = column_span = 1
        if piece.kind == "row":
            row_of[index] = row = rows.get(piece.parent, 0)
            rows[piece.parent] = row + 1
        elif piece.kind in ("cell", "header"):
            parent = pieces[piece.parent] if piece.parent >= 0 else None
            in_row = parent is not None and parent.kind == "row"
            table = parent.parent if in_row and parent is not None else piece.parent
            row = row_of[piece.parent] if in_row else max(rows.get(table, 0) - 1, 0)
            rows.setdefault(table, 1)
            free = taken.setdefault(table, {})
            while free.get(column, 0) > row:
                column += 1
            attributes = piece.element.attributes
            column_span = max(1, min(_span(attributes, "colspan"), _MAX_SPAN - column))
            row_span = _span(attributes, "rowspan")
            for taken_column in range(column, column + column_span):
                free[taken_column] = row + row_span
        level = int(piece.element.tag[1]) if piece.kind == "heading" else 0
        yield Block(
            piece.kind, piece.start, piece.end, piece.element.start, piece.element.end, piece.parent,
            level, row, column, row_span, column_span,
        )  # fmt: skip


def _span(attributes: dict[str, str], name: str) -> int:
    """The number of rows or columns that a cell spans; rowspan="0" is all rows that follow."""
    digits = re.match(r"\s*\+?(\d{1,9})", attributes.get(name, ""), re.ASCII)
    if digits is None:
        return 1
    value = int(digits[1])
    if name == "rowspan":
        return min(value, 65534) if value else 65534
    return min(value, _MAX_SPAN) if value else 1
