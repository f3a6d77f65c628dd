"""Questions from data files of every form, in shards that can be read separately.

All data is validated first: damaged questions and repeated ids are reported before the first answer. Each
shard has the hash of its questions, so that a change of the file during the run is noticed.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import BinaryIO, Protocol

import numpy as np

from komrc.data import PREDICTING, Needs, read_data
from komrc.data.checks import Checker
from komrc.data.read import refuse_prediction_row
from komrc.data.tables import SUFFIXES, form_of, is_table, plain, table
from komrc.errors import DataError, Problem
from komrc.predicting import fs
from komrc.types import Example

SHARD_SIZE = 1000  # questions
_PROBLEMS_SHOWN = 20
_FORM = 'write one JSON object a line: {"id": "…", "question": "…", "context": "…"}'

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ShardSpec:
    """Consecutive questions of one file.

    ``first`` and ``last`` are half-open positions: bytes of JSON Lines, rows of Parquet, questions of JSON.
    """

    number: int
    file: str
    first: int
    last: int
    count: int
    sha256: str


@dataclass(frozen=True, slots=True)
class QuestionSet:
    """The validated questions of a run, in the order of the files.

    ``sha256`` is the hash of all questions, file by file. ``repeated`` is an id that occurs more than once,
    or None.
    """

    shards: tuple[ShardSpec, ...]
    total: int
    sha256: str
    repeated: str | None
    files: QuestionFiles

    def examples(self, skip: int = 0) -> Iterator[Example]:
        """All questions after the first ``skip``. Only one shard is in memory at a time."""
        for shard in self.shards:
            if skip >= shard.count:
                skip -= shard.count
                continue
            yield from self.files.read(shard)[skip:]
            skip = 0


def open_questions(
    data: Sequence[str | Path],
    *,
    skip_invalid: bool = False,
    shard_size: int = SHARD_SIZE,
    needs: Needs = PREDICTING,
) -> QuestionSet:
    """Validate the questions of files, folders and URLs, in this order.

    Args:
        skip_invalid: leave damaged questions out; the log names them.
        shard_size: questions of a shard; the last shard of a file may have fewer.
        needs: what is checked of each question.

    Raises DataError with the problems of the first file that has any, UsageError for a URL that can't be
    reached from here.
    """
    shards: list[ShardSpec] = []
    whole = hashlib.sha256()
    files = QuestionFiles(skip_invalid=skip_invalid, needs=needs)
    with contextlib.ExitStack() as stack:
        ids = _Ids(stack)
        for name in data:
            for file in fs.find_files(fs.absolute_url(name), SUFFIXES):
                shards += _scan(
                    files.open(file), shard_size, len(shards), ids, whole, skip_invalid=skip_invalid
                )
                whole.update(b"file")
        if not shards:
            raise DataError("contains no question", where=" ".join(map(str, data)), fix=_FORM)
        suspects = ids.suspects()
    total = sum(b.count for b in shards)
    source = QuestionSet(tuple(shards), total, whole.hexdigest(), None, files)
    return replace(source, repeated=_first_repeated(source.examples(), suspects)) if suspects else source


@contextlib.contextmanager
def standard_input(data: Sequence[str]) -> Iterator[Sequence[str]]:
    """The data with "-" replaced by a temporary copy of standard input.

    The form is detected from the first bytes: Parquet, JSON (or JSON Lines), else CSV or TSV.
    """
    if "-" not in data:
        yield data
        return
    with tempfile.TemporaryDirectory(prefix="komrc-") as folder:
        copy = Path(folder, "stdin")
        with copy.open("wb") as file:
            shutil.copyfileobj(sys.stdin.buffer, file)
        named = copy.rename(copy.with_suffix(form_of(lambda: copy.open("rb"))))
        try:
            yield [str(named) if name == "-" else name for name in data]
        except DataError as error:
            if error.where == str(named):
                error.where = "standard input"
            raise


class _Digest(Protocol):
    def update(self, data: bytes, /) -> None: ...


def check_unique_ids(source: QuestionSet, fix: str) -> None:
    """Raises DataError if an id occurs more than once."""
    if source.repeated is not None:
        raise DataError(f"the id {source.repeated} occurs more than once", fix=fix)


def _scan(
    opened: _File, size: int, number: int, ids: _Ids, whole: _Digest, *, skip_invalid: bool
) -> Iterator[ShardSpec]:
    problems: list[Problem] = []
    total = wrong = count = first = 0
    digest = hashlib.sha256()
    for end, row in opened.rows(0, None):
        total += 1
        if isinstance(row, Problem):
            wrong += 1
            problems += [row] if wrong <= _PROBLEMS_SHOWN else []
            continue
        if wrong and not skip_invalid:
            continue
        ids.add(row.id)
        raw = _bytes(row)
        digest.update(raw)
        whole.update(raw)
        count += 1
        if count == size:
            yield ShardSpec(number, opened.name, first, end, count, digest.hexdigest())
            number, first, count, digest = number + 1, end, 0, hashlib.sha256()
    if wrong and not (skip_invalid and wrong < total):
        raise DataError(
            f"{wrong} of {total} {opened.unit} can't be used",
            where=opened.name,
            fix=opened.form,
            problems=problems,
        )
    if wrong:
        named = "; ".join(map(str, problems[:_PROBLEMS_SHOWN]))
        logger.warning("%s: left out %d of %d %s: %s", opened.name, wrong, total, opened.unit, named)
    if count:
        yield ShardSpec(number, opened.name, first, end, count, digest.hexdigest())


def _bytes(example: Example) -> bytes:
    """The bytes to hash for a question; lengths come first, so that different questions give different
    bytes.
    """
    texts = [text.encode("utf-8") for text in (example.id, example.question, example.context)]
    return b"".join(part for text in texts for part in (len(text).to_bytes(8, "little"), text))


# --- files -------------------------------------------------------------------------------------------------


class QuestionFiles:
    """Opens data files and keeps the last one open, since a JSON file is parsed as a whole."""

    def __init__(self, *, skip_invalid: bool = False, needs: Needs = PREDICTING) -> None:
        self.skip_invalid = skip_invalid
        self.needs = needs
        self._last: _File | None = None

    def open(self, name: str) -> _File:
        """Open the file, or return it if it was the last one. Raises DataError, StorageError."""
        if self._last is None or self._last.name != name:
            self._last = None  # frees it
            self._last = _open(name, self.needs, skip_invalid=self.skip_invalid)
        return self._last

    def read(self, shard: ShardSpec) -> list[Example]:
        """The questions of a shard. Raises DataError if the file has changed since it was validated."""
        rows = [row for _, row in self.open(shard.file).rows(shard.first, shard.last)]
        examples = [item for item in rows if isinstance(item, Example)]
        digest = hashlib.sha256()
        for example in examples:
            digest.update(_bytes(example))
        damaged = len(examples) < len(rows) and not self.skip_invalid
        if damaged or digest.hexdigest() != shard.sha256:
            raise DataError(
                "changed while it was read",
                where=shard.file,
                fix="start again when it is complete",
                problems=[item for item in rows if isinstance(item, Problem)][:_PROBLEMS_SHOWN],
            )
        return examples


class _File(Protocol):
    name: str
    unit: str  # what a question is in this file, in the plural: "lines"
    form: str  # how to correct a damaged one

    def rows(self, first: int, last: int | None) -> Iterator[tuple[int, Example | Problem]]:
        """The rows from ``first`` to ``last``, each with the position after it."""
        ...


def _open(name: str, needs: Needs, *, skip_invalid: bool) -> _File:
    return _Rows(name, needs) if is_table(name) else _Document(name, needs, skip_invalid=skip_invalid)


class _Document:
    """A JSON file, parsed as a whole."""

    unit, form = "questions", "correct them"

    def __init__(self, name: str, needs: Needs, *, skip_invalid: bool) -> None:
        self.name = name
        with _on_disk(name) as path:
            try:
                loaded = read_data(path, needs, skip_invalid=skip_invalid)
            except DataError as error:
                error.where = name
                raise
        self._examples = loaded.examples

    def rows(self, first: int, last: int | None) -> Iterator[tuple[int, Example | Problem]]:
        yield from enumerate(self._examples[first:last], first + 1)


class _Rows:
    """A table, read a row at a time."""

    def __init__(self, name: str, needs: Needs) -> None:
        self.name = name
        # Repeated ids are searched in all files together, see _Ids.
        self._needs = replace(needs, unique_ids=False)
        self._copies = contextlib.ExitStack()  # a temporary copy is removed with this object
        opened = self._copies.enter_context(plain(name, partial(fs.open_read, name)))
        self._table = table(name, opened, self._needs.columns())
        self.unit, self.form = self._table.unit, self._table.form

    def rows(self, first: int, last: int | None) -> Iterator[tuple[int, Example | Problem]]:
        for end, where, row in self._table.rows(first, last):
            if isinstance(row, Problem):
                yield end, row
                continue
            refuse_prediction_row(row, self.name)
            check = Checker(self._needs)
            example = check.question(row, where, check.context(row, where), check.title(row, where))
            yield end, example if isinstance(example, Example) else check.problems[0]


@contextlib.contextmanager
def _on_disk(name: str) -> Iterator[Path]:
    """The file as a path; a file at a URL is copied to a temporary file."""
    path = fs.as_local_path(name)
    if path is not None:
        yield path
        return
    with tempfile.NamedTemporaryFile(prefix="komrc-", suffix=f"-{Path(name).name}") as copy:
        with fs.open_read(name) as file:
            shutil.copyfileobj(file, copy)
        copy.flush()
        yield Path(copy.name)


# --- repeated ids ------------------------------------------------------------------------------------------


class _Ids:
    """Finds ids that may occur more than once, with hashes on disk (8 bytes an id) instead of in memory."""

    _PARTS = 64  # temporary files; only one is loaded at a time

    def __init__(self, stack: contextlib.ExitStack) -> None:
        self._parts: list[BinaryIO] = []
        for _ in range(self._PARTS):
            file = tempfile.TemporaryFile(prefix="komrc-ids-")  # noqa: SIM115 (the stack closes it)
            self._parts.append(stack.enter_context(file))

    def add(self, name: str) -> None:
        key = _key(name)
        self._parts[key[0] % self._PARTS].write(key)

    def suspects(self) -> set[bytes]:
        """Hashes that were added more than once."""
        repeated: set[bytes] = set()
        for part in self._parts:
            part.seek(0)
            keys, counts = np.unique(np.frombuffer(part.read(), "V8").view("<u8"), return_counts=True)
            repeated.update(key.tobytes() for key in keys[counts > 1])
        return repeated


def _key(name: str) -> bytes:
    return hashlib.blake2b(name.encode("utf-8"), digest_size=8).digest()


def _first_repeated(examples: Iterable[Example], suspects: set[bytes]) -> str | None:
    seen: set[str] = set()
    for example in examples:
        if _key(example.id) in suspects:
            if example.id in seen:
                return example.id
            seen.add(example.id)
    return None
