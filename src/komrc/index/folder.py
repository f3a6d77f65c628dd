"""The folder of an index: ``index.json``, which names its format and what it is built from."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from komrc import overwriting, storage
from komrc.errors import StorageError, UsageError
from komrc.index.bigrams import TERMS_VERSION

NAME = "index.json"
UPLOADS = "uploads"  # files that have no other place; see uploads.py
FORMAT = 1  # of the folder; raise it when files or tables change


@dataclass(frozen=True, slots=True)
class Sources:
    """What an index is built from: absolute paths.

    Args:
        paths: files and folders that ``update`` reads.
        left_out: files and folders below them that were removed, and that it does not read again.
    """

    paths: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()

    def with_paths(self, paths: list[str]) -> Sources:
        """With more paths; what was left out there is read again."""
        left_out = tuple(old for old in self.left_out if not any(below(old, path) for path in paths))
        return Sources(tuple(dict.fromkeys([*self.paths, *paths])), left_out)

    def without(self, path: str) -> Sources:
        """Without a file or folder."""
        paths = tuple(old for old in self.paths if not below(old, path))
        covered = any(below(path, old) for old in paths)
        left_out = dict.fromkeys([*self.left_out, *([path] if covered else [])])
        return Sources(paths, tuple(left_out))


def below(path: str, folder: str) -> bool:
    """Whether an absolute path is this one or is inside it."""
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)


def upload_below(source: str, folder: Path) -> Path | None:
    """The uploaded file of this index that a source names, also if the folder was moved; None for others."""
    parts = Path(source).parts[-3:]
    if len(parts) < 3 or parts[0] != UPLOADS:
        return None
    path = Path(os.path.abspath(folder)).joinpath(*parts)  # noqa: PTH100 (resolve follows links)
    return path if path.is_file() else None


def create(folder: Path) -> None:
    """Make an empty index, unless the folder is an index already.

    Raises UsageError for a folder or file that is something else, StorageError.
    """
    overwriting.refuse_file_name(folder, str(folder))
    if (folder / NAME).is_file():
        return
    if folder.exists() and not folder.is_dir():
        raise UsageError("is a file, and an index is a folder", where=str(folder), fix="give another name")
    if folder.is_dir() and any(not file.name.startswith(storage.TEMPORARY) for file in folder.iterdir()):
        raise UsageError(
            "contains files and is no index", where=str(folder), fix="give the name of a new folder"
        )
    write(folder, Sources())


def write(folder: Path, sources: Sources) -> None:
    """Write ``index.json``, whole or not at all. Raises StorageError."""
    values = {"format": FORMAT, "terms": TERMS_VERSION, "store": "tantivy", **asdict(sources)}
    # In ASCII: a path may have bytes that are no UTF-8.
    storage.write_text(folder / NAME, json.dumps(values, indent=2) + "\n")


def read(folder: Path) -> Sources:
    """Read and check ``index.json``.

    Raises UsageError if there is no index, StorageError for one that is damaged or has another format.
    """
    path = folder / NAME
    if not path.is_file():
        raise UsageError(
            "is no index" if folder.exists() else "does not exist",
            where=str(folder),
            fix="build one with komrc index PATH --output FOLDER",
        )
    try:
        values: Any = json.loads(path.read_bytes())
        version, terms = int(values["format"]), int(values["terms"])
    except OSError as error:
        raise StorageError(
            f"can't be read ({error.strerror or error})", where=str(path), fix="check its permissions"
        ) from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise _damaged(path) from error
    if (version, terms) != (FORMAT, TERMS_VERSION):
        newer = version > FORMAT or terms > TERMS_VERSION
        raise StorageError(
            f"was written by {'a newer' if newer else 'an older'} KoMRC (format {version}.{terms}, "
            f"this one reads {FORMAT}.{TERMS_VERSION})",
            where=str(folder),
            fix="update KoMRC" if newer else "delete the folder, and index the documents again",
        )
    try:
        sources = Sources(tuple(values["paths"]), tuple(values["left_out"]))
    except (KeyError, TypeError) as error:
        raise _damaged(path) from error
    if not all(isinstance(path, str) for path in (*sources.paths, *sources.left_out)):
        raise _damaged(path)
    return sources


def _damaged(path: Path) -> StorageError:
    return StorageError(
        "is damaged", where=str(path), fix="delete the index's folder, and index the documents again"
    )
