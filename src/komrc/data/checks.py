"""What a command needs of a question, and the check of exactly that."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from komrc.data import layouts
from komrc.data.strict_json import NotANumber, child_path, describe_value, has_lone_surrogate, shorten
from komrc.errors import Problem
from komrc.types import Example, Gold

_MAX_SEARCHED = 100_000_000  # characters in which the right places of answers are looked for


@dataclass(frozen=True, slots=True)
class Needs:
    """What a command uses of each question; nothing else of it is checked.

    ``strict_json`` makes NaN, repeated keys and lone surrogates findings wherever they are.
    """

    passages: bool = True  # question and context
    contexts: bool = True  # the context; without passages it is not used either
    answers: bool = True  # texts of the reference answers
    offsets: bool = True  # answer_start, and whether a question has an answer at all
    unique_ids: bool = True
    numbered_ids: bool = False  # a question without an id gets a number
    unused_fields: bool = False  # titles, the version and plausible answers, which no command uses
    strict_json: bool = True

    def columns(self) -> tuple[str, ...]:
        """The columns that a table must have."""
        texts = ("question", "context") if self.contexts else ("question",)
        return (() if self.numbered_ids else ("id",)) + (texts if self.passages else ())


EVERYTHING = Needs(unused_fields=True)
TRAINING = Needs(numbered_ids=True)
EVALUATING = Needs(offsets=False, numbered_ids=True, strict_json=False)  # a model answers, then scores
SCORING = Needs(passages=False, offsets=False, unique_ids=False, strict_json=False)
REPORTING = Needs(offsets=False, unique_ids=False, strict_json=False)
PREDICTING = Needs(answers=False, offsets=False, strict_json=False)
ASKING = replace(PREDICTING, contexts=False)  # an index has the texts

_KINDS = {list: "a list", dict: "an object", str: "text", bool: "true or false", int: "a whole number"}
_ID_FIX = 'add "id" (text, or a whole number); `komrc data fix` numbers them'


@dataclass(slots=True)
class Checker:
    """Checks questions one by one and collects the problems. Keeps every id where ``needs.unique_ids``."""

    needs: Needs
    odd: Mapping[str, Problem] = field(default_factory=dict)  # findings of the JSON parser by path
    problems: list[Problem] = field(default_factory=list)
    seen: MutableMapping[str, str] = field(default_factory=dict)  # id -> path of its first use
    tainted: set[str] = field(default_factory=set)  # JSON paths at and above the odd ones
    searched: int = 0  # characters

    def __post_init__(self) -> None:
        if not self.needs.strict_json:
            return
        self.problems.extend(self.odd.values())
        for path in self.odd:
            self.tainted.update(path[: place.start()] for place in re.finditer(r"[.\[]", path))
            self.tainted.add(path)

    def add(self, path: str, key: str | None, what: str, fix: str, name: str | None = None) -> None:
        """A problem of the object at ``path``, or of its member ``key``.

        In a table ``path`` is the line or row, and the message names the column.
        """
        if key is None:
            self.problems.append(Problem(path, what, fix, name))
        elif path.startswith("$"):
            self.problems.append(Problem(child_path(path, key), what, fix, name))
        else:
            self.problems.append(Problem(path, f'"{key}" {what}', fix, name))

    def get(self, owner: dict[str, Any], key: str, kind: type, path: str, name: str | None = None) -> Any:
        """``owner[key]`` if it is there, of its kind and well-formed, else None and a problem."""
        in_json = path.startswith("$")
        if key not in owner or (owner[key] is None and not in_json):
            fix = _ID_FIX if key == "id" else f'add "{key}" ({_KINDS[kind]})'
            if in_json:
                self.add(path, None, f'has no "{key}"', fix, name)
            else:
                self.add(path, key, "is missing", fix, name)
            return None
        value = owner[key]
        if type(value) is kind:
            checked = self.needs.strict_json and in_json
            if checked or not isinstance(value, str) or not has_lone_surrogate(value):
                return value
            self.add(path, key, "contains half of a surrogate pair", "write the whole character", name)
        elif not isinstance(value, NotANumber) or not self.needs.strict_json:
            what = f"is {value.name}" if isinstance(value, NotANumber) else f"is {describe_value(value)}"
            self.add(path, key, what, f"make it {_KINDS[kind]}", name)
        return None

    def context(self, owner: dict[str, Any], path: str) -> str | None:
        """The text of a paragraph or row; None where a command can't use it, "" where none needs it."""
        if not (self.needs.passages and self.needs.contexts):
            value = owner.get("context")
            return value if isinstance(value, str) and not has_lone_surrogate(value) else ""
        context = self.get(owner, "context", str, path)
        if context is not None and not context.strip():
            self.add(path, "context", "is empty", "give the text, or remove the paragraph")
            return None
        if path in self.tainted and (f"{path}.context" in self.odd or path in self.odd):
            return None
        return str(context) if context is not None else None

    def title(self, owner: dict[str, Any], path: str) -> str:
        """The title of an article or row, "" without one."""
        key = layouts.title_key(owner)
        if key is None:
            return ""
        value = owner[key]
        if isinstance(value, str):
            return "" if has_lone_surrogate(value) else value
        if self.needs.unused_fields:
            self.get(owner, key, str, path)
        return ""

    def question(
        self, qa: dict[str, Any], path: str, context: str | None, title: str
    ) -> Example | str | None:
        """The example, or the id (None if it has none) of a question with a problem.

        An example whose id is "" has none yet: see :func:`number_missing_ids`.
        """
        before = len(self.problems)
        name = self._identity(qa, path)
        if path in self.tainted:
            return name
        question = self._question_text(qa, path, name)
        impossible = self._is_impossible(qa, path, name)
        answers: tuple[Gold, ...] = ()
        if self.needs.answers:
            answers, impossible = self._answers(qa, path, name, context, impossible)
        if self.needs.unused_fields and "plausible_answers" in qa:
            self._golds(qa["plausible_answers"], "plausible_answers", path, name, None)
        if len(self.problems) > before or context is None or name is None or question is None:
            return name or None
        return Example(name, question, context, answers, bool(impossible), title)

    def _question_text(self, qa: dict[str, Any], path: str, name: str | None) -> str | None:
        if not self.needs.passages:
            value = qa.get("question")
            return value if isinstance(value, str) and not has_lone_surrogate(value) else ""
        question = self.get(qa, "question", str, path, name)
        if question is not None and not question.strip():
            self.add(path, "question", "is empty", "write the question, or remove the entry", name)
        return str(question) if question is not None else None

    def _identity(self, qa: dict[str, Any], path: str) -> str | None:
        """The question's id as text; "" where it has none and gets a number."""
        key = layouts.id_key(qa)
        value = qa.get(key)
        blank = value is None or (isinstance(value, str) and not value.strip())
        if blank and self.needs.numbered_ids:
            return ""
        if self.needs.strict_json and f"{path}.{key}" in self.odd:
            return None
        if type(value) is int:
            value = str(value)
        if not isinstance(value, str):
            if key in qa and (path.startswith("$") or value is not None):
                self.add(path, key, f"is {describe_value(value)}", "make it text, or a whole number")
            else:
                self.get({}, key, str, path)
            return None
        if blank:
            self.add(path, key, "is empty", "give every question an id of its own")
            return None
        if has_lone_surrogate(value):
            self.add(path, key, "contains half of a surrogate pair", "write the whole character")
            return None
        if self.needs.unique_ids:
            if value in self.seen:
                what = f"the id is taken by {self.seen[value]}"
                fix = "give every question an id of its own; `komrc data fix` does"
                self.add(path, key, what, fix, value)
            else:
                self.seen[value] = path
        return value

    def _is_impossible(self, qa: dict[str, Any], path: str, name: str | None) -> bool | None:
        """None where the question does not tell."""
        value = qa.get("is_impossible")
        if isinstance(value, bool):
            return value
        if "is_impossible" in qa and (self.needs.unused_fields or (self.needs.offsets and value is not None)):
            self.get(qa, "is_impossible", bool, path, name)
        return None

    def _answers(
        self, qa: dict[str, Any], path: str, name: str | None, context: str | None, impossible: bool | None
    ) -> tuple[tuple[Gold, ...], bool | None]:
        """The reference answers, and whether there is none by intention."""
        try:
            entries = layouts.answers_as_list(qa)
        except KeyError:
            if not impossible:
                self.get(qa, "answers", list, path, name)
            return (), impossible
        if impossible is None and entries == [] and isinstance(qa.get("answers"), dict):
            return (), True  # Hugging Face's SQuAD 2.0 has no is_impossible
        if impossible and isinstance(entries, list):
            entries = [entry for entry in entries if not _no_answer(entry)]
        before = len(self.problems)
        golds = self._golds(entries, "answers", path, name, context)
        if len(self.problems) > before or not isinstance(entries, list):
            return (), impossible
        if not self.needs.offsets:  # official scripts look at the answers only
            return golds, bool(impossible) and not golds
        if impossible and entries:
            fix = "empty the list (plausible_answers may hold them), or make is_impossible false"
            self.add(path, "answers", "has answers although is_impossible is true", fix, name)
        elif not impossible and not entries:
            self.add(path, "answers", "is empty", "give an answer, or make is_impossible true", name)
        return golds, impossible

    def _golds(
        self, entries: Any, key: str, path: str, name: str | None, context: str | None
    ) -> tuple[Gold, ...]:
        """The answers of a list; compared with the context where one is given."""
        golds = []
        for i, entry in enumerate(self.get({key: entries}, key, list, path, name) or ()):
            here = f"{path}.{key}[{i}]" if path.startswith("$") else path
            if not isinstance(entry, dict):
                what = f"is {describe_value(entry)}"
                self.add(here, None, what, 'make it an object with "text" and "answer_start"', name)
                continue
            text = self.get(entry, "text", str, here, name)
            start = self.get(entry, "answer_start", int, here, name) if self.needs.offsets else None
            if text is None:
                continue
            if not self.needs.offsets:
                golds.append(_placed(text, entry.get("answer_start"), context or ""))
            elif not text.strip():
                fix = "give the answer's text; without an answer set is_impossible to true and empty the list"
                self.add(here, "text", "is empty", fix, name)
            elif start is not None:
                golds.append(Gold(text, start))
                if context is not None and (start < 0 or not context.startswith(text, start)):
                    self._misplaced(text, start, context, here, name)
        return tuple(golds)

    def _misplaced(self, text: str, start: int, context: str, path: str, name: str | None) -> None:
        self.searched += len(context)
        if self.searched <= _MAX_SEARCHED:
            what, fix = _explain_place(text, start, context)
        else:
            what, fix = f"is {start}, where the text is not", "correct it"
        self.add(path, "answer_start", what, fix, name)


def _no_answer(entry: object) -> bool:
    """Whether an answer of a question with is_impossible is only a placeholder."""
    if not isinstance(entry, dict):
        return False
    text = entry.get("text")
    return entry.get("answer_start") == -1 or text is None or (isinstance(text, str) and not text.strip())


def _placed(text: str, start: object, context: str) -> Gold:
    """The answer at its place in the context: the nearest to ``start`` where the text is not there.

    A text that does not occur gets a place within the context.
    """
    at = start if type(start) is int else 0
    if at >= 0 and context.startswith(text, at):
        return Gold(text, at)
    place = nearest_place(text, at, context)
    return Gold(text, place if place is not None else min(max(at, 0), max(0, len(context) - len(text))))


def nearest_place(text: str, start: int, context: str) -> int | None:
    """Where the text occurs in the context nearest to ``start``."""
    before = context.rfind(text, 0, max(0, start) + len(text))
    behind = context.find(text, max(0, start))
    return min((at for at in (before, behind) if at >= 0), key=lambda at: abs(at - start), default=None)


def _explain_place(text: str, start: int, context: str) -> tuple[str, str]:
    """Why an answer is not at its offset, and what to do."""
    if 0 <= start < len(context):
        difference = (
            f"the context has {shorten(context[start : start + len(text)])} difference, not {shorten(text)}"
        )
    else:
        difference = f"the context has {len(context)} characters, and the answer is {shorten(text)}"
    nearest = nearest_place(text, start, context)
    if nearest is not None:
        count = context.count(text)
        often = f" ({count} places contain that text)" if count > 1 else ""
        fix = f"the nearest place with that text is {nearest}{often}"
    elif unicodedata.normalize("NFC", text) in unicodedata.normalize("NFC", context):
        fix = "the text occurs in the context in another Unicode form (NFC, NFD): copy it from there"
    else:
        fix = "the text does not occur in the context: copy it from there"
    return f"is {start}: {difference}", fix


def number_missing_ids(examples: Sequence[Example]) -> list[Example]:
    """The examples, those without an id with a number that no other has, counted from 1."""
    if all(example.id for example in examples):
        return list(examples)
    taken = {example.id for example in examples}
    numbers = (str(n) for n in range(1, 2 * len(examples) + 1))
    free = (number for number in numbers if number not in taken)
    return [example if example.id else replace(example, id=next(free)) for example in examples]
