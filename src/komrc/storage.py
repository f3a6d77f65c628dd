"""How artefacts reach the disk: whole or not at all.

A file or folder is written to a temporary neighbour, flushed and fsynced file by file, then renamed into
place, and the parent is fsynced. A folder gets a manifest of sizes and SHA-256 sums, written last. What
was at that place stays until the new one is complete.

A temporary is locked by the process that writes it; one without a lock was left by a process that was
killed, and the next writer of the same name removes it.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from komrc import system
from komrc.errors import KomrcError, StorageError

MANIFEST = "manifest.json"
TEMPORARY = ".tmp-"  # .tmp-<8 hex digits>-<name>: half-written, or on its way out
_FORMER = ".old-"  # .old-<8 hex digits>-<name>: the former <name>, while it is being replaced
LARGEST_MANIFEST = 16 << 20  # bytes
_RUST_OS_ERROR = re.compile(r"\(os error (\d+)\)")
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2  # Linux


def sha256_file(path: Path) -> str:
    """Hex SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# --- writing -----------------------------------------------------------------------------------------------


@contextmanager
def replacing_file(path: Path) -> Iterator[BinaryIO]:
    """A file to write, which then takes the place of ``path``; on an error ``path`` stays as it was.

    Raises StorageError.
    """
    with _explained(path):
        if path.exists() and not path.is_file():  # a device would be replaced by a file
            raise OSError(errno.EEXIST, "it is a folder or a device")
        _make_folder(path.parent)
        remove_stale(path.parent, path.name)
        temporary = _neighbour(path, TEMPORARY)
        try:
            with temporary.open("xb") as file:
                _lock(file.fileno())
                yield file
                file.flush()
                os.fsync(file.fileno())
                temporary.replace(path)
            _sync(path.parent)
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink()


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file, whole or not at all. Raises StorageError."""
    with replacing_file(path) as file:
        file.write(data)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text, whole or not at all. Raises StorageError."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: Path, value: object, *, indent: int | None = 2) -> None:
    """Write JSON (Korean as it is, no NaN), whole or not at all. Raises StorageError."""
    write_text(path, json.dumps(value, ensure_ascii=False, allow_nan=False, indent=indent) + "\n")


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """A temporary folder to fill, which then takes the place of ``path``, manifest and all.

    An existing folder stays until the new one is complete; one with files that its manifest does not name
    is refused, since they would be lost. Raises StorageError.
    """
    with _explained(path):
        _make_folder(path.parent)
        remove_stale(path.parent, path.name)
        if path.exists() and not path.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, "a file has that name")
        if path.is_dir() and (others := _foreign_files(path)):
            named = ", ".join(others[:3]) + (f" and {len(others) - 3} more" if len(others) > 3 else "")
            raise StorageError(
                f"contains files that would be lost: {named}",
                where=str(path),
                fix="choose another folder, or move them away",
            )
        temporary = _neighbour(path, TEMPORARY)
        temporary.mkdir()
        held = os.open(temporary, os.O_RDONLY)
        try:
            _lock(held)
            yield temporary
            _finish(temporary)
            if path.exists():
                _swap(temporary, path)
            else:
                temporary.rename(path)
            _sync(path.parent)
        finally:
            os.close(held)
            shutil.rmtree(temporary, ignore_errors=True)


def _foreign_files(path: Path) -> list[str]:
    try:
        known = _read_manifest(path / MANIFEST)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        known = {}
    return [name for file in _files(path) if (name := file.relative_to(path).as_posix()) not in known]


def put_in_place(finished: Path, path: Path) -> None:
    """Move a file that was written bit by bit to its name in the same folder, safely. Raises OSError."""
    _sync(finished)
    finished.replace(path)
    _sync(path.parent)


def move_into(staged: Path, folder: Path) -> None:
    """Move the files of a folder that ``replacing_folder`` made into another, the manifest last.

    If it is interrupted, the same call finishes it; until then the folder does not pass its manifest.
    Raises OSError.
    """
    files = sorted(staged.iterdir(), key=lambda file: file.name == MANIFEST)
    for file in files:
        if file.name == MANIFEST:
            _sync(folder)
        file.replace(folder / file.name)
    _sync(folder)
    staged.rmdir()


def _finish(folder: Path) -> None:
    """Bring everything below a folder to the disk and describe it in its manifest."""
    files = {}
    mode = folder.stat().st_mode & 0o666
    for file in _files(folder):
        file.chmod(mode)  # safetensors writes for the owner's eyes only, whatever the umask is
        _sync(file)
        name = file.relative_to(folder).as_posix()
        files[name] = {"bytes": file.stat().st_size, "sha256": sha256_file(file)}
    with (folder / MANIFEST).open("xb") as manifest:
        manifest.write(manifest_of(files))
        manifest.flush()
        os.fsync(manifest.fileno())
    for inner in sorted((p for p in folder.rglob("*") if p.is_dir()), reverse=True):
        _sync(inner)
    _sync(folder)


def _files(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.is_file() and p != folder / MANIFEST)


def _swap(new: Path, path: Path) -> None:
    """Exchange ``new`` and ``path``.

    One step where the kernel and the file system can; else a kill between the two renames leaves
    ``.old-…``, which ``remove_stale`` puts back.
    """
    import ctypes

    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is not None:
        if rename(_AT_FDCWD, os.fsencode(new), _AT_FDCWD, os.fsencode(path), _RENAME_EXCHANGE) == 0:
            return
        if (code := ctypes.get_errno()) not in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EXDEV):
            raise OSError(code, os.strerror(code))
    former = _neighbour(path, _FORMER)
    path.rename(former)
    try:
        new.rename(path)
    except OSError:
        former.rename(path)
        raise
    _sync(path.parent)
    shutil.rmtree(former, ignore_errors=True)


def _neighbour(path: Path, kind: str) -> Path:
    return path.with_name(f"{kind}{os.urandom(4).hex()}-{path.name}")


def _make_folder(folder: Path) -> None:
    if not folder.is_dir():
        _make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        _sync(folder.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:  # some network file systems can't do that to a folder
        if error.errno != errno.EINVAL or not path.is_dir():
            raise
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> None:
    # A file system without locks loses only the tidying up after a kill.
    with contextlib.suppress(OSError):
        system.lock(descriptor)


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn an error of the system into a StorageError."""
    try:
        yield
    except KomrcError:
        raise
    except Exception as error:
        # safetensors and tokenizers wrap the system's error in exceptions of their own.
        wrapped = _RUST_OS_ERROR.search(str(error))
        if not isinstance(error, OSError) and not wrapped:
            raise
        reason = os.strerror(int(wrapped[1])) if wrapped else getattr(error, "strerror", None) or error
        raise StorageError(
            f"can't be written ({reason})",
            where=str(path),
            fix="check free space and permissions; the former file or folder is unchanged",
        ) from error


def git_blob_id(path: Path) -> str:
    """The id git gives a file's content: SHA-1 over a header with its size, and its bytes."""
    digest = hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


# --- checking and tidying ----------------------------------------------------------------------------------


def verify_folder(path: Path, names: Collection[str] | None = None) -> list[str]:
    """What differs from the folder's manifest; empty when all is well, ``["no manifest"]`` without one.

    Args:
        names: look at these files only; one that is there, but not in the manifest, is a problem, too.
    """
    try:
        files = _read_manifest(path / MANIFEST)
    except FileNotFoundError:
        return ["no manifest"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return [f"{MANIFEST} is damaged"]
    problems = []
    for name in sorted(files) if names is None else sorted(names):
        file = path / name
        if name not in files:
            if file.exists():
                problems.append(f"{name} is not in {MANIFEST}")
            continue
        size, digest = files[name]
        try:
            if not file.is_file():
                problems.append(f"{name} is missing")
            elif (actual := file.stat().st_size) != size:
                problems.append(f"{name} has {actual} bytes instead of {size}")
            elif sha256_file(file) != digest:
                problems.append(f"{name} differs from its checksum")
        except OSError as error:
            problems.append(f"{name} can't be read ({error.strerror or error})")
    return problems


def set_aside(path: Path) -> Path:
    """Rename what is damaged to ``<name>.damaged``, so that nothing takes it for good; returns its new path.

    Where that can't be done it stays, and its path is returned.
    """
    number, target = 1, path.with_name(f"{path.name}.damaged")
    while target.exists():
        number += 1
        target = path.with_name(f"{path.name}.damaged-{number}")
    try:
        path.rename(target)
        _sync(path.parent)
    except OSError:
        return path
    return target


def remove_folder(path: Path) -> None:
    """Remove a folder; stopped halfway, it does not look like a whole one. Raises StorageError."""
    with _explained(path):
        leaving = _neighbour(path, TEMPORARY)
        path.rename(leaving)
        shutil.rmtree(leaving, ignore_errors=True)


def remove_stale(folder: Path, name: str | None = None, *, age: float = 10.0) -> list[Path]:
    """Remove what killed writers left in a folder, of one name or of all; returns what was removed.

    What a running process is writing stays. ``age``: seconds without a change; a writer that has just made
    its temporary may not have locked it yet.
    """
    removed = []
    for path in _left(folder, TEMPORARY, name):
        if _abandoned(path, age):
            _remove(path)
            removed.append(path)
    for path in _left(folder, _FORMER, name):
        target = path.with_name(path.name[len(_FORMER) + 9 :])
        if target.exists():
            _remove(path)
        else:  # killed between two renames
            with contextlib.suppress(OSError):
                path.rename(target)
        removed.append(path)
    return removed


def _left(folder: Path, kind: str, name: str | None) -> list[Path]:
    pattern = re.compile(re.escape(kind) + "[0-9a-f]{8}-" + (".+" if name is None else re.escape(name)))
    try:
        return [path for path in folder.iterdir() if pattern.fullmatch(path.name)]
    except OSError:
        return []


def _abandoned(path: Path, age: float) -> bool:
    """Whether no process has it locked. False if that can't be found out."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        system.lock(descriptor)
        return time.time() - os.fstat(descriptor).st_mtime >= age
    except OSError:
        return False
    finally:
        os.close(descriptor)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink()


def manifest_of(files: Mapping[str, Mapping[str, object]]) -> bytes:
    """A manifest's bytes: files by name, each with ``bytes`` and ``sha256``."""
    return (json.dumps({"files": files}, ensure_ascii=False, indent=2) + "\n").encode("utf-8")


def _read_manifest(path: Path) -> dict[str, tuple[int, str]]:
    """Size and SHA-256 by name. Raises ValueError, KeyError or TypeError where a single byte is wrong."""
    if path.stat().st_size > LARGEST_MANIFEST:
        raise ValueError("too large")
    raw = path.read_bytes()
    entries = json.loads(raw)["files"]
    if raw != manifest_of(entries):  # a byte that JSON would forgive
        raise ValueError("not as it was written")
    if not entries:  # it would pass any folder
        raise ValueError("names no file")
    files = {}
    for name, entry in entries.items():
        place = PurePosixPath(name)
        if place.is_absolute() or ".." in place.parts or not name:
            raise ValueError("names a file outside the folder")
        size, digest = entry["bytes"], entry["sha256"]
        if type(size) is not int or type(digest) is not str:
            raise ValueError("not as it was written")
        files[name] = size, digest
    return files
