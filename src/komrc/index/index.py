"""``Index``: documents that can be searched, in a folder or in memory."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from komrc.errors import InputError, UsageError, check_whole_number
from komrc.index.bigrams import bigrams
from komrc.index.location import Location, location_of
from komrc.index.memory_store import MemoryStore
from komrc.index.store import Hit, Store

if TYPE_CHECKING:
    from komrc.documents.document import Document, Unread
    from komrc.index.updating import Changes, Report

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class IndexInfo:
    """What an index contains.

    Args:
        files: files with at least one document.
        documents: documents; a file of records has many.
        passages: passages, which are what a search finds.
        characters: code points of all texts.
        size: bytes on the disks, or of the search arrays in memory.
        paths: what the index is built from.
        left_out: what was removed from it and is not read again.
    """

    files: int
    documents: int
    passages: int
    characters: int
    size: int
    paths: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The fields by name."""
        return asdict(self)


class Index:
    """Documents cut into passages, which are searched by BM25 over pairs of characters.

    Make one with ``build``, ``open`` or ``of_documents``. It is in a folder, in memory, or in OpenSearch, if
    a URL such as ``opensearch://localhost:9200/NAME`` is given instead of a folder. An index in a folder or
    in OpenSearch may be searched by several processes and threads while one process changes it. They see each
    change once it is complete; in OpenSearch a change of several documents becomes visible document by
    document. Use it as a context manager, or call ``close``.
    """

    def __init__(self, store: Store, location: Location | None = None) -> None:
        self._store = store
        self._location = location
        self.folder = location.folder if location is not None else None  # None in a cluster or in memory
        self.changes: Changes | None = None  # what `build` did

    @classmethod
    def build(
        cls,
        paths: Iterable[str | os.PathLike[str]],
        output: str | os.PathLike[str],
        *,
        report: Report | None = None,
        progress: bool = False,
        actors: int = 1,
        on_ray: bool = False,
    ) -> Index:
        """Index files and folders.

        If ``output`` is an index already, the paths are added to it and what has changed is read again. So
        the same call continues a build that was stopped.

        Args:
            paths: files, and folders of which all files are read.
            output: the folder of the index, or the URL of an index in OpenSearch; a new one, or an index.
            report: is called for each file that can't be read; None: each is logged as a warning.
            progress: show progress on stderr.
            actors: processes that read and cut files; those of an index in OpenSearch also write to it.
            on_ray: take actors on Ray, of the cluster that RAY_ADDRESS names, instead of processes.

        The index is the same with any number of actors. Raises UsageError, StorageError, EngineError,
        MissingPackageError.
        """
        given = _absolute(paths)
        for path in given:
            if not Path(path).exists():
                raise UsageError("does not exist", where=path, fix="give files or folders")
        run = _Run(report or _log, progress, actors, on_ray)
        location = location_of(output)
        location.create()
        changes = run.update(location, given)
        index = cls(location.open(), location)
        index.changes = changes
        return index

    @classmethod
    def open(cls, folder: str | os.PathLike[str]) -> Index:
        """Open an index that ``build`` has written, by its folder or URL.

        Raises UsageError if there is no index, StorageError for one that is damaged, of another format or
        can't be reached, MissingPackageError.
        """
        location = location_of(folder)
        return cls(location.open(), location)

    @classmethod
    def of_documents(cls, documents: Iterable[Document]) -> Index:
        """An index in memory. It needs NumPy only, and can't be changed."""
        from komrc.index.updating import cut

        return cls(MemoryStore(map(cut, documents)))

    # --- searching -----------------------------------------------------------------------------------------

    def search(self, question: str, top_k: int = 10) -> list[Hit]:
        """The passages that match best, the best first; fewer than ``top_k`` if fewer match at all.

        Raises InputError for an empty question, UsageError.
        """
        check_whole_number(top_k, "top_k")
        if not isinstance(question, str) or not question.strip():
            raise InputError("is empty", where="question", fix="give a question or words to search for")
        return self._store.search(bigrams(question), top_k)

    def document_text(self, document: str) -> str:
        """The extracted text of a document, which all offsets count. Raises InputError for an unknown id."""
        try:
            return self._store.document_text(document)
        except KeyError:
            raise InputError(
                "no such document in the index", where=document, fix="give the id that a search gave"
            ) from None

    def info(self) -> IndexInfo:
        """How much the index contains, and from where."""
        counts = asdict(self._store.info())
        if self._location is None:
            return IndexInfo(**counts)
        sources = self._location.sources()
        return IndexInfo(**counts, paths=sources.paths, left_out=sources.left_out)

    # --- changing ------------------------------------------------------------------------------------------

    def update(
        self,
        paths: Iterable[str | os.PathLike[str]] = (),
        *,
        report: Report | None = None,
        progress: bool = False,
        actors: int = 1,
        on_ray: bool = False,
    ) -> Changes:
        """Bring the index to what its files are now; ``paths`` are added to those it is built from.

        Files that are new or have another size or time of change are read, and documents of files that no
        longer exist are removed. If a file or folder that was given to ``build`` can't be found, it is
        reported and its documents stay; a single file that was deleted is removed.

        The options are those of ``build``. Raises UsageError for an index in memory, StorageError.
        """
        run = _Run(report or _log, progress, actors, on_ray)
        return run.update(self._writable(), _absolute(paths))

    def remove(self, path: str | os.PathLike[str]) -> int:
        """Remove the documents of a file, or of all files below a folder; ``update`` does not read it again.

        Returns the number of documents. Raises InputError if the index has none from there, UsageError.
        """
        from komrc.index.updating import forget, sources_below

        location = self._writable()
        (absolute,) = _absolute([path])
        with location.writing() as store:
            chosen = sources_below(store, absolute)
            if not chosen:
                raise InputError(
                    "the index has no document from there",
                    where=absolute,
                    fix="give a file or folder as it was indexed; komrc index FOLDER --info names them",
                )
            location.write_sources(location.sources().without(absolute))
            return forget(store, chosen)

    def _writable(self) -> Location:
        if self._location is None:
            raise UsageError("an index in memory can't be changed", fix="make it again from its documents")
        return self._location

    def close(self) -> None:
        """Release files and connections."""
        self._store.close()

    def __enter__(self) -> Index:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@dataclass(frozen=True, slots=True)
class _Run:
    """How an index is brought up to date. Raises UsageError for a number of actors below 1."""

    report: Report
    progress: bool
    actors: int
    on_ray: bool

    def __post_init__(self) -> None:
        check_whole_number(self.actors, "actors")

    def update(self, location: Location, paths: list[str]) -> Changes:
        """Read what is new or has changed below the paths of the index and these."""
        from komrc.index.updating import update

        with location.writing() as store:
            sources = location.sources().with_paths(paths)
            location.write_sources(sources)
            return update(
                store,
                sources,
                own_folder=location.folder,
                report=self.report,
                show_progress=self.progress,
                **self._parallel(location),
            )

    def _parallel(self, location: Location) -> dict[str, Any]:
        """Who reads, or reads and writes."""
        if self.actors == 1 and not self.on_ray:
            return {}
        from komrc.index.on_ray import actors_on_ray
        from komrc.index.workers import ParallelReading, ParallelWriting, processes

        workers = partial(actors_on_ray if self.on_ray else processes, actors=self.actors)
        if location.url is not None:
            return {"writing": ParallelWriting(workers, location.url)}
        return {"reading": ParallelReading(workers)}


def _absolute(paths: Iterable[str | os.PathLike[str]]) -> list[str]:
    """Absolute paths. Links stay: the names that the user gave are those that are shown."""
    return [os.path.abspath(Path(path).expanduser()) for path in paths]  # noqa: PTH100 (resolve follows links)


def _log(unread: Unread) -> None:
    logger.warning("%s: %s", unread.source, unread.reason)
