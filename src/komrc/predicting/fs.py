"""Files by path or URL: find, read, and write atomically.

URLs of s3, gs, hdfs and abfs are read and written by pyarrow if it is installed, other URLs by fsspec.
"""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO
from urllib.parse import unquote

from komrc import storage
from komrc.errors import DataError, KomrcError, StorageError, UsageError, first_line

_BUFFER = 1 << 20  # bytes asked for at once
_OF_PYARROW = ("s3", "gs", "gcs", "hdfs", "viewfs", "abfs", "abfss")
# In these, an object becomes visible when it is complete.
_OBJECT_STORES = ("s3", "s3a", "gs", "gcs", "abfs", "abfss", "az")


def absolute_url(name: str | Path) -> str:
    """A URL unchanged, a path made absolute, so that it is valid in every process."""
    path = as_local_path(name)
    return str(name) if path is None else str(path.absolute())


def as_local_path(name: str | Path) -> Path | None:
    """The path of a local file; None for a URL other than ``file://``."""
    if isinstance(name, Path):
        return name
    if name.startswith("file://"):
        return Path(unquote(name.removeprefix("file://")))
    return None if "://" in name else Path(name)


def join(folder: str, name: str) -> str:
    """A file's name in a folder, by path or URL."""
    return f"{folder.rstrip('/')}/{name}"


def suffix(name: str) -> str:
    """The ending with its dot, in lower case; empty without one."""
    return PurePosixPath(name).suffix.lower()


# --- find and read -----------------------------------------------------------------------------------


def find_files(name: str, suffixes: tuple[str, ...]) -> list[str]:
    """The file itself, or all files below a folder with one of the suffixes, sorted by name.

    Names that begin with a dot or an underscore are left out. Raises DataError if the folder has no such
    file.
    """
    path = as_local_path(name)
    if path is not None:
        if not path.is_dir():
            return [str(path)]
        below = [file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file()]
    elif name.lower().endswith(suffixes):
        return [name]
    else:
        system, root = _resolve(name)
        with _explained(name, DataError, "read"):
            below = [_below(file, root) for file in system.find(root)]
    chosen = [
        inner
        for inner in sorted(below)
        if inner.lower().endswith(suffixes) and not any(part[0] in "._" for part in inner.split("/"))
    ]
    if not chosen:
        raise DataError(
            "there is no data file", where=name, fix=f"give files whose names end in {', '.join(suffixes)}"
        )
    return [join(name, inner) for inner in chosen]


def list_names(folder: str) -> set[str]:
    """The names in a folder; empty if the folder does not exist. Raises StorageError."""
    path = as_local_path(folder)
    with _explained(folder, StorageError, "read"):
        try:
            if path is not None:
                return {entry.name for entry in path.iterdir()}
            system, root = _resolve(folder)
            system.invalidate_cache(root)
            return {_below(entry, root) for entry in system.ls(root, detail=False)}
        except FileNotFoundError:
            return set()


@contextlib.contextmanager
def open_read(name: str) -> Iterator[BinaryIO]:
    """Open a file for buffered reading. Raises DataError if it can't be opened or read."""
    path = as_local_path(name)
    with _explained(name, DataError, "read"):
        if path is not None:
            with path.open("rb") as file:
                yield file
            return
        system, inner = _resolve(name)
        with system.open(inner, "rb") as file, io.BufferedReader(file, _BUFFER) as buffered:
            yield buffered


# --- write -----------------------------------------------------------------------------------------------


def write_bytes(name: str, data: bytes) -> None:
    """Write a file atomically: by a rename, or as one object in an object store.

    Raises StorageError.
    """
    path = as_local_path(name)
    if path is not None:
        storage.write_bytes(path, data)
        return
    system, inner = _resolve(name)
    with _explained(name, StorageError, "written"):
        if _scheme(name) in _OBJECT_STORES:
            system.pipe_file(inner, data)
            return
        folder, _, last = inner.rpartition("/")
        temporary = f"{folder}/{storage.TEMPORARY}{os.urandom(4).hex()}-{last}"
        system.makedirs(folder, exist_ok=True)
        try:
            system.pipe_file(temporary, data)
            system.mv(temporary, inner)
        except BaseException:
            with contextlib.suppress(Exception):
                system.rm_file(temporary)
            raise


def remove(name: str) -> None:
    """Remove a file if it exists. Raises StorageError."""
    path = as_local_path(name)
    with _explained(name, StorageError, "removed"), contextlib.suppress(FileNotFoundError):
        if path is not None:
            path.unlink()
        else:
            system, inner = _resolve(name)
            system.rm_file(inner)


# --- URLs -------------------------------------------------------------------------------------------


def _scheme(url: str) -> str:
    return url.partition("://")[0].lower()


def _resolve(url: str) -> tuple[Any, str]:
    """An fsspec file system and the path in it. Raises UsageError if its package is missing, StorageError
    if it can't be reached.
    """
    scheme, _, rest = url.partition("://")
    host, slash, inner = rest.partition("/")
    try:
        system, root = _open_system(f"{scheme}://{host}{slash}")
    except (ImportError, ValueError) as error:
        raise UsageError(
            f"can't be reached ({_reason(error)})",
            where=url,
            fix="run pip install 'komrc[ray]' for s3 and gs, or install what fsspec needs for others",
        ) from error
    except Exception as error:
        raise StorageError(f"can't be reached ({_reason(error)})", where=url) from error
    return system, f"{root.rstrip('/')}/{inner}" if inner else root


@lru_cache(16)
def _open_system(root: str) -> tuple[Any, str]:
    from importlib.util import find_spec

    import fsspec

    if _scheme(root) in _OF_PYARROW and find_spec("pyarrow") is not None:
        from fsspec.implementations.arrow import ArrowFSWrapper
        from pyarrow.fs import FileSystem

        if _scheme(root) == "s3":  # one request instead of three for a small file
            with contextlib.suppress(ValueError):  # older versions of pyarrow don't know the option
                system, path = FileSystem.from_uri(f"{root}?allow_delayed_open=true")
                return ArrowFSWrapper(system), path
        system, path = FileSystem.from_uri(root)
        return ArrowFSWrapper(system), path
    opened: tuple[Any, str] = fsspec.core.url_to_fs(root)
    return opened


def _below(path: str, root: str) -> str:
    return path.strip("/").removeprefix(root.strip("/")).lstrip("/")


def _reason(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return first_line(error)


@contextlib.contextmanager
def _explained(name: str, kind: type[DataError | StorageError], what: str) -> Iterator[None]:
    """Turn the exceptions of a file system, which each kind of store has of its own, into one message."""
    try:
        yield
    except (KomrcError, MemoryError):
        raise
    except OSError as error:
        raise kind(f"can't be {what} ({_reason(error)})", where=name) from error
    except Exception as error:
        if as_local_path(name) is not None:
            raise
        raise kind(f"can't be {what} ({_reason(error)})", where=name) from error
