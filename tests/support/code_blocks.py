"""The fenced code blocks of Markdown pages, and the comments before them that say whether they are run.

A block directly after ``<!-- not run: reason -->`` is not run. One after ``<!-- needs komrc.Client -->``
is run if these names exist.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

_BLOCK = re.compile(
    r"^(?:[ ]*<!-- (?P<comment>[^\n]*?) -->\n)?"
    r"(?P<indent>[ ]*)```(?P<language>\w*)\n(?P<code>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class CodeBlock:
    """A fenced block. ``line`` is that of its first line of code; ``comment`` is the one before it."""

    language: str
    code: str
    line: int
    comment: str

    @property
    def is_run(self) -> bool:
        """Whether it can be run here."""
        if self.comment.startswith("not run: "):
            return False
        names = self.comment.removeprefix("needs ").split() if self.comment.startswith("needs ") else []
        return all(_exists(name) for name in names)


def code_blocks(page: Path) -> Iterator[CodeBlock]:
    text = page.read_text(encoding="utf-8")
    for match in _BLOCK.finditer(text):
        line = text.count("\n", 0, match.start("code")) + 1
        code = textwrap.dedent(match["code"])
        yield CodeBlock(match["language"], code, line, match["comment"] or "")


def _exists(name: str) -> bool:
    """Whether a dotted name such as komrc.Reader.read can be reached from its first part."""
    first, *rest = name.split(".")
    value: object = import_module(first)
    for part in rest:
        if not hasattr(value, part):
            return False
        value = getattr(value, part)
    return True
