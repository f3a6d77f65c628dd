"""Files to the store: only what is new or has changed is read, cut and stored, in batches.

A file whose size and time of change are as they were is not read. Of a file that is read, a document with
the same content is not stored again, so that a build that was stopped continues where it was, inside a file
with a million records, too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from komrc import progress
from komrc.documents.document import Document, Unread
from komrc.documents.limits import Limits
from komrc.documents.read import read_files
from komrc.documents.walk import File, walk
from komrc.index.folder import Sources, below, upload_below
from komrc.index.passages import passages
from komrc.index.store import Change, CutDocument, FileState, WritableStore

_CHARACTERS = 5_000_000  # of the documents that are stored in one change; bounds memory
_DOCUMENTS = 5_000
_AT_ONCE = 500  # files that are looked up or removed together
_MIB = 1 << 20
_LIMITS = Limits()

T = TypeVar("T")
Report = Callable[[Unread], None]
# Documents of files in the order of the files, cut or not.
Reading = Callable[["Sequence[ChangedFile]"], Iterator[Document | CutDocument | Unread]]
# Others read the files and write the documents: bytes that were read, and what was changed, a part at a time.
Writing = Callable[["Sequence[ChangedFile]"], Iterator[tuple[int, "Changes"]]]


@dataclass(frozen=True, slots=True)
class Changes:
    """What an update did: numbers of documents, and what could not be read."""

    added: int = 0
    replaced: int = 0
    removed: int = 0
    unchanged_files: int = 0
    unread: tuple[Unread, ...] = ()


@dataclass(frozen=True, slots=True)
class ChangedFile:
    """A file that is new or has changed.

    Args:
        file: the file.
        source: its path as documents have it.
        state: its state before it is read.
    """

    file: File
    source: str
    state: FileState


def cut(document: Document) -> CutDocument:
    """A document with its passages."""
    return CutDocument(
        id=document.id,
        title=document.title,
        text=document.text,
        source=document.source,
        digest=digest(document),
        passages=list(passages(document)),
    )


def _cut_once(document: Document | CutDocument) -> CutDocument:
    return cut(document) if isinstance(document, Document) else document


def _renamed(document: Document | CutDocument, id_: str) -> Document | CutDocument:
    if isinstance(document, Document):
        return replace(document, id=id_)
    named = [replace(passage, document=id_) for passage in document.passages]
    return replace(document, id=id_, passages=named)


def digest(document: Document | CutDocument) -> str:
    """Hex digest of all that the passages depend on."""
    if isinstance(document, CutDocument):
        return document.digest
    content = hashlib.blake2b(document.text.encode("utf-8", "surrogatepass"), digest_size=16)
    blocks = [(block.kind, block.start, block.end, block.page, block.level) for block in document.blocks]
    content.update(repr((document.title, document.source, blocks)).encode("utf-8", "backslashreplace"))
    return content.hexdigest()


def read_changed(
    files: Sequence[ChangedFile], limits: Limits = _LIMITS
) -> Iterator[Document | CutDocument | Unread]:
    """``Reading`` in this process."""
    return iter(read_files([file.file for file in files], limits=limits))


def read_into(store: WritableStore, files: Sequence[ChangedFile]) -> Changes:
    """Read these files and store their documents; nothing else is changed."""
    run = _Update(store, _nothing)
    run.read(files, read_changed, show_progress=False)
    return run.changes()


def update(
    store: WritableStore,
    sources: Sources,
    *,
    own_folder: Path | None,
    report: Report,
    show_progress: bool,
    reading: Reading = read_changed,
    writing: Writing | None = None,
) -> Changes:
    """Bring the store to what the files are now.

    Args:
        sources: files and folders, and what to leave out.
        own_folder: the folder of the index, if it has one; its files are never read.
        report: is called for each file or record that could not be read, when that is known.
        reading: reads the files.
        writing: reads the files and stores their documents instead.
    """
    own = (str(own_folder.resolve()), str(own_folder.absolute())) if own_folder is not None else ()
    left_out = (*sources.left_out, *own)
    run = _Update(store, report)
    present: set[str] = set()
    to_read: list[ChangedFile] = []
    for files in _in_groups(run.files(sources.paths, left_out)):
        known = store.states([file.source for file in files])
        present.update(file.source for file in files)
        changed = [file for file in files if known.get(file.source) != file.state]
        run.unchanged_files += len(files) - len(changed)
        to_read += changed
    gone = [
        source
        for source in store.sources()
        if source not in present
        and not run.is_kept(source)
        and not (own_folder and upload_below(source, own_folder))
    ]
    run.removed += forget(store, gone)
    if writing is not None:
        run.let_write(to_read, writing, show_progress=show_progress)
    else:
        run.read(to_read, reading, show_progress=show_progress)
    return run.changes()


def add_files(
    store: WritableStore, files: Iterable[File], *, report: Report, limits: Limits = _LIMITS
) -> Changes:
    """Read these files and store their documents; all others stay as they are."""
    run = _Update(store, report, limits)
    to_read = []
    for file in files:
        status = file.path.stat()
        state = FileState(status.st_size, status.st_mtime_ns)
        to_read.append(ChangedFile(file, _printable(file.path), state))
    run.read(to_read, partial(read_changed, limits=limits), show_progress=False)
    return run.changes()


def sources_below(store: WritableStore, path: str) -> list[str]:
    """The files of the index that are this one or are inside this folder."""
    return [source for source in store.sources() if below(source, _printable(path))]


def forget(store: WritableStore, sources: Iterable[str]) -> int:
    """Remove files and their documents; returns the number of documents."""
    removed = 0
    for group in _in_groups(sources):
        ids = [id_ for source in group for id_ in store.documents_of(source)]
        store.write(Change(remove=ids, forget=group))
        removed += len(ids)
    return removed


@dataclass
class _Update:
    """The state of one update: the batch that is filled, and counts."""

    store: WritableStore
    report: Report
    limits: Limits = _LIMITS
    unchanged_files: int = 0
    added: int = 0
    replaced: int = 0
    removed: int = 0
    unread: list[Unread] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)  # paths that can't be looked at now
    # Documents with the id that they get if another file has theirs.
    batch: dict[str, tuple[Document | CutDocument, str]] = field(default_factory=dict)
    characters: int = 0
    read_whole: dict[str, FileState] = field(default_factory=dict)

    # --- files ---------------------------------------------------------------------------------------------

    def files(self, paths: Iterable[str], left_out: tuple[str, ...]) -> Iterator[ChangedFile]:
        """The files of all paths, each once."""
        seen: set[str] = set()
        for root in map(Path, paths):
            if not root.exists():
                source = _printable(root)
                if root.parent.is_dir() and any(True for _ in self.store.documents_of(source)):
                    continue  # a file that was deleted
                self.skip(Unread(source, "does not exist; documents from there stay in the index"))
                self.kept.append(source)
                continue
            for file in walk([root], self.limits):
                if isinstance(file, Unread):
                    self.skip(file)
                    continue
                source = _printable(file.path)
                if source in seen or any(below(str(file.path), other) for other in left_out):
                    continue
                seen.add(source)
                try:
                    status = file.path.stat()
                except OSError as error:
                    self.skip(Unread(source, f"can't be read ({error.strerror or error})"))
                    self.kept.append(source)
                    continue
                own_id = replace(file, id=_printable(file.path.name)) if file.named else file
                yield ChangedFile(own_id, source, FileState(status.st_size, status.st_mtime_ns))

    def is_kept(self, source: str) -> bool:
        """Whether a file's documents stay, though the file can't be looked at."""
        return any(below(source, path) for path in self.kept)

    def skip(self, unread: Unread) -> None:
        """Note what could not be read."""
        self.unread.append(unread)
        self.report(unread)

    def let_write(self, files: Sequence[ChangedFile], writing: Writing, *, show_progress: bool) -> None:
        """Let others read files and store their documents."""
        total = sum(file.state.size for file in files) / _MIB
        with progress.showing(total=max(1, round(total)), what="indexing (MiB)") as show:
            done = 0
            for size, changes in writing(files):
                self.added += changes.added
                self.replaced += changes.replaced
                self.removed += changes.removed
                for unread in changes.unread:
                    self.skip(unread)
                done += size
                if show_progress:
                    show(done / _MIB)

    def read(self, files: Sequence[ChangedFile], reading: Reading, *, show_progress: bool) -> None:
        """Read files and store their documents."""
        by_source = {file.source: file for file in files}
        total = sum(file.state.size for file in files) / _MIB
        with progress.showing(total=max(1, round(total)), what="indexing (MiB)") as show:
            advance = show if show_progress else _nothing
            done = 0.0
            current: _Reading | None = None
            for item in reading(files):
                if current is None or item.source != current.source:
                    done += self.finish(current)
                    current = _Reading(item.source, by_source.pop(item.source), self.store)
                if isinstance(item, Unread):
                    current.whole = False
                    self.skip(item)
                    continue
                self.take(item, current)
                advance(min(total, done + min(current.size, current.bytes) / _MIB))
            self.finish(current)
            self.read_whole |= {source: file.state for source, file in by_source.items()}
            for source in by_source:  # files that have no document any more
                self.remove_others(source, set())
            self.flush()

    # --- documents -----------------------------------------------------------------------------------------

    def take(self, document: Document | CutDocument, current: _Reading) -> None:
        """Put a document into the batch."""
        if document.id in current.ids:
            self.skip(Unread(document.source, f"the id {document.id} occurs twice; the first is indexed"))
            return
        if document.id in self.batch:  # another file's: stored first, so that `flush` can tell them apart
            self.flush()
        # The same path in another folder has the same id; the full path is unique.
        other_id = Path(current.source).as_posix() + document.id[len(current.file.file.id) :]
        current.ids |= {document.id, other_id}
        current.bytes += len(document.text.encode("utf-8", "surrogatepass"))
        self.batch[document.id] = document, other_id
        self.characters += len(document.text)
        if self.characters >= _CHARACTERS or len(self.batch) >= _DOCUMENTS:
            self.flush()

    def finish(self, current: _Reading | None) -> float:
        """The end of a file: its state is stored with its last documents. Returns its size in MiB."""
        if current is None:
            return 0.0
        if current.had_documents:
            self.remove_others(current.source, current.ids)
        if current.whole:
            self.read_whole[current.source] = current.file.state
        return current.size / _MIB

    def remove_others(self, source: str, ids: set[str]) -> None:
        """Remove the documents of a file that it does not have any more."""
        self.flush()
        gone = [id_ for id_ in self.store.documents_of(source) if id_ not in ids]
        if gone:
            self.store.write(Change(remove=gone))
            self.removed += len(gone)

    def flush(self) -> None:
        """Store the batch: documents that are new or changed, and the files that were read whole."""
        stored = self.store.documents(list(self.batch))
        chosen: list[Document | CutDocument] = []
        for document, other_id in self.batch.values():
            taken = document.id in stored and stored[document.id].source != document.source
            chosen.append(_renamed(document, other_id) if taken else document)
        stored |= self.store.documents([document.id for document in chosen if document.id not in self.batch])
        new = [
            document
            for document in chosen
            if document.id not in stored or stored[document.id].digest != digest(document)
        ]
        if new or self.read_whole:
            self.store.write(Change(add=list(map(_cut_once, new)), read=self.read_whole))
        replaced = sum(document.id in stored for document in new)
        self.replaced += replaced
        self.added += len(new) - replaced
        self.batch, self.characters, self.read_whole = {}, 0, {}

    def changes(self) -> Changes:
        """What was done."""
        return Changes(self.added, self.replaced, self.removed, self.unchanged_files, tuple(self.unread))


class _Reading:
    """The file that is being read."""

    def __init__(self, source: str, file: ChangedFile, store: WritableStore) -> None:
        self.source = source
        self.file = file
        self.size = file.state.size
        self.bytes = 0  # of the texts so far
        self.whole = True  # without unread records
        self.had_documents = any(True for _ in store.documents_of(source))
        self.ids: set[str] = set()


def _printable(path: str | Path) -> str:
    """A path as ``Document.source`` has it; names on a disk need not be UTF-8."""
    return str(path).encode("utf-8", "backslashreplace").decode()


def _in_groups(items: Iterable[T]) -> Iterator[list[T]]:
    group: list[T] = []
    for item in items:
        group.append(item)
        if len(group) == _AT_ONCE:
            yield group
            group = []
    if group:
        yield group


def _nothing(_: object) -> None:
    return
