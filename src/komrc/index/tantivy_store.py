"""The default store: one folder with a catalog in SQLite and a search engine, Tantivy.

Tantivy finds the best passages without scoring every match (block-max WAND). It has only the terms of each
passage, its id and the number of its document; the rest is in the catalog. After a kill or a power cut the
next writer brings the engine up to the catalog's state, and a damaged engine is filled again from it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from komrc import system
from komrc.errors import StorageError, require
from komrc.index.catalog import FILE, Catalog
from komrc.index.passages import Passage
from komrc.index.store import BusyError, Change, FileState, Hit, StoredDocument, StoreInfo

if TYPE_CHECKING:
    import tantivy

ENGINE = "search"  # the engine's folder
LOCK = "writer.lock"
_MEMORY = 100_000_000  # bytes that the engine collects before it writes a segment
_BATCH = 20_000  # passages between two commits while the engine is filled again
_LAST = (1 << 63) - 1


class TantivyStore:
    """Implements ``WritableStore`` in a folder.

    Args:
        folder: an existing folder.
        write: take the lock of the one writer, and finish what a killed writer left. Otherwise the store
            can only be read; it then sees what another process writes.

    Raises StorageError for a store that is damaged, can't be read or is being written by another process;
    MissingPackageError without tantivy.
    """

    def __init__(self, folder: Path, *, write: bool = False) -> None:
        require("tantivy", extra="documents", purpose="an index in a folder", where=str(folder))
        self.folder = folder
        self._writer: tantivy.IndexWriter | None = None
        self._lock = threading.Lock()
        with contextlib.ExitStack() as opened:
            if write:
                opened.enter_context(_locked(folder))
            elif not (folder / FILE).exists():
                raise StorageError(
                    "is empty: the build was stopped at its beginning",
                    where=str(folder),
                    fix="run the command that builds it again",
                )
            self._catalog = Catalog(folder, write=write)
            opened.callback(self._catalog.close)
            self._version = -1 if write else self._catalog.version()
            if write:
                self._recover()
                opened.callback(self._stop_writing)
            else:
                self._engine = _opened(opened.enter_context(_writable_view(folder / ENGINE)))
            self._searcher = self._engine.searcher()
            self._opened = opened.pop_all()

    # --- reading -------------------------------------------------------------------------------------------

    def search(self, terms: Sequence[str], top_k: int) -> list[Hit]:
        """See ``Store``."""
        wanted = top_k
        while True:
            searcher = self._latest()
            scored = self._scored(searcher, terms, wanted)
            passages = self._catalog.passages([number for number, _ in scored])
            hits = [Hit(passages[number], score) for number, score in scored if number in passages]
            # The engine may still have passages that were removed a moment ago.
            if len(hits) >= top_k or len(scored) < wanted:
                return hits[:top_k]
            wanted = max(wanted + len(scored) - len(hits), 2 * top_k)

    def _latest(self) -> tantivy.Searcher:
        with self._lock:
            if self._writer is None and (version := self._catalog.version()) != self._version:
                self._engine.reload()
                self._searcher = self._engine.searcher()
                self._version = version
            return self._searcher

    def _scored(
        self, searcher: tantivy.Searcher, terms: Sequence[str], top_k: int
    ) -> list[tuple[int, float]]:
        import tantivy

        schema = self._engine.schema
        parts = [
            (tantivy.Occur.Should, tantivy.Query.term_query(schema, "terms", term, "freq"))
            for term in dict.fromkeys(terms)
        ]
        if not parts or not searcher.num_docs:
            return []
        limit = min(top_k, searcher.num_docs)
        hits = searcher.search(tantivy.Query.boolean_query(parts), limit, count=False).hits
        ids = searcher.fast_field_values("passage", [address for _, address in hits])
        return [(int(number or 0), float(score)) for number, (score, _) in zip(ids, hits, strict=True)]

    def document_text(self, document: str) -> str:
        """See ``Store``."""
        return self._catalog.document_text(document)

    def info(self) -> StoreInfo:
        """See ``Store``."""
        sizes = []
        for path in self.folder.rglob("*"):
            with contextlib.suppress(OSError):  # a writer may have just removed it
                sizes.append(path.stat().st_size if path.is_file() else 0)
        files, documents, passages, characters = self._catalog.counts()
        return StoreInfo(files, documents, passages, int(characters), sum(sizes))

    def documents(self, ids: Sequence[str]) -> dict[str, StoredDocument]:
        """See ``WritableStore``."""
        return self._catalog.documents(ids)

    def documents_of(self, source: str) -> Iterator[str]:
        """See ``WritableStore``."""
        return self._catalog.documents_of(source)

    def states(self, sources: Sequence[str]) -> dict[str, FileState]:
        """See ``WritableStore``."""
        return self._catalog.states(sources)

    def sources(self) -> Iterator[str]:
        """See ``WritableStore``."""
        return self._catalog.sources()

    def close(self) -> None:
        """See ``Store``."""
        self._opened.close()

    # --- writing -------------------------------------------------------------------------------------------

    def write(self, change: Change) -> None:
        """See ``WritableStore``."""
        last = 0
        for (number, ids), document in zip(self._catalog.write(change), change.add, strict=True):
            for last, passage in zip(ids, document.passages, strict=True):
                self._add(last, number, passage)
        self._commit(last or self._catalog.pending().last_passage)

    def _add(self, id_: int, document: int, passage: Passage) -> None:
        import tantivy

        entry = tantivy.Document()
        entry.add_text("terms", " ".join(passage.terms()))
        entry.add_unsigned("passage", id_)
        entry.add_unsigned("document", document)
        with self._explained():
            self._writing().add_document(entry)

    def _commit(self, last_passage: int) -> None:
        """Remove what the catalog no longer has, commit, and note it in the catalog."""
        with self._explained():
            for number in self._catalog.pending().removed:
                self._writing().delete_documents_by_term("document", number)
            self._writing().commit()
            self._engine.reload()
            self._searcher = self._engine.searcher()
        self._catalog.done(last_passage)

    def _recover(self) -> None:
        """Bring the engine to the catalog's state, whatever a kill or a power cut has left of it."""
        import tantivy

        path = self.folder / ENGINE
        pending = self._catalog.pending()
        start = pending.last_passage
        try:
            self._engine = _opened(path)
        except StorageError:
            self._catalog.done(0)
            shutil.rmtree(path, ignore_errors=True)
            path.mkdir(exist_ok=True)
            self._engine = tantivy.Index(_schema(), path=str(path))
            self._engine.config_reader(reload_policy="manual")
            start = 0
        with self._explained():
            self._writer = self._engine.writer(heap_size=_MEMORY, num_threads=1)
            if start == self._catalog.last_passage() and not pending.removed:
                return
            newer = tantivy.Query.range_query(
                self._engine.schema, "passage", tantivy.FieldType.Unsigned, start + 1, _LAST
            )
            self._writer.delete_documents_by_query(newer)
        last = start
        for count, (number, passage) in enumerate(self._catalog.passages_after(start), 1):
            last = passage.id
            self._add(last, number, passage)
            if count % _BATCH == 0:
                self._commit(last)
        self._commit(last)

    def _writing(self) -> tantivy.IndexWriter:
        if self._writer is None:
            raise RuntimeError("the store was opened for reading only")
        return self._writer

    def _stop_writing(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            with self._explained():
                writer.wait_merging_threads()

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (ValueError, OSError) as error:  # all that Tantivy's binding raises
            raise StorageError(
                f"the search engine failed ({_short(error)})",
                where=str(self.folder / ENGINE),
                fix="check free space and permissions, then run the command again",
            ) from error


def _schema() -> tantivy.Schema:
    import tantivy

    builder = tantivy.SchemaBuilder()
    builder.add_text_field("terms", tokenizer_name="whitespace", index_option="freq")
    builder.add_unsigned_field("passage", indexed=True, fast=True)
    builder.add_unsigned_field("document", indexed=True)
    return builder.build()


def _opened(folder: Path) -> tantivy.Index:
    """Raises StorageError."""
    import tantivy

    try:
        engine = tantivy.Index.open(str(folder))
        engine.config_reader(reload_policy="manual")
        engine.reload()
        return engine
    except (ValueError, OSError) as error:
        raise StorageError(
            f"the search engine's files are damaged or of another version ({_short(error)})",
            where=str(folder),
            fix="run komrc index FOLDER --update, which writes them again",
        ) from error


@contextlib.contextmanager
def _writable_view(folder: Path) -> Iterator[Path]:
    """The folder, or on a read-only medium a temporary one with links to its files: Tantivy's readers
    write a lock file."""
    if os.access(folder, os.W_OK) or not folder.is_dir():
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="komrc-index-") as name:
        view = Path(name)
        for file in folder.resolve().iterdir():
            if not file.name.endswith(".lock"):
                (view / file.name).symlink_to(file)
        yield view


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """The lock of the one writer. Raises StorageError."""
    try:
        descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise StorageError(
            f"can't be written ({error.strerror or error})", where=str(folder), fix="check its permissions"
        ) from error
    try:
        try:
            system.lock(descriptor)
        except BlockingIOError as error:
            raise BusyError(
                "another process is writing to this index", where=str(folder), fix="wait until it has ended"
            ) from error
        except OSError:  # no locks on this file system; Tantivy's own lock remains
            pass
        yield
    finally:
        os.close(descriptor)


def _short(error: Any) -> str:
    return str(error).split("\n")[0][:200]
