"""Mending what has exactly one meaning in a data file: ids, offsets, and numbers written as text.

Nothing is guessed: an answer whose place can be read in two ways stays as it is.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from komrc.data import layouts, strict_json, tables
from komrc.data.offsets import right_place
from komrc.data.read import parse_data, refuse_prediction_row
from komrc.data.strict_json import child_path, shorten
from komrc.errors import DataError, Problem, UsageError

_TRUTH = {"true": True, "false": False}


@dataclass(frozen=True, slots=True)
class Change:
    """One value that was corrected."""

    path: str
    what: str
    kind: str

    def __str__(self) -> str:
        return f"{self.path}: {self.what}"


@dataclass(slots=True)
class Fixed:
    """A corrected data file: its new bytes, and what was changed."""

    content: bytes
    changes: list[Change] = field(default_factory=list)


def fix_data(path: Path, output: Path) -> Fixed:
    """The data file with corrected ids and offsets, in its own layout; tables become JSON Lines.

    Args:
        output: where it will be written; only its ending is looked at.

    Raises:
        DataError: the file can't be read, or its JSON is ambiguous (NaN, repeated keys, lone surrogates).
        UsageError: ``output`` ends otherwise than its form.
    """
    parsed = parse_data(strict_json.read_bytes(path), str(path), ())
    if isinstance(parsed, strict_json.Document):
        layouts.refuse_other(parsed.value, str(path))
        if parsed.problems:
            raise DataError(
                "is ambiguous JSON, which can't be corrected",
                where=str(path),
                fix="correct these by hand first",
                problems=tuple(parsed.problems.values()),
            )
        _require_ending(output, ".json")
        mending = _Mending()
        mending.all(list(_questions(parsed.value)))
        mending.titles(parsed.value)
        text = json.dumps(parsed.value, ensure_ascii=False, indent=1)
        return Fixed(f"{text}\n".encode(), mending.changes)
    _require_ending(output, *tables.LINES)
    rows: list[tuple[str, dict[str, Any]]] = []
    for _, where, row in parsed.rows(0, None):
        if isinstance(row, Problem):
            raise DataError("can't be read", where=str(path), fix=parsed.form, problems=[row])
        refuse_prediction_row(row, str(path))
        rows.append((where, row))
    mending = _Mending()
    mending.all([(where, row, row.get("context")) for where, row in rows])
    content = "".join(json.dumps(row, ensure_ascii=False) + "\n" for _, row in rows)
    return Fixed(content.encode(), mending.changes)


def _require_ending(output: Path, *endings: str) -> None:
    if output.suffix.lower() not in endings:
        raise UsageError(
            f"ends in {output.suffix or 'nothing'}",
            where=str(output),
            fix=f"give a name that ends in {endings[0]}: the corrected file has that form",
        )


_Question = tuple[str, dict[str, Any], Any]  # path, the question, its context


def _objects(value: Any, path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for i, entry in enumerate(value if isinstance(value, list) else ()):
        if isinstance(entry, dict):
            yield f"{path}[{i}]", entry


def _questions(value: Any) -> Iterator[_Question]:
    """The questions of a document of any layout."""
    if isinstance(value, dict) and layouts.is_row(value):
        yield "$", value, value.get("context")
        return
    entries = _objects(value, "$") if isinstance(value, list) else _objects(value.get("data"), "$.data")
    for path, entry in entries:
        if layouts.is_row(entry):
            yield path, entry, entry.get("context")
            continue
        for here, paragraph in _objects(entry.get("paragraphs"), f"{path}.paragraphs"):
            for place, qa in _objects(paragraph.get("qas"), f"{here}.qas"):
                yield place, qa, paragraph.get("context")


@dataclass(slots=True)
class _Mending:
    changes: list[Change] = field(default_factory=list)

    def _set(self, owner: dict[str, Any], key: str, value: Any, path: str, kind: str) -> None:
        before = _show(owner[key]) if key in owner else "nothing"
        owner[key] = value
        place = child_path(path, key) if path.startswith("$") else f"{path}, {key}"
        self.changes.append(Change(place, f"{before} -> {_show(value)}", kind))

    def all(self, questions: list[_Question]) -> None:
        """Mend questions; ids last, so that numbers written otherwise are known as taken."""
        for path, qa, context in questions:
            self._types(qa, path)
            for answer in _answers(qa, path):
                self._start_type(answer)
                if isinstance(context, str):
                    self._place(answer, context)
        self._ids(questions)

    def titles(self, value: Any) -> None:
        """Titles that are no text."""
        for path, article in _objects(value.get("data") if isinstance(value, dict) else value, "$.data"):
            key = layouts.title_key(article)
            if key is not None and article[key] is None:
                self._set(article, key, "", path, "title null -> empty")
            elif key is not None and type(article[key]) in (int, float):
                self._set(article, key, str(article[key]), path, "title as text")

    # --- values of another type ---

    def _types(self, qa: dict[str, Any], path: str) -> None:
        key = layouts.id_key(qa)
        if isinstance(qa.get(key), float) and qa[key].is_integer():
            self._set(qa, key, int(qa[key]), path, "id as a whole number")
        value = qa.get("is_impossible")
        if isinstance(value, str) and value.strip().lower() in _TRUTH:
            self._set(qa, "is_impossible", _TRUTH[value.strip().lower()], path, "is_impossible true or false")
        elif type(value) in (int, float) and value in (0, 1):
            self._set(qa, "is_impossible", bool(value), path, "is_impossible true or false")
        elif "is_impossible" in qa and value is None and _answers(qa, path):
            self._set(qa, "is_impossible", False, path, "is_impossible true or false")
        plausible = qa.get("plausible_answers", [])
        if plausible is None:
            self._set(qa, "plausible_answers", [], path, "empty plausible answers")
        elif isinstance(plausible, list):
            kept = [entry for entry in plausible if not isinstance(entry, dict) or entry.get("text") != ""]
            if len(kept) < len(plausible):
                self._set(qa, "plausible_answers", kept, path, "empty plausible answers")

    # --- ids ---

    def _ids(self, questions: list[_Question]) -> None:
        given = {str(qa[layouts.id_key(qa)]) for _, qa, _ in questions if _has_id(qa)}
        seen: set[str] = set()
        number = 0
        for path, qa, _ in questions:
            key = layouts.id_key(qa)
            if _has_id(qa):
                name = str(qa[key])
                if name in seen:
                    copies = (f"{name}-{n}" for n in range(2, len(questions) + 2))
                    self._set(qa, key, _take(copies, given), path, "repeated id")
                seen.add(name)
            elif qa.get(key) is None or qa[key] == "":
                numbers = (str(n) for n in range(number + 1, number + 2 + len(questions)))
                new = _take(numbers, given)
                number = int(new)
                self._set(qa, key, new, path, "missing id")

    # --- places of answers ---

    def _start_type(self, answer: _Answer) -> None:
        start = answer.start
        with contextlib.suppress(ValueError):
            whole = float(start) if isinstance(start, str) else start
            if isinstance(start, str | float) and isinstance(whole, float) and whole.is_integer():
                answer.set_start(int(whole))
                self._note(answer, start, int(whole), "answer_start as a whole number")

    def _place(self, answer: _Answer, context: str) -> None:
        text, start = answer.text, answer.start
        known = type(start) is int
        if not isinstance(text, str) or not (known or start is None):
            return
        if known and start >= 0 and context.startswith(text, start):
            return
        place = right_place(text, start if known else None, context)
        if place is None:
            return
        if place.text != text:
            answer.texts[answer.text_key] = place.text
            self._note(answer, text, place.text, "answer's text as in the context")
        if place.start != start:
            answer.set_start(place.start)
            self._note(answer, start, place.start, "answer_start")

    def _note(self, answer: _Answer, before: Any, after: Any, kind: str) -> None:
        self.changes.append(Change(answer.path, f"{_show(before)} -> {_show(after)}", kind))


@dataclass(frozen=True, slots=True)
class _Answer:
    """An answer within a document: where its text and its start are kept."""

    path: str
    texts: Any  # the object or list that contains the text under text_key
    text_key: str | int
    starts: Any  # None where no start can be kept
    start_key: str | int

    @property
    def text(self) -> Any:
        return self.texts[self.text_key]

    @property
    def start(self) -> Any:
        """None where there is none."""
        return (
            self.starts.get(self.start_key) if isinstance(self.starts, dict) else self.starts[self.start_key]
        )

    def set_start(self, start: int) -> None:
        self.starts[self.start_key] = start


def _answers(qa: dict[str, Any], path: str) -> list[_Answer]:
    """The reference answers of a question in any layout."""
    answers = qa.get("answers")
    if answers is None and isinstance(qa.get("answer"), str):
        return [_Answer(path, qa, "answer", qa, "answer_start")]
    if isinstance(answers, dict) and isinstance(answers.get("text"), list):
        texts, starts = answers["text"], answers.setdefault("answer_start", [None] * len(answers["text"]))
        if not isinstance(starts, list) or len(starts) != len(texts):
            return []
        return [_Answer(f"{path}.answers[{i}]", texts, i, starts, i) for i in range(len(texts))]
    entries = [answers] if isinstance(answers, dict) else answers if isinstance(answers, list) else []
    return [
        _Answer(f"{path}.answers[{i}]", entry, "text", entry, "answer_start")
        for i, entry in enumerate(entries)
        if isinstance(entry, dict) and "text" in entry
    ]


def _show(value: Any) -> str:
    return shorten(value) if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _take(names: Iterator[str], taken: set[str]) -> str:
    name = next(name for name in names if name not in taken)
    taken.add(name)
    return name


def _has_id(qa: dict[str, Any]) -> bool:
    value = qa.get(layouts.id_key(qa))
    return (type(value) is int) or (isinstance(value, str) and bool(value.strip()))
