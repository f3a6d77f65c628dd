"""Markdown (CommonMark with tables): its text without the marks."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from komrc.documents.builder import Builder, Extracted, clean, too_long
from komrc.documents.encodings import decode
from komrc.documents.limits import Limits

if TYPE_CHECKING:
    from markdown_it.token import Token

_FRONT_MATTER = re.compile(r"---\n(.*?\n)?(?:---|\.\.\.)\n", re.DOTALL)
_FRONT_TITLE = re.compile(r"^title:[ \t]*(.+)$", re.MULTILINE)
_TAG = re.compile(r"<!--.*?-->|</?[A-Za-z][^<>]*>", re.DOTALL)


def read(path: Path, limits: Limits) -> Iterator[Extracted]:
    """The document of a Markdown file; YAML front matter gives the title and is not part of the text."""
    from markdown_it import MarkdownIt

    text = clean(decode(path.read_bytes()))
    if len(text) > limits.characters:
        raise too_long(limits)
    title = ""
    if front := _FRONT_MATTER.match(text):
        named = _FRONT_TITLE.search(front[1] or "")
        title = named[1].strip().strip("\"'") if named else ""
        text = text[front.end() :]
    builder = Builder(limits)
    _Writer(builder).write(MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(text))
    yield builder.extracted(title)


class _Writer:
    """Writes the blocks of a parsed file. Lists in lists become one list."""

    def __init__(self, builder: Builder) -> None:
        self._builder = builder
        self._items: list[str] = []
        self._rows: list[list[str]] | None = None  # of the table that is open
        self._lists: list[tuple[bool, int]] = []  # of each open list: is it numbered, and the next number
        self._marker = ""
        self._heading = 0

    def write(self, tokens: Sequence[Token]) -> None:
        """Write all blocks."""
        for token in tokens:
            if token.type == "inline":
                self._inline(inline_text(token))
            elif token.type in ("fence", "code_block"):
                self._in_list_or(self._builder.code, token.content)
            elif token.type == "html_block":
                self._in_list_or(self._builder.paragraph, _TAG.sub(" ", token.content))
            elif token.nesting == 1:
                self._open(token)
            elif token.nesting == -1:
                self._close(token.type)

    def _open(self, token: Token) -> None:
        if token.type in ("bullet_list_open", "ordered_list_open"):
            self._lists.append((token.type == "ordered_list_open", int(token.attrGet("start") or 1)))
        elif token.type == "list_item_open":
            numbered, number = self._lists[-1]
            self._marker = f"{number}. " if numbered else "- "
            self._lists[-1] = numbered, number + 1
        elif token.type == "heading_open":
            self._heading = int(token.tag[1:])
        elif token.type == "table_open":
            self._rows = []
        elif token.type == "tr_open" and self._rows is not None:
            self._rows.append([])

    def _close(self, kind: str) -> None:
        if kind in ("bullet_list_close", "ordered_list_close"):
            self._lists.pop()
            if not self._lists:
                items, self._items = self._items, []
                self._builder.items(items)
        elif kind == "heading_close":
            self._heading = 0
        elif kind == "table_close" and self._rows is not None:
            rows, self._rows = self._rows, None
            self._in_list_or(
                lambda _: self._builder.table(rows), " ".join(cell for row in rows for cell in row)
            )

    def _inline(self, text: str) -> None:
        if self._rows is not None:
            self._rows[-1].append(text)
        elif self._lists:
            self._items.append(self._marker + text)
            self._marker = ""
        elif self._heading:
            self._builder.heading(text, self._heading)
        else:
            self._builder.paragraph(text)

    def _in_list_or(self, add: Callable[[str], None], text: str) -> None:
        """In a list a line of it, else a block."""
        if self._lists:
            self._items.append(text)
        else:
            add(text)


def inline_text(token: Token) -> str:
    """The text of a line without marks; of a picture, its description."""
    parts = []
    for child in token.children or ():
        if child.type in ("softbreak", "hardbreak"):
            parts.append("\n")
        elif child.type in ("text", "code_inline", "text_special", "image"):
            parts.append(child.content)
    return "".join(parts)
