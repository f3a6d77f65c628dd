"""Web pages: the text that a browser shows, in blocks. Tags, scripts and styles are left out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from komrc.documents.builder import Builder, Extracted
from komrc.documents.encodings import decode
from komrc.documents.limits import Limits

_CHARSET = re.compile(rb"<meta[^>]{0,200}?charset\s*=\s*[\"']?\s*([\w-]{1,40})", re.IGNORECASE)
_HEAD = 4096  # bytes in which a page names its encoding, with room to spare (the standard has 1024)
_XML_DECLARATION = re.compile(r"^\s*<\?xml[^>]*\?>")

_HIDDEN = frozenset(
    """script style noscript template head title meta link iframe object embed svg canvas audio video map
    select option textarea input datalist""".split()  # noqa: SIM905 - a list would be a line for each
)
_BREAKS = frozenset(
    """address article aside blockquote body center dd details dialog div dl dt fieldset figcaption figure
    footer form header hgroup hr html legend main nav p section summary""".split()  # noqa: SIM905
)
_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_LISTS = frozenset(("ul", "ol", "menu", "dir"))
_SPACES = re.compile(r"[ \t\n\r\f\v]+")  # not U+00A0, which a browser keeps


def read(path: Path, limits: Limits) -> Iterator[Extracted]:
    """The document of an HTML file."""
    data = path.read_bytes()
    declared = _CHARSET.search(data[:_HEAD])
    yield extract(decode(data, declared=declared[1].decode() if declared else None), limits)


def extract(page: str, limits: Limits, *, title: str = "", record: str = "") -> Extracted:
    """The document of a page's source."""
    from lxml import etree

    builder = Builder(limits)
    # Elements below a depth of 2048 are cut off by libxml2. Network and entities are not used for HTML.
    parser = etree.HTMLParser(
        encoding="utf-8", huge_tree=True, no_network=True, remove_comments=True, remove_pis=True
    )
    source = _XML_DECLARATION.sub("", page).encode("utf-8", "replace")
    root = etree.fromstring(source, parser) if source.strip() else None
    if root is not None:
        title = title or "".join(root.xpath("string(//title)"))
        _Writer(builder).walk(root)
    return builder.extracted(title, record=record)


class _Writer:
    """Walks a page without recursion: a page may be nested thousands of elements deep."""

    def __init__(self, builder: Builder) -> None:
        self._builder = builder
        self._text: list[str] = []
        self._items: list[str] = []
        self._lists = 0  # how many lists are open
        self._heading = 0
        self._code = 0
        self._tables: list[list[list[str]]] = []  # the rows of each open table
        self._cell: list[list[str]] = []  # the text of each open cell

    def walk(self, root: Any) -> None:
        """Write all blocks below ``root``."""
        stack: list[tuple[Any, bool]] = [(root, False)]
        while stack:
            element, done = stack.pop()
            name = element.tag if isinstance(element.tag, str) else ""
            if done:
                self._close(name)
            elif name and name not in _HIDDEN and not self._is_hidden(element):
                self._open(name)
                self._add(element.text)
                stack.append((element, True))
                stack.extend((child, False) for child in reversed(element))
                continue
            if element is not root:
                self._add(element.tail)
        self._flush()
        self._end_list()

    @staticmethod
    def _is_hidden(element: Any) -> bool:
        return element.get("hidden") is not None or element.get("aria-hidden") == "true"

    def _add(self, text: str | None) -> None:
        if text:
            target = self._cell[-1] if self._cell else self._text
            target.append(text if self._code and not self._cell else _SPACES.sub(" ", text))

    def _open(self, name: str) -> None:
        if name == "br":
            self._line_end()
        elif name == "table":
            if not self._cell:
                self._flush()
                self._end_list()
            self._tables.append([])
        elif name == "tr" and self._tables:
            self._tables[-1].append([])
        elif name in ("td", "th") and self._tables:
            self._cell.append([])
        elif self._cell:
            if name in _BREAKS or name == "li":
                self._cell[-1].append(" ")
        elif name in _LISTS:
            self._flush()
            self._lists += 1
        elif name in _HEADINGS:
            self._flush()
            self._end_list()
            self._heading = _HEADINGS[name]
        elif name == "pre":
            self._flush()
            self._code += 1
        elif name in _BREAKS or name in ("li", "caption"):
            self._flush()

    def _close(self, name: str) -> None:
        if name in ("td", "th") and self._cell and self._tables:
            self._end_cell()
        elif name == "table" and self._tables:
            self._end_table()
        elif self._cell:
            if name in _BREAKS or name == "li":
                self._cell[-1].append(" ")
        elif name in _LISTS and self._lists:
            self._flush()
            self._lists -= 1
            if not self._lists:
                self._end_list()
        elif name in _HEADINGS:
            self._flush()
            self._heading = 0
        elif name == "pre" and self._code:
            self._flush()
            self._code -= 1
        elif name in _BREAKS or name in ("li", "caption"):
            self._flush()

    def _end_cell(self) -> None:
        rows = self._tables[-1]
        if not rows:
            rows.append([])
        rows[-1].append("".join(self._cell.pop()))

    def _end_table(self) -> None:
        rows = self._tables.pop()
        if self._cell:  # a table in a cell becomes a part of the cell's text
            self._cell[-1].append(" ".join(cell for row in rows for cell in row))
        else:
            self._flush()
            self._builder.table(rows)

    def _line_end(self) -> None:
        (self._cell[-1] if self._cell else self._text).append("\n")

    def _flush(self) -> None:
        """End the block whose text was collected."""
        text = "".join(self._text)
        self._text = []
        if not text.strip():
            return
        if self._code:
            self._builder.code(text)
        elif self._heading:
            self._builder.heading(text, self._heading)
        elif self._lists:
            self._items.append("- " + text.strip())
        else:
            self._builder.paragraph(text)

    def _end_list(self) -> None:
        items, self._items = self._items, []
        self._builder.items(items)
