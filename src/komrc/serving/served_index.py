"""The index of a server: other processes may change it, or replace its folder, while it is searched."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

from komrc.errors import InputError, KomrcError, StorageError
from komrc.index import Hit, Index
from komrc.index.catalog import FILE as CATALOG
from komrc.index.folder import NAME as DESCRIPTION
from komrc.index.index import IndexInfo
from komrc.serving.errors import index_unavailable, unknown_document

logger = logging.getLogger("komrc.serving")

_Identity = tuple[tuple[int, int, int], tuple[int, int]]


class ServedIndex:
    """An index in a folder. Changes are seen once they are complete; a folder that was replaced is opened
    again. All methods may be called from several threads.

    Args:
        folder: the folder.
        create: make an empty index if the folder does not exist or is empty.

    Raises UsageError, StorageError, MissingPackageError for an index that can't be opened.
    """

    def __init__(self, folder: Path, *, create: bool = False) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        self._index = Index.build([], folder) if create else Index.open(folder)
        self._identity: _Identity | None = self._identify()

    def search(self, question: str, top_k: int) -> list[Hit]:
        """The best passages. Raises InputError, RejectedError (503)."""
        index = self._current()
        try:
            return index.search(question, top_k=top_k)
        except StorageError as error:
            raise self._unavailable(error) from error

    def document_text(self, document: str) -> str:
        """The text of a document. Raises RejectedError (404 for an unknown id, 503)."""
        index = self._current()
        try:
            return index.document_text(document)
        except InputError as error:
            raise unknown_document() from error
        except StorageError as error:
            raise self._unavailable(error) from error

    def info(self) -> IndexInfo:
        """How much it contains. Raises RejectedError (503)."""
        index = self._current()
        try:
            return index.info()
        except KomrcError as error:
            raise self._unavailable(error) from error

    def _current(self) -> Index:
        """The index, opened again if its folder was replaced. An earlier one is closed after its last use."""
        with self._lock:
            try:
                identity = self._identify()
                if identity != self._identity:
                    self._index = Index.open(self.folder)
                    self._identity = identity
            except (OSError, KomrcError) as error:
                self._identity = None
                raise self._unavailable(error) from error
            return self._index

    def _identify(self) -> _Identity:
        """What differs between two indexes that are built in the same folder one after the other."""
        description, catalog = (self.folder / DESCRIPTION).stat(), (self.folder / CATALOG).stat()
        return (
            (description.st_dev, description.st_ino, description.st_mtime_ns),
            (catalog.st_dev, catalog.st_ino),
        )

    def _unavailable(self, error: Exception) -> KomrcError:
        logger.error("the index can't be used: %s", error)
        return index_unavailable()
