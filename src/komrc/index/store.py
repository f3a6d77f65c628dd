"""What an index needs of a store: the protocols, and the records that they exchange.

A store keeps documents with their passages and searches the passages by terms. Nothing here depends on a
particular engine.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from komrc.index.passages import Passage

K1, B = 1.2, 0.75  # BM25 (Robertson and Zaragoza 2009, "The Probabilistic Relevance Framework", section 3.4)


@dataclass(frozen=True, slots=True)
class Hit:
    """A passage and its BM25 score, above 0; scores of different questions can't be compared."""

    passage: Passage
    score: float


@dataclass(frozen=True, slots=True)
class FileState:
    """A file that was read whole: if size and time of change are the same, it need not be read again."""

    size: int  # bytes
    modified: int  # nanoseconds since 1970


@dataclass(frozen=True, slots=True)
class StoredDocument:
    """What the store has of a document: where it comes from and a digest of its content."""

    source: str
    digest: str


@dataclass(frozen=True, slots=True)
class CutDocument:
    """A document as it is stored.

    Args:
        id: the document's id, unique in the store.
        title: its title.
        text: its text; the offsets of the passages count its code points.
        source: the path of its file.
        digest: of title, text and blocks; the same digest means the same passages.
        passages: its passages, which are searched by ``Passage.terms``; the store gives them their ids.
    """

    id: str
    title: str
    text: str
    source: str
    digest: str
    passages: Sequence[Passage]


@dataclass(frozen=True, slots=True)
class Change:
    """Changes that are stored together: after a kill, all of them are stored or none.

    Args:
        add: documents; one with the same id as a stored one replaces it.
        remove: ids of documents.
        read: files of which all documents are stored now.
        forget: files whose state is removed.
    """

    add: Sequence[CutDocument] = ()
    remove: Sequence[str] = ()
    read: Mapping[str, FileState] = field(default_factory=dict)
    forget: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class StoreInfo:
    """How much a store contains; ``size`` in bytes, on the disk or in memory."""

    files: int
    documents: int
    passages: int
    characters: int
    size: int


class Store(Protocol):
    """Passages that can be searched. All methods may be called from several threads."""

    def search(self, terms: Sequence[str], top_k: int) -> list[Hit]:
        """At most ``top_k`` passages with any of the terms, the highest sum of BM25 scores first."""
        ...

    def document_text(self, document: str) -> str:
        """The text of a document. Raises KeyError if the store has no such document."""
        ...

    def info(self) -> StoreInfo:
        """How much it contains."""
        ...

    def close(self) -> None:
        """Release files and connections."""
        ...


class WritableStore(Store, Protocol):
    """A store that documents are added to and removed from, by one writer at a time."""

    def write(self, change: Change) -> None:
        """Store a change. What ``search`` and ``document_text`` return afterwards includes it."""
        ...

    def documents(self, ids: Sequence[str]) -> dict[str, StoredDocument]:
        """Those of the documents that are stored, by id."""
        ...

    def documents_of(self, source: str) -> Iterator[str]:
        """The ids of a file's documents."""
        ...

    def states(self, sources: Sequence[str]) -> dict[str, FileState]:
        """Those of the files that were read whole, by path."""
        ...

    def sources(self) -> Iterator[str]:
        """The paths of all files that documents come from or that were read."""
        ...
