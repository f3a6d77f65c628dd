"""Reading and cutting files in several processes of this machine, or in actors on Ray.

A unit of files is sent as text and answered as text, so that both ways do the same. Replies come in the order
of the units.
"""

from __future__ import annotations

import json
import multiprocessing
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from komrc.documents.document import Document, Unread
from komrc.documents.read import read_files
from komrc.documents.walk import File
from komrc.errors import EngineError
from komrc.index.passages import Passage
from komrc.index.store import CutDocument, FileState
from komrc.index.updating import ChangedFile, Changes, cut, read_into

_UNIT_BYTES, _UNIT_FILES = 4 << 20, 200
_LARGE = 32 << 20  # bytes of a file that is not sent as one reply

Work = Callable[[str], str]
Workers = Callable[[Work, Sequence[str]], Iterator[str]]
Items = Iterator[Document | CutDocument | Unread]


def processes(work: Work, units: Sequence[str], *, actors: int) -> Iterator[str]:
    """``Workers`` in that many processes of this machine. Raises EngineError if one of them is killed."""
    pool = ProcessPoolExecutor(actors, mp_context=multiprocessing.get_context("spawn"))
    waiting = deque[Future[str]]()
    try:
        for unit in units:
            waiting.append(pool.submit(work, unit))
            if len(waiting) > 2 * actors:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except BrokenProcessPool as error:
        raise EngineError(
            "a process that reads documents was killed (out of memory?)",
            where="actors",
            fix="run the same command again: it continues; use fewer actors",
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


@dataclass(frozen=True, slots=True)
class ParallelReading:
    """Reads files with workers; the documents come as from ``read_files``, but cut."""

    workers: Workers

    def __call__(self, files: Sequence[ChangedFile]) -> Items:
        """Large files are read by this process, record by record."""
        units = list(_units(files))
        small = [_encoded(unit) for unit in units if not _is_large(unit)]
        replies = self.workers(cut_unit, small)
        for unit in units:
            if _is_large(unit):
                yield from read_files([file.file for file in unit])
            else:
                yield from _decoded_items(next(replies))


@dataclass(frozen=True, slots=True)
class ParallelWriting:
    """Workers read files and write them into an index in OpenSearch, all at the same time."""

    workers: Workers
    url: str

    def __call__(self, files: Sequence[ChangedFile]) -> Iterator[tuple[int, Changes]]:
        """Bytes that were read, and what was changed, a unit at a time."""
        units = list(_units_by_id(files))
        replies = self.workers(partial(write_unit, self.url), [_encoded(unit) for unit in units])
        for unit, reply in zip(units, replies, strict=True):
            values = json.loads(reply)
            unread = tuple(Unread(*item) for item in values.pop("unread"))
            yield sum(file.state.size for file in unit), Changes(**values, unread=unread)


def cut_unit(unit: str) -> str:
    """Read and cut files, in a worker."""
    items = [
        [item.source, item.reason] if isinstance(item, Unread) else asdict(cut(item))
        for item in read_files([file.file for file in _decoded(unit)])
    ]
    return json.dumps(items)


def write_unit(url: str, unit: str) -> str:
    """Read files and write them into the index, in a worker."""
    from komrc.index.opensearch_location import OpenSearchLocation

    with OpenSearchLocation(url).writing_beside() as store:
        changes = read_into(store, _decoded(unit))
    return json.dumps(asdict(changes) | {"unread": [[item.source, item.reason] for item in changes.unread]})


def _units(files: Iterable[ChangedFile]) -> Iterator[list[ChangedFile]]:
    """Files in groups, a large file alone."""
    unit: list[ChangedFile] = []
    size = 0
    for file in files:
        if unit and (len(unit) >= _UNIT_FILES or size + file.state.size > _UNIT_BYTES):
            yield unit
            unit, size = [], 0
        unit.append(file)
        size += file.state.size
    if unit:
        yield unit


def _units_by_id(files: Sequence[ChangedFile]) -> Iterator[list[ChangedFile]]:
    """The same, but files whose documents would have the same ids are in one unit, which resolves that."""
    sources: dict[str, list[ChangedFile]] = {}
    for file in files:
        sources.setdefault(file.file.id, []).append(file)
    yield from _units(group[0] for group in sources.values() if len(group) == 1)
    same = [file for group in sources.values() if len(group) > 1 for file in group]
    if same:
        yield same


def _is_large(unit: Sequence[ChangedFile]) -> bool:
    return sum(file.state.size for file in unit) > _LARGE


def _encoded(unit: Sequence[ChangedFile]) -> str:
    rows = [
        [str(f.file.path), f.file.id, f.file.named, f.source, f.state.size, f.state.modified] for f in unit
    ]
    return json.dumps(rows)  # in ASCII: a path may have bytes that are no UTF-8


def _decoded(unit: str) -> list[ChangedFile]:
    return [
        ChangedFile(File(Path(path), id_, named), source, FileState(size, modified))
        for path, id_, named, source, size, modified in json.loads(unit)
    ]


def _decoded_items(reply: str) -> Iterator[CutDocument | Unread]:
    for item in json.loads(reply):
        if isinstance(item, list):
            yield Unread(*item)
        else:
            passages = [Passage(**passage) for passage in item.pop("passages")]
            yield CutDocument(**item, passages=passages)
