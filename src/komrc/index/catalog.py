"""The documents and passages of an index on disk, in SQLite: what is searched for and what it points to.

The catalog is the truth, and the search engine follows it: each change is committed here first, together
with what the engine still has to do for it (``Pending``), which is taken out once the engine has it.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from komrc.errors import StorageError
from komrc.index.passages import Passage
from komrc.index.store import Change, CutDocument, FileState, StoredDocument

FILE = "documents.sqlite"
_ROWS = 500  # fetched together
# Texts, names and paths are UTF-8 in BLOB columns: a file's name or a JSON text may contain half a surrogate
# pair, which SQLite's TEXT can't.
_SCHEMA = """
CREATE TABLE IF NOT EXISTS files (source BLOB PRIMARY KEY, size INTEGER, modified INTEGER) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS documents (
    number INTEGER PRIMARY KEY AUTOINCREMENT, id BLOB UNIQUE, title BLOB, source BLOB, digest TEXT,
    characters INTEGER, text BLOB);
CREATE INDEX IF NOT EXISTS documents_of_source ON documents (source);
CREATE TABLE IF NOT EXISTS passages (
    id INTEGER PRIMARY KEY AUTOINCREMENT, document INTEGER, start INTEGER, end INTEGER,
    page INTEGER, line INTEGER, heading BLOB, header BLOB);
CREATE INDEX IF NOT EXISTS passages_of_document ON passages (document);
CREATE TABLE IF NOT EXISTS removed (document INTEGER PRIMARY KEY);
CREATE TABLE IF NOT EXISTS searchable (last_passage INTEGER);
INSERT INTO searchable SELECT 0 WHERE NOT EXISTS (SELECT * FROM searchable);
"""
_PASSAGES = """
SELECT p.id, d.id, d.title, p.heading, p.start, p.end, p.page, p.line, p.header, d.number
FROM passages p JOIN documents d ON d.number = p.document """
_PASSAGE = _PASSAGES + "WHERE p.id = ?"
_PASSAGES_AFTER = _PASSAGES + "WHERE p.id > ? ORDER BY p.id"
_TEXT = "SELECT text FROM documents WHERE number = ?"


@dataclass(frozen=True, slots=True)
class Pending:
    """What the search engine does not have yet.

    Args:
        last_passage: the engine has this passage and those before, as far as they are not removed.
        removed: numbers of documents that the engine may still have.
    """

    last_passage: int
    removed: tuple[int, ...]


class Catalog:
    """One SQLite database. One process writes at a time; others read meanwhile (write-ahead log).

    Raises StorageError if it can't be read or written.
    """

    def __init__(self, folder: Path, *, write: bool) -> None:
        self.path = folder / FILE
        self._lock = threading.RLock()
        mode = "rwc" if write else "rw"
        if not write and not os.access(folder, os.W_OK):
            mode = "ro&immutable=1"  # on a read-only medium nobody can write, and SQLite can't make its files
        with self._explained():
            uri = f"{self.path.resolve().as_uri()}?mode={mode}"
            self._db = sqlite3.connect(
                uri, uri=True, check_same_thread=False, isolation_level=None, timeout=30
            )
            if write:
                self._db.execute("PRAGMA journal_mode=WAL")
                self._db.execute("PRAGMA synchronous=FULL")
                self._db.executescript(_SCHEMA)
            self._db.execute("SELECT last_passage FROM searchable").fetchone()

    # --- reading -------------------------------------------------------------------------------------------

    def version(self) -> int:
        """A number that changes when another process has changed the database."""
        return int(self._value("PRAGMA data_version"))

    def passages(self, ids: Sequence[int]) -> dict[int, Passage]:
        """Those of the passages that are stored, by id."""
        rows = [row for number in ids for row in self._rows(_PASSAGE, number)]
        texts = {number: self._value(_TEXT, number) for number in {row[-1] for row in rows}}
        decoded = {number: _decoded(text) for number, text in texts.items() if text is not None}
        # A document may have been removed between the two statements.
        return {row[0]: _passage(row, decoded[row[-1]]) for row in rows if row[-1] in decoded}

    def passages_after(self, last: int) -> Iterator[tuple[int, Passage]]:
        """All passages with a higher id, in order, each with the number of its document."""
        number, text = -1, ""
        for row in self._rows(_PASSAGES_AFTER, last):
            if row[-1] != number:
                number = row[-1]
                text = _decoded(self._value(_TEXT, number))
            yield number, _passage(row, text)

    def document_text(self, document: str) -> str:
        """The text of a document. Raises KeyError."""
        text = self._value("SELECT text FROM documents WHERE id = ?", _encoded(document))
        if text is None:
            raise KeyError(document)
        return _decoded(text)

    def documents(self, ids: Sequence[str]) -> dict[str, StoredDocument]:
        """See ``WritableStore``."""
        query = "SELECT source, digest FROM documents WHERE id = ?"
        rows = ((id_, row) for id_ in ids for row in self._rows(query, _encoded(id_)))
        return {id_: StoredDocument(_decoded(source), digest) for id_, (source, digest) in rows}

    def documents_of(self, source: str) -> Iterator[str]:
        """See ``WritableStore``."""
        query = "SELECT id FROM documents WHERE source = ? ORDER BY number"
        return (_decoded(id_) for (id_,) in self._rows(query, _encoded(source)))

    def states(self, sources: Sequence[str]) -> dict[str, FileState]:
        """See ``WritableStore``."""
        query = "SELECT size, modified FROM files WHERE source = ?"
        rows = ((source, row) for source in sources for row in self._rows(query, _encoded(source)))
        return {source: FileState(size, modified) for source, (size, modified) in rows}

    def sources(self) -> Iterator[str]:
        """See ``WritableStore``."""
        query = "SELECT source FROM files UNION SELECT source FROM documents ORDER BY source"
        return (_decoded(source) for (source,) in self._rows(query))

    def counts(self) -> tuple[int, int, int, int]:
        """Files, documents, passages and characters."""
        files = self._value("SELECT count(*) FROM (SELECT DISTINCT source FROM documents)")
        documents = self._value("SELECT count(*) FROM documents")
        passages = self._value("SELECT count(*) FROM passages")
        return files, documents, passages, self._value("SELECT total(characters) FROM documents")

    # --- writing -------------------------------------------------------------------------------------------

    def write(self, change: Change) -> list[tuple[int, list[int]]]:
        """Commit a change, with what the engine has to do for it. Returns the number of each added document
        and the ids of its passages."""
        with self._explained(), self._transaction():
            for id_ in (*change.remove, *(document.id for document in change.add)):
                for number in self._db.execute("SELECT number FROM documents WHERE id = ?", (_encoded(id_),)):
                    self._db.execute("INSERT INTO removed VALUES (?)", number)
                    self._db.execute("DELETE FROM passages WHERE document = ?", number)
                    self._db.execute("DELETE FROM documents WHERE number = ?", number)
            forgotten = [(_encoded(source),) for source in change.forget]
            self._db.executemany("DELETE FROM files WHERE source = ?", forgotten)
            added = [self._add(document) for document in change.add]
            read = [(_encoded(source), state.size, state.modified) for source, state in change.read.items()]
            self._db.executemany("INSERT OR REPLACE INTO files VALUES (?, ?, ?)", read)
        return added

    def _add(self, document: CutDocument) -> tuple[int, list[int]]:
        number = self._insert(
            "INSERT INTO documents (id, title, source, digest, characters, text) VALUES (?, ?, ?, ?, ?, ?)",
            *(_encoded(document.id), _encoded(document.title), _encoded(document.source)),
            *(document.digest, len(document.text), _encoded(document.text)),
        )
        ids = [
            self._insert(
                "INSERT INTO passages (document, start, end, page, line, heading, header) "
                "VALUES (?, ?, ?, ?, ?, ?, ?)",
                *(number, passage.start, passage.end, passage.page, passage.line),
                *(_encoded(passage.heading), _encoded(passage.header)),
            )
            for passage in document.passages
        ]
        return number, ids

    def _insert(self, statement: str, *values: Any) -> int:
        return self._db.execute(statement, values).lastrowid or 0

    def pending(self) -> Pending:
        """What the engine does not have yet."""
        removed = tuple(row[0] for row in self._rows("SELECT document FROM removed"))
        return Pending(self._value("SELECT last_passage FROM searchable"), removed)

    def last_passage(self) -> int:
        """The highest id of a passage; 0 if there is none."""
        return int(self._value("SELECT coalesce(max(id), 0) FROM passages"))

    def done(self, last_passage: int) -> None:
        """The engine has everything up to this passage, and nothing that was removed."""
        with self._explained(), self._transaction():
            self._db.execute("DELETE FROM removed")
            self._db.execute("UPDATE searchable SET last_passage = ?", (last_passage,))

    def close(self) -> None:
        """Close the connection."""
        with self._explained(), self._lock:
            self._db.close()

    # --- SQL -----------------------------------------------------------------------------------------------

    def _value(self, query: str, *values: Any) -> Any:
        with self._explained(), self._lock:
            row = self._db.execute(query, values).fetchone()
        return row[0] if row else None

    def _rows(self, query: str, *values: Any) -> Iterator[Any]:
        with self._explained(), self._lock:
            cursor = self._db.execute(query, values)
        while True:
            with self._explained(), self._lock:
                rows = cursor.fetchmany(_ROWS)
            if not rows:
                return
            yield from rows

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    self._db.execute("ROLLBACK")
                raise

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.DatabaseError as error:
            full_or_locked = isinstance(error, sqlite3.OperationalError) and "no such" not in str(error)
            raise StorageError(
                f"can't be used ({error})",
                where=str(self.path),
                fix="check free space and permissions"
                if full_or_locked
                else "the index is damaged: delete its folder, and index the documents again",
            ) from error


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _decoded(text: bytes) -> str:
    return text.decode("utf-8", "surrogatepass")


def _passage(row: tuple[Any, ...], text: str) -> Passage:
    number, document, title, heading, start, end, page, line, header, _ = row
    return Passage(
        id=number,
        document=_decoded(document),
        title=_decoded(title),
        heading=_decoded(heading),
        text=text[start:end],
        start=start,
        end=end,
        page=page,
        line=line,
        header=_decoded(header),
    )
