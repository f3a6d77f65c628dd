"""A page's view in passages of one window each, with the headings above in front.

Passages end in front of a heading or another block where they can, else behind a sentence. A passage that
begins inside a block repeats a few tokens of the one before it.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from komrc.config import WindowConfig
from komrc.html.marker_tokens import encode_views
from komrc.html.view import MARKERS, HtmlView
from komrc.tokenization import ReaderTokenizer

OVERLAP = 64  # tokens that two neighbouring passages of one block share, at most
_PREFIX = 60  # characters of the headings, and of the first row of a table, in front of a passage
_SPARE = 4  # tokens: a text that is cut elsewhere may have another token at its edge
_LEAST = 16  # tokens of a passage, however long its prefix is
_FULL = 0.6  # a passage ends at its best border behind this share of its room

# How good it is to begin a passage at a marker. A cell is better than the middle of a sentence.
_BORDERS = {
    **dict.fromkeys(MARKERS.values(), 3),
    MARKERS["heading"]: 5,
    MARKERS["paragraph"]: 4,
    MARKERS["list"]: 4,
    MARKERS["table"]: 4,
    MARKERS["header"]: 1,
    MARKERS["cell"]: 1,
}
_BLOCK = 3  # from here on no overlap is needed
_CELLS = (MARKERS["header"], MARKERS["cell"])
_SENTENCE = 2
_INSIDE_WORD = -1
_SENTENCE_END = re.compile(r"[.!?。…]['\"”’)\]]* $|\n$")


@dataclass(frozen=True, slots=True)
class PagePassage:
    """Characters ``[start, end)`` of a view, and what is read in front of them.

    ``text``: those characters, with the markers for a reader that was trained with them, as in
    ``HtmlView.plain`` for another. ``prefix``: headings and the first row of the table that it begins in, a
    line each, cut to a bounded length; "" or with ``\\n`` at its end.
    """

    start: int
    end: int
    prefix: str
    text: str

    @property
    def context(self) -> str:
        """What the reader reads."""
        return self.prefix + self.text

    def holds(self, start: int, end: int) -> bool:
        """Whether a span of the view is in the passage."""
        return self.start <= start and end <= self.end

    def to_view(self, start: int, end: int) -> tuple[int, int] | None:
        """The span of the view of a span of ``context``; None for one that begins in the prefix."""
        start, end = start - len(self.prefix), end - len(self.prefix)
        return (self.start + start, self.start + end) if start >= 0 else None


def page_passages(view: HtmlView, tokenizer: ReaderTokenizer, config: WindowConfig) -> list[PagePassage]:
    """The passages of a page in order. Every character that a token covers is in one or several of them.

    A passage and a question of ``max_query_length`` tokens are one window, but for the rare text that has
    more tokens alone than inside the page.
    """
    text = view.text if config.html_markers else view.plain
    encoding = encode_views(tokenizer, [text])[0] if config.html_markers else tokenizer.encode_many([text])[0]
    # SentencePiece begins a text with a token that covers nothing: such tokens count, but none is a border.
    numbers = [number for number, (start, end) in enumerate(encoding.offsets) if start < end]
    offsets = [encoding.offsets[number] for number in numbers]
    template = tokenizer.template
    special = len(template.prefix) + len(template.middle) + len(template.suffix)
    room = config.max_seq_length - config.max_query_length - special - _SPARE
    borders = [_border(view.text, start) for start, _ in offsets]
    prefix_tokens: dict[str, int] = {}
    passages = []
    first = 0
    while first < len(offsets):
        start = offsets[first][0]
        prefix = _prefix(view, start)
        if prefix not in prefix_tokens:
            prefix_tokens[prefix] = len(tokenizer.encode_many([prefix])[0].ids) if prefix else 0
        size = max(_LEAST, room - prefix_tokens[prefix])
        end = bisect_right(numbers, numbers[first] + size - 1, lo=first + 1)
        if end < len(offsets):
            end = _best_border(borders, first + max(1, int((end - first) * _FULL)), end)
        low, high = start, offsets[end - 1][1]
        passages.append(PagePassage(low, high, prefix, text[low:high]))
        if end == len(offsets):
            break
        # With less than half of its tokens in common, each passage ends behind the one before it.
        overlap = 0 if borders[end] >= _BLOCK else min(OVERLAP, (end - first) // 4)
        first = _best_border(borders, end - overlap, end) if overlap else end
    return passages


def _border(text: str, place: int) -> int:
    """How good it is to begin a passage here."""
    before = text[place - 1 : place]
    level = _BORDERS.get(text[place])
    if level is not None:
        # Blocks that begin together stay together; only an empty cell is followed by a marker, too.
        return _INSIDE_WORD if before in _BORDERS and before not in _CELLS else level
    if _SENTENCE_END.search(text, max(0, place - 4), place):
        return _SENTENCE
    return 0 if before.isspace() else _INSIDE_WORD


def _best_border(borders: Sequence[int], first: int, last: int) -> int:
    """The last of the best tokens from ``first`` to ``last``, both included, to begin a passage at."""
    return max(range(first, last + 1), key=lambda token: (borders[token], token))


def _prefix(view: HtmlView, start: int) -> str:
    lines = []
    path = " > ".join(view.heading_path(start))
    if path:
        if len(path) > _PREFIX:  # the innermost headings are the nearest to the passage
            path = f"{path[: _PREFIX // 2 - 1]}…{path[len(path) - _PREFIX // 2 :]}"
        lines.append(path)
    header = _first_row(view, start)
    if header:
        lines.append(header[:_PREFIX])
    return "".join(f"{line}\n" for line in lines)


def _first_row(view: HtmlView, start: int) -> str:
    """The text of the first row of the table that has a place, if that row ends in front of it."""
    index = view.block_at(start)
    while index >= 0 and view.blocks[index].kind != "table":
        index = view.blocks[index].parent
    if index < 0:
        return ""
    for number in range(index + 1, len(view.blocks)):
        block = view.blocks[number]
        if block.start >= start:
            break
        if block.kind == "row" and block.parent == index:
            return " ".join(view.block_text(number).split()) if block.end <= start else ""
    return ""
