"""Questions from JSON in the form of KorQuAD, from JSON Lines or Parquet, in blocks that can be read alone.

The whole data is looked through first: damaged questions and repeated ids are known before the first
answer. Each block carries the hash of its questions, so that a file that changes meanwhile is noticed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np

from komrc.datasets import read_squad
from komrc.errors import DataError, Problem, require
from komrc.predicting import places
from komrc.types import Example

BLOCK = 1000  # questions
LINES = (".jsonl", ".ndjson")
PARQUET = (".parquet",)
_SUFFIXES = (".json", *LINES, *PARQUET)
_PROBLEMS_SHOWN = 20
_FIELDS = ("id", "question", "context")
_FORM = 'write one JSON object a line: {"id": "…", "question": "…", "context": "…"}'
_COLUMNS = "give it the columns id, question and context, each of text"


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
        skip_invalid: leave damaged questions of JSON files out; the log names them.
        block: questions of a block; the last one of a file has fewer.

    Raises DataError with the problems of the first file that has any, UsageError for a URL that can't be
    reached from here.
    """
    files = Files(skip_invalid=skip_invalid)
    blocks: list[Block] = []
    whole = hashlib.sha256()
    with contextlib.ExitStack() as stack:
        ids = _Ids(stack)
        for name in data:
            for file in places.files_of(places.normal(name), _SUFFIXES):
                blocks += _scan(files.open(file), block, len(blocks), ids, whole)
                whole.update(b"file")
        if not blocks:
            raise DataError("holds no question", where=" ".join(map(str, data)), fix=_FORM)
        suspects = ids.suspects()
    total = sum(b.count for b in blocks)
    source = Source(tuple(blocks), total, whole.hexdigest(), None, files)
    return replace(source, repeated=_first_repeated(source.examples(), suspects)) if suspects else source


def refuse_repeated_ids(source: Source, fix: str) -> None:
    """Raises DataError where an id stands more than once."""
    if source.repeated is not None:
        raise DataError(f"the id {source.repeated} stands more than once", fix=fix)


def _scan(opened: _File, size: int, number: int, ids: _Ids, whole: hashlib._Hash) -> Iterator[Block]:
    problems: list[Problem] = []
    total = wrong = count = first = 0
    digest = hashlib.sha256()
    for end, found in opened.rows(0, None):
        total += 1
        if isinstance(found, Problem):
            wrong += 1
            problems += [found] if wrong <= _PROBLEMS_SHOWN else []
            continue
        if wrong:
            continue
        ids.add(found.id)
        raw = _bytes(found)
        digest.update(raw)
        whole.update(raw)
        count += 1
        if count == size:
            yield Block(number, opened.name, first, end, count, digest.hexdigest())
            number, first, count, digest = number + 1, end, 0, hashlib.sha256()
    if wrong:
        raise DataError(
            f"{wrong} of {total} {opened.unit} can't be used",
            where=opened.name,
            fix=opened.form,
            problems=problems,
        )
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
            kind = places.suffix(name)
            if kind in LINES:
                self._last = _Lines(name)
            elif kind in PARQUET:
                self._last = _Parquet(name)
            else:
                self._last = _Squad(name, skip_invalid=self.skip_invalid)
        return self._last

    def read(self, block: Block) -> list[Example]:
        """The questions of a block. Raises DataError where they are not what they were."""
        found = [item for _, item in self.open(block.file).rows(block.first, block.last)]
        examples = [item for item in found if isinstance(item, Example)]
        digest = hashlib.sha256()
        for example in examples:
            digest.update(_bytes(example))
        if len(examples) < len(found) or digest.hexdigest() != block.sha256:
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


class _Squad:
    unit, form = "questions", "correct them"

    def __init__(self, name: str, *, skip_invalid: bool) -> None:
        self.name = name
        with _on_disk(name) as path:
            try:
                loaded = read_squad(path, skip_invalid=skip_invalid, require_answers=False)
            except DataError as error:
                error.where = name
                raise
        self._examples = loaded.examples

    def rows(self, first: int, last: int | None) -> Iterator[tuple[int, Example | Problem]]:
        yield from enumerate(self._examples[first:last], first + 1)


class _Lines:
    unit, form = "lines", _FORM

    def __init__(self, name: str) -> None:
        self.name = name

    def rows(self, first: int, last: int | None) -> Iterator[tuple[int, Example | Problem]]:
        with places.reading(self.name) as file:
            file.seek(first)
            end, number = first, 0
            while (last is None or end < last) and (line := file.readline()):
                number += 1
                begin, end = end, end + len(line)
                if line.strip():
                    yield end, _parse(line, f"line {number}", first=begin == 0)


class _Parquet:
    unit, form = "rows", _COLUMNS

    def __init__(self, name: str) -> None:
        self.name = name

    def rows(self, first: int, last: int | None) -> Iterator[tuple[int, Example | Problem]]:
        parquet = _pyarrow_parquet(self.name)
        with places.reading(self.name) as file:
            try:
                # Page by page: a row group may hold a million rows.
                opened = parquet.ParquetFile(file, buffer_size=1 << 20, pre_buffer=False)
                missing = [name for name in _FIELDS if name not in opened.schema_arrow.names]
                if missing:
                    raise DataError(f"has no column {', '.join(missing)}", where=self.name, fix=_COLUMNS)
                yield from self._rows(opened, first, last)
            except (ValueError, OSError) as error:  # pyarrow's own are of these kinds
                reason = str(error).split("\n")[0]
                raise DataError(f"can't be read ({reason})", where=self.name) from error

    def _rows(self, opened: Any, first: int, last: int | None) -> Iterator[tuple[int, Example | Problem]]:
        groups: list[int] = []
        begin = end = 0
        for group in range(opened.num_row_groups):
            before, end = end, end + opened.metadata.row_group(group).num_rows
            if end > first and (last is None or before < last):
                begin = begin if groups else before
                groups.append(group)
        number = begin
        for batch in opened.iter_batches(batch_size=1024, row_groups=groups, columns=list(_FIELDS)):
            skipped = min(max(0, first - number), len(batch))
            number += skipped
            for row in batch.slice(skipped).to_pylist():
                if last is not None and number >= last:
                    return
                number += 1
                yield number, _check(row, f"row {number}", _COLUMNS)


def _pyarrow_parquet(name: str) -> Any:
    require("pyarrow", extra="ray", purpose="Parquet", where=name, instead="give JSON Lines")
    import pyarrow.parquet

    return pyarrow.parquet


@contextlib.contextmanager
def _on_disk(name: str) -> Iterator[Path]:
    """The file as a path; what is behind a URL is copied to a temporary file."""
    path = places.local(name)
    if path is not None:
        yield path
        return
    with tempfile.NamedTemporaryFile(prefix="komrc-", suffix=".json") as copy:
        with places.reading(name) as file:
            shutil.copyfileobj(file, copy)
        copy.flush()
        yield Path(copy.name)


def _parse(line: bytes, where: str, *, first: bool) -> Example | Problem:
    try:
        value = json.loads(line.decode("utf-8-sig" if first else "utf-8"))
    except (ValueError, RecursionError) as error:
        return Problem(where, f"not JSON in UTF-8 ({error})", _FORM)
    if not isinstance(value, dict):
        return Problem(where, f"a JSON {type(value).__name__}, not an object", _FORM)
    return _check(value, where, _FORM)


def _check(value: dict[str, Any], where: str, form: str) -> Example | Problem:
    for name in _FIELDS:
        text = value.get(name)
        if not isinstance(text, str):
            what = f'"{name}" is missing' if text is None else f'"{name}" is {type(text).__name__}, not text'
            return Problem(where, what, form)
        if not text.strip():
            return Problem(where, f'"{name}" is empty', "give it at least one character")
        try:
            text.encode("utf-8")
        except UnicodeEncodeError:
            return Problem(where, f'"{name}" holds half of a surrogate pair', "write it as UTF-8 again")
    return Example(value["id"], value["question"], value["context"])


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
