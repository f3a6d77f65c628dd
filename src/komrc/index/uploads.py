"""Files that are kept in the index's own folder, because they were uploaded and have no other place.

``uploads/DIGEST/NAME``: the digest is that of the label that the client gave, the name is made from it. So a
label is never a path, and a file with the same label replaces the earlier one.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import unicodedata
from dataclasses import dataclass
from pathlib import Path, PurePath

from komrc import storage
from komrc.documents.document import Unread
from komrc.documents.limits import Limits
from komrc.documents.walk import File
from komrc.errors import InputError
from komrc.index.folder import UPLOADS, upload_below
from komrc.index.tantivy_store import TantivyStore
from komrc.index.updating import Changes, add_files, forget

LONGEST_LABEL = 255  # characters
_LONGEST_NAME = 60  # characters; at most 240 bytes
_LONGEST_ENDING = 16
_KEPT = " -_.()"  # in names, beside letters and digits


@dataclass(frozen=True, slots=True)
class Uploaded:
    """What adding a file did; ``documents``: how many of the file are in the index now."""

    changes: Changes
    documents: int


def label_of(name: str) -> str:
    """The label for a file name that a client sent: its last part, composed, without control characters.

    Raises InputError for a name that has no such part, is too long or is not text.
    """
    last = unicodedata.normalize("NFC", name).replace("\\", "/").rstrip("/").rpartition("/")[2]
    label = "".join(character for character in last if character.isprintable()).strip()
    if not label.strip(". ") or len(label) > LONGEST_LABEL:
        raise InputError(
            "is empty or too long for a file name",
            where="name",
            fix=f"give a name of at most {LONGEST_LABEL} characters",
        )
    return label


def count(folder: Path) -> int:
    """The number of uploaded files of an index."""
    with contextlib.suppress(FileNotFoundError), os.scandir(folder / UPLOADS) as entries:
        return sum(entry.is_dir() for entry in entries)
    return 0


def has(folder: Path, label: str) -> bool:
    """Whether the index has an uploaded file with this label."""
    return _place(folder, label).exists()


def add(folder: Path, label: str, content: bytes, limits: Limits) -> Uploaded:
    """Keep an uploaded file and add its documents to the index; their ids begin with ``uploads/LABEL``.

    A file that gives no document is not kept, and an earlier one with the same label stays; the reasons are
    in ``changes.unread``. Raises StorageError, also if another process writes to the index.
    """
    path = _place(folder, label)
    earlier = path.read_bytes() if path.exists() else None
    unread: list[Unread] = []
    with contextlib.closing(TantivyStore(folder, write=True)) as store:
        storage.write_bytes(path, content)
        id_ = f"{UPLOADS}/{label}"
        stored = store.documents([id_]).get(id_)
        if stored is not None and upload_below(stored.source, folder) == path and stored.source != str(path):
            forget(store, [stored.source])  # the index's folder was moved since
        files = [File(path, id_, named=True)]
        changes = add_files(store, files, report=unread.append, limits=limits)
        if documents := sum(1 for _ in store.documents_of(str(path))):
            return Uploaded(changes, documents)
        if earlier is not None:
            storage.write_bytes(path, earlier)
            add_files(store, files, report=unread.append, limits=limits)
            return Uploaded(Changes(unread=changes.unread), sum(1 for _ in store.documents_of(str(path))))
        forget(store, [str(path)])
        path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            path.parent.rmdir()
        return Uploaded(changes, 0)


def _place(folder: Path, label: str) -> Path:
    """The file of a label."""
    digest = hashlib.blake2b(label.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
    safe = "".join(character if character.isalnum() or character in _KEPT else "_" for character in label)
    ending = "".join(PurePath(safe).suffixes[-2:]) if safe.lower().endswith(".gz") else PurePath(safe).suffix
    if len(ending) > _LONGEST_ENDING:
        ending = ""
    stem = safe[: len(safe) - len(ending)][: _LONGEST_NAME - len(ending)].strip(". ")
    # Absolute, as the paths of all other files in the index.
    return Path(os.path.abspath(folder)) / UPLOADS / digest / f"{stem or 'file'}{ending}"  # noqa: PTH100
