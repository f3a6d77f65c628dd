"""Where an index is kept: a folder on this machine, or an OpenSearch cluster that a URL names."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from komrc.index import folder as index_folder
from komrc.index.folder import Sources
from komrc.index.store import Store, WritableStore


class Location(Protocol):
    """An index's store and its ``Sources``, wherever they are kept."""

    folder: Path | None  # on this machine; its files are never indexed
    url: str | None  # if several processes on any machines can write at the same time

    def create(self) -> None:
        """Make an empty index, unless there is one. Raises UsageError, StorageError."""
        ...

    def sources(self) -> Sources:
        """What it is built from. Raises UsageError if there is no index, StorageError."""
        ...

    def write_sources(self, sources: Sources) -> None:
        """Replace what it is built from, whole or not at all. Raises StorageError."""
        ...

    def open(self) -> Store:
        """Open the store for reading. Raises UsageError, StorageError, MissingPackageError."""
        ...

    def writing(self) -> contextlib.AbstractContextManager[WritableStore]:
        """Open the store as its one writer, and close it. Raises StorageError, MissingPackageError."""
        ...


class FolderLocation:
    """Implements ``Location`` with the default store."""

    url: str | None = None

    def __init__(self, folder: Path) -> None:
        self.folder: Path | None = folder
        self._folder = folder

    def create(self) -> None:
        """See ``Location``."""
        index_folder.create(self._folder)

    def sources(self) -> Sources:
        """See ``Location``."""
        return index_folder.read(self._folder)

    def write_sources(self, sources: Sources) -> None:
        """See ``Location``."""
        index_folder.write(self._folder, sources)

    def open(self) -> Store:
        """See ``Location``."""
        from komrc.index.tantivy_store import TantivyStore

        index_folder.read(self._folder)
        return TantivyStore(self._folder)

    @contextlib.contextmanager
    def writing(self) -> Iterator[WritableStore]:
        """See ``Location``."""
        from komrc.index.tantivy_store import TantivyStore

        with contextlib.closing(TantivyStore(self._folder, write=True)) as store:
            yield store


def location_of(name: str | os.PathLike[str]) -> Location:
    """The location that a folder's path or a URL names. Raises UsageError for a URL of another kind."""
    if isinstance(name, str) and "://" in name:
        from komrc.index.opensearch_location import OpenSearchLocation

        return OpenSearchLocation(name)
    return FolderLocation(Path(name))
