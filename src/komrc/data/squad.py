"""JSON documents to Examples: articles, paragraphs and questions, or a list of questions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from komrc.data import layouts
from komrc.data.checks import Checker, Needs
from komrc.data.strict_json import NotANumber, RepeatedKeys, describe_value
from komrc.errors import Problem
from komrc.types import Example


@dataclass(slots=True)
class Scan:
    """Questions and problems of a data file, in file order.

    ``left_out`` names each question that is not in ``examples``: its id, or its place where it has none.
    """

    check: Checker
    examples: list[Example] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    articles: int = 0
    paragraphs: int = 0
    unreadable: int = 0
    last_context: str | None = None

    @classmethod
    def of(cls, needs: Needs, odd: Mapping[str, Problem] | None = None) -> Scan:
        """An empty one."""
        return cls(Checker(needs, odd or {}))

    def document(self, value: object) -> None:
        """All questions of a parsed JSON file."""
        if isinstance(value, list) and any(map(layouts.is_row, value)):
            for path, row in self._objects(value, "$", is_question=True):
                self.row(row, path)
        elif layouts.is_row(value) and isinstance(value, dict):
            self.row(value, "$")
        elif isinstance(value, dict):
            self._root(value)
        else:
            self.unreadable += 1
            what = f"is {describe_value(value)}" if not isinstance(value, NotANumber) else f"is {value.name}"
            if "$" not in self.check.odd or not self.check.needs.strict_json:
                self.check.add("$", None, what, 'make it an object with "data", as in the KorQuAD format')

    def _root(self, value: dict[str, Any]) -> None:
        version = value.get("version", "")
        if self.check.needs.unused_fields and not isinstance(version, str | int | float):
            self.check.add("$", "version", f"is {describe_value(version)}", "make it text")
        for path, entry in self._entries(value, "data", "$"):
            if layouts.is_row(entry):
                self.row(entry, path)
            else:
                self.articles += 1
                self._article(entry, path)
        if not self.examples and not self.left_out and not self.check.problems:
            self.check.add("$", "data", "contains no questions", "give a file with questions")

    def row(self, row: dict[str, Any], path: str) -> None:
        """A question of the flat layout."""
        context = self.check.context(row, path)
        if context is None or context != self.last_context:
            self.paragraphs += 1
        self.last_context = context
        self._question(row, path, context, self.check.title(row, path))

    def refused(self, problem: Problem) -> None:
        """A line or row of a table that contains no object."""
        self.check.problems.append(problem)
        self.left_out.append(problem.path)

    def _article(self, article: dict[str, Any], path: str) -> None:
        title = self.check.title(article, path)
        for here, paragraph in self._entries(article, "paragraphs", path):
            self.paragraphs += 1
            context = self.check.context(paragraph, here)
            for place, qa in self._entries(paragraph, "qas", here):
                self._question(qa, place, context, title)

    def _question(self, qa: dict[str, Any], path: str, context: str | None, title: str) -> None:
        example = self.check.question(qa, path, context, title)
        if isinstance(example, Example):
            self.examples.append(example)
        else:
            self.left_out.append(example or path)

    def _entries(self, owner: dict[str, Any], key: str, path: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """The objects of the list ``owner[key]``, each with its path."""
        entries = self.check.get(owner, key, list, path)
        if isinstance(owner, RepeatedKeys) and key in owner.names:
            self.unreadable += 1
        if entries is None:
            self.unreadable += 1
            return
        yield from self._objects(entries, f"{path}.{key}", is_question=key == "qas")

    def _objects(
        self, entries: list[Any], path: str, *, is_question: bool
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        for i, entry in enumerate(entries):
            here = f"{path}[{i}]"
            if isinstance(entry, dict):
                yield here, entry
                continue
            if not isinstance(entry, NotANumber) or not self.check.needs.strict_json:
                what = "is not a number" if isinstance(entry, NotANumber) else f"is {describe_value(entry)}"
                self.check.add(here, None, what, "make it an object")
            if is_question:
                self.left_out.append(here)
            else:
                self.unreadable += 1
