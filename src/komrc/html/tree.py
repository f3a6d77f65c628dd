"""HTML to elements with their places in it.

turbohtml's tokenizer finds tags, character references and texts, by the rules of the HTML standard. The
elements are built here and not by its tree builder, because that one moves text of broken tables and copies
elements; here everything keeps its order and its place, so that any range of elements is a range of the HTML.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from komrc.errors import require

MAX_DEPTH = 256  # a deeper element becomes a sibling: bounds the time that hostile HTML needs
VOID = frozenset(
    (
        "area",
        "base",
        "br",
        "col",
        "embed",
        "frame",
        "hr",
        "img",
        "input",
        "link",
        "meta",
        "source",
        "track",
        "wbr",
    )
)
_LINE_ENDS = re.compile("(\n)")
_LISTS = ("ul", "ol", "menu", "dir")
_SECTIONS = ("thead", "tbody", "tfoot")
_HEADINGS = ("h1", "h2", "h3", "h4", "h5", "h6")

# A start tag ends the open elements of the first set, unless one of the second is open inside of them.
_ENDS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "li": (("li",), _LISTS),
    "dt": (("dt", "dd"), ("dl",)),
    "dd": (("dt", "dd"), ("dl",)),
    "tr": (("tr", "caption", "colgroup"), ("table", *_SECTIONS)),
    "td": (("td", "th", "caption"), ("table", "tr", *_SECTIONS)),
    "th": (("td", "th", "caption"), ("table", "tr", *_SECTIONS)),
    **dict.fromkeys((*_SECTIONS, "colgroup"), ((*_SECTIONS, "caption", "colgroup"), ("table",))),
    "option": (("option",), ("select", "datalist")),
}
_IN_PARAGRAPH = ("table", "td", "th", "caption", "button", "object", "html")  # a p outside of them stays open
_ENDS_PARAGRAPH = frozenset(
    (
        *_LISTS,
        *_HEADINGS,
        "p",
        "div",
        "dl",
        "table",
        "pre",
        "blockquote",
        "address",
        "article",
        "aside",
        "center",
    )
) | frozenset(("details", "fieldset", "figure", "footer", "form", "header", "hr", "main", "nav", "section"))
_IN_HEAD = frozenset(("base", "link", "meta", "noscript", "script", "style", "template", "title"))
_TABLE_PARTS = frozenset(("table", "tr", "td", "th", "caption", *_SECTIONS))


@dataclass(slots=True, eq=False)
class Element:
    """An element: ``html[start:inner_start]`` is its start tag, ``html[inner_end:end]`` its end tag.

    An element without an end tag ends where the standard ends it; then both are the same place.
    """

    tag: str
    attributes: dict[str, str]
    parent: Element | None
    start: int
    inner_start: int
    inner_end: int = -1
    end: int = -1
    depth: int = 0
    children: list[Element | Text] = field(default_factory=list)


class Text(NamedTuple):
    """Characters that a document shows: ``data`` is at ``html[start:end]``; they differ for a reference."""

    start: int
    end: int
    data: str


@dataclass(slots=True)
class _Builder:
    root: Element
    current: Element
    opened: Counter[str] = field(default_factory=Counter)  # open elements by name

    def open(self, tag: str, attributes: dict[str, str], start: int, end: int) -> None:
        if tag not in _IN_HEAD:
            self._end_head(start)
        if tag in _ENDS_PARAGRAPH:
            self._end_before(("p",), _IN_PARAGRAPH, start)
        if tag in _HEADINGS and self.current.tag in _HEADINGS:
            self._close(self.current, start, start)
        if tag in _ENDS:
            self._end_before(*_ENDS[tag], start)
        if self.current.depth >= MAX_DEPTH:
            self._close(self.current, start, start)
        parent = self.current
        element = Element(tag, attributes, parent, start, end, depth=parent.depth + 1)
        parent.children.append(element)
        if tag in VOID:
            element.inner_end = element.end = end
        else:
            self.current = element
            self.opened[tag] += 1

    def text(self, text: Text) -> None:
        if not text.data.isspace():
            self._end_head(text.start)
        self.current.children.append(text)

    def end(self, tag: str, start: int, end: int) -> None:
        """Close the innermost open element of that name; an end tag of none is left out."""
        element: Element | None = self.current if self.opened[tag] else None
        while element is not None and element.tag != tag:
            barrier = element.tag == "table" or (element.tag in _TABLE_PARTS and tag not in _TABLE_PARTS)
            element = None if barrier else element.parent
        if element is not None and element is not self.root:
            self._close(element, start, end)

    def _end_head(self, place: int) -> None:
        """What does not belong in the head begins the body."""
        if self.current.tag == "head":
            self._close(self.current, place, place)

    def _end_before(self, tags: tuple[str, ...], barriers: tuple[str, ...], place: int) -> None:
        """Close the outermost open element of ``tags`` that is inside of the innermost barrier."""
        if not any(self.opened[tag] for tag in tags):
            return
        outermost, element = None, self.current
        while element.parent is not None and element.tag not in barriers:
            if element.tag in tags:
                outermost = element
            element = element.parent
        if outermost is not None:
            self._close(outermost, place, place)

    def _close(self, element: Element, inner_end: int, end: int) -> None:
        while self.current is not element:
            self.current.inner_end = self.current.end = inner_end
            self.opened[self.current.tag] -= 1
            assert self.current.parent is not None
            self.current = self.current.parent
        element.inner_end, element.end = inner_end, end
        self.opened[element.tag] -= 1
        assert element.parent is not None
        self.current = element.parent

    def finish(self, end: int) -> Element:
        while self.current is not self.root:
            self._close(self.current, end, end)
        self.root.inner_end = self.root.end = end
        return self.root


def parse(html: str) -> Element:
    """The document as one element without a name, from 0 to ``len(html)``.

    Never fails on broken HTML. Raises MissingPackageError without turbohtml.
    """
    root = Element("", {}, None, 0, 0)
    builder = _Builder(root, root)
    for kind, tag, attributes, start, end, data in _tokens(html):
        if kind == "text":
            builder.text(Text(start, end, data))
        elif kind == "start":
            builder.open(tag, attributes, start, end)
        else:
            builder.end(tag, start, end)
    return builder.finish(len(html))


def _tokens(html: str) -> Iterator[tuple[str, str, dict[str, str], int, int, str]]:
    """``(text, start or end, tag, attributes, start, end, data)`` of each token, in code points."""
    require("turbohtml", extra="html", purpose="reading HTML")
    from turbohtml import TokenType, tokenize

    normal, places = _normal_line_ends(html)
    lines = [0]
    while (newline := normal.find("\n", lines[-1])) >= 0:
        lines.append(newline + 1)
    for token in tokenize(normal, resolve_references=False, capture_source=True):
        kind = token.type
        start = lines[token.line - 1] + token.col
        if kind == TokenType.TEXT:
            for place, data in _runs(token.data or "", start, normal, lines="\r" in html):
                yield "text", "", {}, places(place), places(place + len(data)), data
            continue
        end = places(start + len(token.source or ""))
        if kind == TokenType.CHARACTER_REFERENCE:
            yield "text", "", {}, places(start), end, token.data or ""
        elif kind == TokenType.START_TAG:
            yield "start", token.tag or "", dict(reversed(token.attrs or [])), places(start), end, ""
        elif kind == TokenType.END_TAG:
            yield "end", token.tag or "", {}, places(start), end, ""


def _runs(data: str, start: int, html: str, *, lines: bool) -> Iterator[tuple[int, str]]:
    """The runs of a text with their places. With ``lines`` a line end is a run: it may be CR LF in the HTML.

    The tokenizer leaves out ``</>``, which is no tag, without a token.
    """
    source = html[start : start + len(data)]
    whole = source == data or source.replace("\0", "\ufffd") == data  # so it gives NUL in a raw text
    while data:
        gap = -1 if whole else html.find("</>", start)
        length = len(data) if gap < 0 else min(gap - start, len(data))
        place = start
        for run in _LINE_ENDS.split(data[:length]) if lines else (data[:length],):
            if run:
                yield place, run
            place += len(run)
        data, start = data[length:], gap + 3


class _Same:
    def __call__(self, place: int) -> int:
        return place


class _Shifted:
    """Places in the HTML from places in it with line feeds for CR LF."""

    def __init__(self, pairs: list[int]) -> None:
        self._pairs = pairs  # of the n-th CR LF, the place of its line feed in the normal text

    def __call__(self, place: int) -> int:
        return place + bisect_right(self._pairs, place - 1)


def _normal_line_ends(html: str) -> tuple[str, _Same | _Shifted]:
    if "\r" not in html:
        return html, _Same()
    pairs: list[int] = []
    place = html.find("\r\n")
    while place >= 0:
        pairs.append(place - len(pairs))
        place = html.find("\r\n", place + 2)
    return html.replace("\r\n", "\n").replace("\r", "\n"), _Shifted(pairs)
