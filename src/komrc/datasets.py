"""KorQuAD 1.0, SQuAD 1.1, SQuAD 2.0 and KLUE-MRC JSON -> Examples, with every defect named.

All four share one shape: ``{"version", "data": [{"title", "paragraphs": [{"context", "qas": [{"id" or
"guid", "question", "answers": [{"text", "answer_start"}], "is_impossible", "plausible_answers"}]}]}]}``.
Fields beyond these are left alone. Offsets are code points of the context exactly as the file holds it:
nothing is stripped, normalised or newline-translated.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from komrc.errors import DataError, Problem, StorageError, UsageError
from komrc.types import Example, Gold

MAX_BYTES = 1 << 30
MAX_BYTES_VARIABLE = "KOMRC_MAX_DATA_BYTES"

_LONGEST_PATH, _LONGEST_KEY = 500, 80  # characters that a message shows
_MOST_SEARCHED = 100_000_000  # characters that are searched for where misplaced answers stand

_SURROGATE_ESCAPE = re.compile(rb"\\u[dD][89a-fA-F]")
_SURROGATE = re.compile("[\ud800-\udfff]")

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Counts:
    """What a file holds. ``questions == kept + left_out`` always.

    ``unreadable`` counts articles, paragraphs and lists so damaged that nobody can say how many questions
    they hold.
    """

    articles: int
    paragraphs: int
    questions: int
    kept: int
    left_out: int
    answers: int
    unreadable: int


@dataclass(frozen=True, slots=True)
class Loaded:
    """A data file: what can be used, and everything that is wrong with it.

    ``left_out`` names each question that is not in ``examples``: its id, or its JSON path where it has none.
    ``sha256`` is that of the file's bytes. ``version_2`` says whether some question can't be answered.
    """

    examples: list[Example]
    problems: tuple[Problem, ...]
    counts: Counts
    left_out: tuple[str, ...]
    sha256: str
    version_2: bool


def load_squad(path: str | Path, *, skip_invalid: bool = False) -> list[Example]:
    """The questions of a data file in file order. See :func:`read_squad`."""
    return read_squad(path, skip_invalid=skip_invalid).examples


def read_squad(
    path: str | Path,
    *,
    skip_invalid: bool = False,
    require_answers: bool = True,
    max_bytes: int | None = None,
) -> Loaded:
    """Read a data file and check all of it.

    Args:
        path: a JSON file in UTF-8, with or without a byte order mark.
        skip_invalid: leave out questions with a defect, and log how many and which, instead of raising.
        require_answers: whether a question without reference answers is a defect; False to predict.
        max_bytes: a larger file is refused before it is read; by default what the variable
            KOMRC_MAX_DATA_BYTES says, or 1 GiB.

    Raises:
        DataError: with every problem found; also with ``skip_invalid`` where nothing usable is left.
        StorageError: the file can't be read from the disk.
    """
    loaded = scan_squad(path, require_answers=require_answers, max_bytes=max_bytes)
    counts = loaded.counts
    if loaded.problems and not (skip_invalid and loaded.examples):
        found = f"{len(loaded.problems)} problem{'s' if len(loaded.problems) > 1 else ''}"
        raise DataError(
            f"{found}; {counts.kept} of {counts.questions} questions are usable",
            where=str(path),
            fix="correct them"
            + (", or leave the questions concerned out with --skip-invalid" if loaded.examples else ""),
            problems=loaded.problems,
        )
    if loaded.problems:
        named = ", ".join(loaded.left_out[:20]) or "none"
        more = f" and {counts.left_out - 20} more" if counts.left_out > 20 else ""
        logger.warning(
            "%s: left out %d of %d questions: %s%s (komrc data lint lists every problem)",
            path,
            counts.left_out,
            counts.questions,
            named,
            more,
        )
    return loaded


def scan_squad(path: str | Path, *, require_answers: bool = True, max_bytes: int | None = None) -> Loaded:
    """Like :func:`read_squad`, but defects inside the document are returned, not raised."""
    document = read_json(path, max_bytes=max_bytes)
    scan = _Scan(document.problems, require_answers)
    scan.document(document.value)
    return Loaded(
        examples=scan.examples,
        problems=tuple(scan.problems),
        counts=Counts(
            articles=scan.articles,
            paragraphs=scan.paragraphs,
            questions=len(scan.examples) + len(scan.left_out),
            kept=len(scan.examples),
            left_out=len(scan.left_out),
            answers=sum(len(example.answers) for example in scan.examples),
            unreadable=scan.unreadable,
        ),
        left_out=tuple(scan.left_out),
        sha256=document.sha256,
        version_2=any(example.is_impossible for example in scan.examples),
    )


# --- bytes -> JSON -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Document:
    """A JSON value, the SHA-256 of its file, and what JSON parsers usually let pass, by JSON path."""

    value: Any
    sha256: str
    problems: Mapping[str, Problem]


class _NotANumber:
    """Stands where the file says NaN, Infinity or -Infinity."""

    def __init__(self, name: str) -> None:
        self.name = name


class _Repeated(dict[str, Any]):
    """An object that names a key twice."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        counts = Counter(name for name, _ in pairs)
        self.names = sorted(name for name, count in counts.items() if count > 1)


def read_json(path: str | Path, *, max_bytes: int | None = None) -> Document:
    """Read and parse one JSON file.

    NaN, repeated keys and lone surrogates are reported in ``problems``. Raises DataError where there is no
    document to speak of: no such file, too large, not UTF-8, cut off, not JSON, nested too deeply.
    """
    raw = _read_bytes(Path(path), _size_limit() if max_bytes is None else max_bytes)
    sha256 = hashlib.sha256(raw).hexdigest()

    def fail(what: str, fix: str) -> NoReturn:
        raise DataError(what, where=str(path), fix=fix)

    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
            fail("is UTF-16, not UTF-8", "save it as UTF-8")
        line = raw.count(b"\n", 0, error.start) + 1
        fail(
            f"is not UTF-8: byte 0x{raw[error.start]:02x} at offset {error.start} (line {line})",
            "save it as UTF-8; an old Korean file may be CP949: iconv -f CP949 -t UTF-8",
        )
    escapes = _SURROGATE_ESCAPE.search(raw) is not None  # nothing else brings a lone surrogate into UTF-8
    del raw
    if not text.strip():
        fail("is empty", "give a JSON data file")
    odd: list[object] = []

    def constant(name: str) -> _NotANumber:
        odd.append(value := _NotANumber(name))
        return value

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(items)
        if len(made) == len(items):
            return made
        odd.append(repeated := _Repeated(items))
        return repeated

    try:
        value = json.loads(text, parse_constant=constant, object_pairs_hook=pairs)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        if error.msg.startswith("Extra data"):
            fail(
                f"goes on after the end of its JSON value, at {place}",
                "give one JSON object, not JSON lines or several objects",
            )
        if not text[error.pos :].strip() or error.msg.startswith("Unterminated string"):
            fail(f"is cut off: {error.msg} at {place}", "get the whole file again")
        if error.msg.startswith("Invalid control character"):
            fail(f"has a raw control character in a string at {place}", "write it as an escape, such as \\n")
        fail(f"is not JSON: {error.msg} at {place}", "correct it there, or export it again")
    except RecursionError:
        fail("is nested too deeply to be a data file", "give a file in the KorQuAD format")
    except ValueError:  # Python refuses integers of thousands of digits
        fail("holds a whole number of thousands of digits", "correct the number")
    problems = {problem.path: problem for problem in _oddities(value)} if odd or escapes else {}
    return Document(value, sha256, problems)


def _size_limit() -> int:
    said = os.environ.get(MAX_BYTES_VARIABLE, "")
    if said and not (said.isascii() and said.isdigit()):
        raise UsageError(f"is {said!r}", where=MAX_BYTES_VARIABLE, fix="give a number of bytes")
    return int(said) if said else MAX_BYTES


def _read_bytes(path: Path, max_bytes: int) -> bytes:
    try:
        if path.is_dir():
            raise DataError("is a folder", where=str(path), fix="give the JSON file in it")
        if not path.exists():
            raise DataError("there is no such file", where=str(path), fix="check the path")
        if not path.is_file():
            raise DataError("is not a regular file", where=str(path), fix="give a JSON file")
        with path.open("rb") as file:
            size = path.stat().st_size
            if size > max_bytes:
                raise DataError(
                    f"is too large: {size:,} bytes, the limit is {max_bytes:,}",
                    where=str(path),
                    fix=f"split it by articles, or raise the limit ({MAX_BYTES_VARIABLE})",
                )
            return file.read(size)
    except OSError as error:
        raise StorageError(
            f"can't be read ({error.strerror or error})",
            where=str(path),
            fix="check its permissions and the disk",
        ) from error


def _lone_surrogate(text: str) -> bool:
    return _SURROGATE.search(text) is not None


def _child(path: str, key: str | int) -> str:
    """The JSON path of what is below; one that is too long to be read is cut, and so is such a key."""
    if len(path) > _LONGEST_PATH:
        return path if path.endswith("…") else f"{path}…"
    if isinstance(key, int):
        return f"{path}[{key}]"
    key = key if len(key) <= _LONGEST_KEY else f"{key[:_LONGEST_KEY]}…"
    if key.isidentifier():
        return f"{path}.{key}"
    return f"{path}[{json.dumps(key)}]"  # ASCII: a key may hold a lone surrogate


def _oddities(root: object) -> Iterator[Problem]:
    """Every NaN, repeated key and lone surrogate below ``root``, in document order."""
    stack: list[tuple[str, str | int | None, object]] = [("$", None, root)]
    while stack:
        above, last, value = stack.pop()
        if value is None or isinstance(value, bool | int | float):
            continue
        path = above if last is None else _child(above, last)
        if isinstance(value, _NotANumber):
            yield Problem(path, f"is {value.name}, which JSON does not have", "give a number")
        elif isinstance(value, str):
            if _lone_surrogate(value):
                yield Problem(path, "holds half of a surrogate pair", "write the whole character")
        elif isinstance(value, list):
            stack.extend((path, i, value[i]) for i in range(len(value) - 1, -1, -1))
        elif isinstance(value, dict):
            if isinstance(value, _Repeated):
                names = ", ".join(
                    json.dumps(name, ensure_ascii=_lone_surrogate(name)) for name in value.names
                )
                yield Problem(path, f"names {names} more than once", "keep one of them")
            for key in value:
                if _lone_surrogate(key):
                    yield Problem(_child(path, key), "its name holds half of a surrogate pair", "rename it")
            stack.extend((path, key, value[key]) for key in reversed(value))


# --- JSON -> Examples --------------------------------------------------------------------------------------

_KINDS = {list: "a list", str: "text", bool: "true or false", int: "a whole number"}


def _kind(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, float):
        return f"the number {value!r}"
    if isinstance(value, str):
        return f"the text {_short(value)}"
    if isinstance(value, bool | int):
        return f"{json.dumps(value)}"
    return "a list" if isinstance(value, list) else "an object"


def _short(text: str) -> str:
    cut = text if len(text) <= 40 else f"{text[:39]}…"
    return json.dumps(cut, ensure_ascii=_lone_surrogate(cut))


@dataclass(slots=True)
class _Scan:
    """One pass over a document; collects examples and problems side by side."""

    odd: Mapping[str, Problem]
    require_answers: bool
    problems: list[Problem] = field(default_factory=list)
    examples: list[Example] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    seen: dict[str, str] = field(default_factory=dict)  # id -> JSON path of its first use
    tainted: set[str] = field(default_factory=set)  # JSON paths at and above the odd ones
    articles: int = 0
    paragraphs: int = 0
    unreadable: int = 0
    searched: int = 0  # characters

    def add(self, path: str, what: str, fix: str, name: str | None = None) -> None:
        self.problems.append(Problem(path, what, fix, name))

    def get(self, owner: dict[str, Any], key: str, kind: type, path: str, name: str | None = None) -> Any:
        """``owner[key]`` if it is there and of its kind, else None and a problem."""
        if key not in owner:
            self.add(path, f'has no "{key}"', f'add "{key}" ({_KINDS[kind]})', name)
            return None
        value = owner[key]
        if type(value) is kind:
            return value
        if not isinstance(value, _NotANumber):  # that one is among the oddities already
            self.add(_child(path, key), f"is {_kind(value)}", f"make it {_KINDS[kind]}", name)
        return None

    def entries(self, owner: dict[str, Any], key: str, path: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """The objects of the list ``owner[key]``, each with its path."""
        entries = self.get(owner, key, list, path)
        if isinstance(owner, _Repeated) and key in owner.names:
            self.unreadable += 1
        if entries is None:
            self.unreadable += 1
            return
        for i, entry in enumerate(entries):
            here = f"{path}.{key}[{i}]"
            if isinstance(entry, dict):
                yield here, entry
                continue
            if not isinstance(entry, _NotANumber):
                self.add(here, f"is {_kind(entry)}", "make it an object")
            if key == "qas":
                self.left_out.append(here)
            else:
                self.unreadable += 1

    def document(self, value: object) -> None:
        self.problems.extend(self.odd.values())
        for path in self.odd:
            self.tainted.update(path[: place.start()] for place in re.finditer(r"[.\[]", path))
            self.tainted.add(path)
        if not isinstance(value, dict):
            self.unreadable += 1
            self.add("$", f"is {_kind(value)}", 'make it an object with "data", as in the KorQuAD format')
            return
        version = value.get("version", "")
        if not isinstance(version, str | int | float):
            self.add("$.version", f"is {_kind(version)}", "make it text")
        for path, article in self.entries(value, "data", "$"):
            self.articles += 1
            self.article(article, path)
        if not self.examples and not self.left_out and not self.problems:
            self.add("$.data", "holds no questions", "give a file with questions")

    def article(self, article: dict[str, Any], path: str) -> None:
        title = self.get(article, "title", str, path) if "title" in article else ""
        if title is None or f"{path}.title" in self.odd:
            title = ""
        for here, paragraph in self.entries(article, "paragraphs", path):
            self.paragraphs += 1
            self.paragraph(paragraph, here, title)

    def paragraph(self, paragraph: dict[str, Any], path: str, title: str) -> None:
        context = self.get(paragraph, "context", str, path)
        if context is not None and not context.strip():
            self.add(f"{path}.context", "is empty", "give the text, or remove the paragraph")
            context = None
        if f"{path}.context" in self.odd or path in self.odd:
            context = None
        for here, qa in self.entries(paragraph, "qas", path):
            example = self.question(qa, here, context, title)
            if isinstance(example, Example):
                self.examples.append(example)
            else:
                self.left_out.append(example or here)

    def question(
        self, qa: dict[str, Any], path: str, context: str | None, title: str
    ) -> Example | str | None:
        """The example, or the id (None if it has none) of a question with a problem."""
        before = len(self.problems)
        name = self.identity(qa, path)
        if path in self.tainted:
            return name
        question = self.get(qa, "question", str, path, name)
        if question is not None and not question.strip():
            self.add(f"{path}.question", "is empty", "write the question, or remove the entry", name)
        impossible = False
        if "is_impossible" in qa:
            impossible = self.get(qa, "is_impossible", bool, path, name) or False
        answers = self.answers(qa, path, name, context, impossible)
        if "plausible_answers" in qa:  # nobody reads them; only their shape is checked
            self.golds(qa, "plausible_answers", path, name, None)
        if len(self.problems) > before or context is None or name is None or question is None:
            return name
        return Example(name, question, context, answers, impossible, title)

    def identity(self, qa: dict[str, Any], path: str) -> str | None:
        """The question's id as text: "id", or "guid" as KLUE calls it."""
        key = "guid" if "guid" in qa and "id" not in qa else "id"
        if key not in qa:
            self.add(path, 'has no "id"', 'add "id" (text, or a whole number)')
            return None
        value = qa[key]
        here = f"{path}.{key}"
        if here in self.odd:
            return None
        if type(value) is int:
            value = str(value)
        if not isinstance(value, str):
            self.add(here, f"is {_kind(value)}", "make it text, or a whole number")
            return None
        if not value.strip():
            self.add(here, "is empty", "give every question an id of its own")
            return None
        if value in self.seen:
            self.add(
                here, f"the id is taken by {self.seen[value]}", "give every question an id of its own", value
            )
        else:
            self.seen[value] = path
        return value

    def answers(
        self, qa: dict[str, Any], path: str, name: str | None, context: str | None, impossible: bool
    ) -> tuple[Gold, ...]:
        if "answers" not in qa and (impossible or not self.require_answers):
            return ()
        before = len(self.problems)
        golds = self.golds(qa, "answers", path, name, context)
        if len(self.problems) > before:
            return ()
        if impossible and qa["answers"]:
            fix = "empty the list (plausible_answers may hold them), or make is_impossible false"
            self.add(f"{path}.answers", "has answers although is_impossible is true", fix, name)
        elif not impossible and not qa["answers"] and self.require_answers:
            self.add(f"{path}.answers", "is empty", "give an answer, or make is_impossible true", name)
        return golds

    def golds(
        self, qa: dict[str, Any], key: str, path: str, name: str | None, context: str | None
    ) -> tuple[Gold, ...]:
        """The answers of a list; compared with the context where one is given."""
        golds = []
        for i, entry in enumerate(self.get(qa, key, list, path, name) or ()):
            here = f"{path}.{key}[{i}]"
            if not isinstance(entry, dict):
                self.add(here, f"is {_kind(entry)}", 'make it an object with "text" and "answer_start"', name)
                continue
            text = self.get(entry, "text", str, here, name)
            start = self.get(entry, "answer_start", int, here, name)
            if text is not None and not text.strip():
                self.add(f"{here}.text", "is empty", "give the answer's text", name)
            elif text is not None and start is not None:
                golds.append(Gold(text, start))
                if context is not None and (start < 0 or not context.startswith(text, start)):
                    self.searched += len(context)
                    if self.searched <= _MOST_SEARCHED:
                        what, fix = _misplaced(text, start, context)
                    else:
                        what, fix = f"is {start}, where the text does not stand", "correct it"
                    self.add(f"{here}.answer_start", what, fix, name)
        return tuple(golds)


def _misplaced(text: str, start: int, context: str) -> tuple[str, str]:
    """Why an answer does not stand at its offset, and what to do."""
    if 0 <= start < len(context):
        there = f"the context has {_short(context[start : start + len(text)])} there, not {_short(text)}"
    else:
        there = f"the context has {len(context)} characters, and the answer is {_short(text)}"
    if count := context.count(text):
        before = context.rfind(text, 0, max(0, start) + len(text))
        behind = context.find(text, max(0, start))
        nearest = min((at for at in (before, behind) if at >= 0), key=lambda at: abs(at - start))
        often = f" ({count} places hold that text)" if count > 1 else ""
        fix = f"the nearest place with that text is {nearest}{often}"
    elif unicodedata.normalize("NFC", text) in unicodedata.normalize("NFC", context):
        fix = "the text stands in the context in another Unicode form (NFC, NFD): copy it from there"
    else:
        fix = "the text does not occur in the context: copy it from there"
    return f"is {start}: {there}", fix
