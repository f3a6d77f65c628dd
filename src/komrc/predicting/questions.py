"""Questions from data files of every form, in blocks that can be read alone.

The whole data is looked through first: damaged questions and repeated ids are known before the first
answer. Each block carries the hash of its questions, so that a file that changes meanwhile is noticed.
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

from komrc.data import PREDICTING, read_data
from komrc.data.checks import Checker
from komrc.data.read import refuse_prediction_row
from komrc.data.tables import SUFFIXES, form_of, is_table, plain, table
from komrc.errors import DataError, Problem
from komrc.predicting import places
from komrc.types import Example

BLOCK = 1000  # questions
_PROBLEMS_SHOWN = 20
_FORM = 'write one JSON object a line: {"id": "…", "question": "…", "context": "…"}'
_ROW = replace(PREDICTING, unique_ids=False)  # repeated ids are looked for on the disk, over all files

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Block:
    """Questions that stand one after the other in a file.

    ``first`` and ``last`` say where, half-open: bytes of JSON Lines, rows of Parquet, questions of JSON.
    """

    number: int
    file: str
    first: int
    last: int
    count: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Source:
    """The questions, checked, in their order.

    ``sha256`` is of the questions, file by file. ``repeated`` is an id that stands more than once, where
    there is one.
    """

    blocks: tuple[Block, ...]
    total: int
    sha256: str
    repeated: str | None
    files: Files

    def examples(self, skip: int = 0) -> Iterator[Example]:
        """All of them, or those behind the first ``skip``, in the memory that a block needs."""
        for block in self.blocks:
            if skip >= block.count:
                skip -= block.count
                continue
            yield from self.files.read(block)[skip:]
            skip = 0


def open_source(data: Sequence[str | Path], *, skip_invalid: bool = False, block: int = BLOCK) -> Source:
    """Look through files, folders and URLs, in this order.

    Args:
        skip_invalid: leave damaged questions out; the log names them.
        block: questions of a block; the last one of a file has fewer.

    Raises DataError with the problems of the first file that has any, UsageError for a URL that can't be
    reached from here.
    """
    blocks: list[Block] = []
    whole = hashlib.sha256()
    files = Files(skip_invalid=skip_invalid)
    with contextlib.ExitStack() as stack:
        ids = _Ids(stack)
        for name in data:
            for file in places.files_of(places.normal(name), SUFFIXES):
                blocks += _scan(files.open(file), block, len(blocks), ids, whole, skip_invalid=skip_invalid)
                whole.update(b"file")
        if not blocks:
            raise DataError("holds no question", where=" ".join(map(str, data)), fix=_FORM)
        suspects = ids.suspects()
    total = sum(b.count for b in blocks)
    source = Source(tuple(blocks), total, whole.hexdigest(), None, files)
    return replace(source, repeated=_first_repeated(source.examples(), suspects)) if suspects else source


@contextlib.contextmanager
def standard_input(data: Sequence[str]) -> Iterator[Sequence[str]]:
    """The data with "-" replaced by a temporary file that holds standard input.

    What it holds is seen from its first bytes: Parquet, JSON (or JSON Lines), else CSV or TSV.
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


def refuse_repeated_ids(source: Source, fix: str) -> None:
    """Raises DataError where an id stands more than once."""
    if source.repeated is not None:
        raise DataError(f"the id {source.repeated} stands more than once", fix=fix)


def _scan(
    opened: _File, size: int, number: int, ids: _Ids, whole: hashlib._Hash, *, skip_invalid: bool
) -> Iterator[Block]:
    problems: list[Problem] = []
    total = wrong = count = first = 0
    digest = hashlib.sha256()
    for end, found in opened.rows(0, None):
        total += 1
        if isinstance(found, Problem):
            wrong += 1
            problems += [found] if wrong <= _PROBLEMS_SHOWN else []
            continue
        if wrong and not skip_invalid:
            continue
        ids.add(found.id)
        raw = _bytes(found)
        digest.update(raw)
        whole.update(raw)
        count += 1
        if count == size:
            yield Block(number, opened.name, first, end, count, digest.hexdigest())
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
        yield Block(number, opened.name, first, end, count, digest.hexdigest())


def _bytes(example: Example) -> bytes:
    """What identifies a question, with lengths, so that no two have the same."""
    texts = [text.encode("utf-8") for text in (example.id, example.question, example.context)]
    return b"".join(part for text in texts for part in (len(text).to_bytes(8, "little"), text))


# --- files -------------------------------------------------------------------------------------------------


class Files:
    """Opens data files and keeps the last one: a JSON file is parsed whole."""

    def __init__(self, *, skip_invalid: bool = False) -> None:
        self.skip_invalid = skip_invalid
        self._last: _File | None = None

    def open(self, name: str) -> _File:
        """The file, from memory if it was the last one. Raises DataError, StorageError."""
        if self._last is None or self._last.name != name:
            self._last = None  # frees it
            self._last = _open(name, skip_invalid=self.skip_invalid)
        return self._last

    def read(self, block: Block) -> list[Example]:
        """The questions of a block. Raises DataError where they are not what they were."""
        found = [item for _, item in self.open(block.file).rows(block.first, block.last)]
        examples = [item for item in found if isinstance(item, Example)]
        digest = hashlib.sha256()
        for example in examples:
            digest.update(_bytes(example))
        damaged = len(examples) < len(found) and not self.skip_invalid
        if damaged or digest.hexdigest() != block.sha256:
            raise DataError(
                "changed while it was read",
                where=block.file,
                fix="start again when it is complete",
                problems=[item for item in found if isinstance(item, Problem)][:_PROBLEMS_SHOWN],
            )
        return examples


class _File(Protocol):
    name: str
    unit: str  # what its questions stand in, as "lines"
    form: str  # what to do about a damaged one

    def rows(self, first: int, last: int | None) -> Iterator[tuple[int, Example | Problem]]:
        """What stands from ``first`` on, each with where it ends."""
        ...


def _open(name: str, *, skip_invalid: bool) -> _File:
    return _Rows(name) if is_table(name) else _Document(name, skip_invalid=skip_invalid)


class _Document:
    """A JSON file, parsed whole."""

    unit, form = "questions", "correct them"

    def __init__(self, name: str, *, skip_invalid: bool) -> None:
        self.name = name
        with _on_disk(name) as path:
            try:
                loaded = read_data(path, PREDICTING, skip_invalid=skip_invalid)
            except DataError as error:
                error.where = name
                raise
        self._examples = loaded.examples

    def rows(self, first: int, last: int | None) -> Iterator[tuple[int, Example | Problem]]:
        yield from enumerate(self._examples[first:last], first + 1)


class _Rows:
    """A table, read a row at a time."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._copies = contextlib.ExitStack()  # a temporary copy is removed with this object
        opened = self._copies.enter_context(plain(name, partial(places.reading, name)))
        self._table = table(name, opened, _ROW.columns())
        self.unit, self.form = self._table.unit, self._table.form

    def rows(self, first: int, last: int | None) -> Iterator[tuple[int, Example | Problem]]:
        for end, where, row in self._table.rows(first, last):
            if isinstance(row, Problem):
                yield end, row
                continue
            refuse_prediction_row(row, self.name)
            check = Checker(_ROW)
            example = check.question(row, where, check.context(row, where), check.title(row, where))
            yield end, example if isinstance(example, Example) else check.problems[0]


@contextlib.contextmanager
def _on_disk(name: str) -> Iterator[Path]:
    """The file as a path; what is behind a URL is copied to a temporary file."""
    path = places.local(name)
    if path is not None:
        yield path
        return
    with tempfile.NamedTemporaryFile(prefix="komrc-", suffix=f"-{Path(name).name}") as copy:
        with places.reading(name) as file:
            shutil.copyfileobj(file, copy)
        copy.flush()
        yield Path(copy.name)


# --- repeated ids ------------------------------------------------------------------------------------------


class _Ids:
    """Finds ids that may stand more than once, with hashes on the disk: 8 bytes an id, no memory."""

    _PARTS = 64  # temporary files; each is looked at alone

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
        found: set[bytes] = set()
        for part in self._parts:
            part.seek(0)
            keys, counts = np.unique(np.frombuffer(part.read(), "V8").view("<u8"), return_counts=True)
            found.update(key.tobytes() for key in keys[counts > 1])
        return found


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
