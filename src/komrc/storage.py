"""How artefacts reach the disk: whole or not at all.

A file or folder is written to a temporary neighbour, flushed and fsynced, then renamed into place, and
the parent is fsynced. A folder gets a manifest of sizes and SHA-256 sums, written last.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from komrc.errors import StorageError

MANIFEST = "manifest.json"
TEMPORARY = ".tmp-"


def sha256_file(path: Path) -> str:
    """Hex SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _failed(path: Path, error: OSError) -> StorageError:
    return StorageError(
        f"can't be written ({error.strerror or error})",
        where=str(path),
        fix="check free space and permissions; what stood there before is untouched",
    )


@contextmanager
def replacing_file(path: Path) -> Iterator[BinaryIO]:
    """A file to write, which then takes the place of ``path``; on an error ``path`` stays as it was.

    Raises StorageError.
    """
    temporary = path.with_name(f"{TEMPORARY}{os.getpid()}-{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        _sync(path.parent)
    except OSError as error:
        raise _failed(path, error) from error
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


def _files(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.is_file() and p != folder / MANIFEST)


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """A temporary folder to fill, which then takes the place of ``path``, manifest and all.

    An existing folder stays until the new one is complete. Raises StorageError.
    """
    temporary = path.with_name(f"{TEMPORARY}{os.getpid()}-{path.name}")
    aside = path.with_name(f"{TEMPORARY}old-{os.getpid()}-{path.name}")
    try:
        temporary.mkdir(parents=True)
        yield temporary
        manifest = {}
        for file in _files(temporary):
            _sync(file)
            name = file.relative_to(temporary).as_posix()
            manifest[name] = {"bytes": file.stat().st_size, "sha256": sha256_file(file)}
        write_json(temporary / MANIFEST, {"files": manifest})
        if path.exists():
            path.rename(aside)
        temporary.rename(path)
        _sync(path.parent)
        shutil.rmtree(aside, ignore_errors=True)
    except OSError as error:
        raise _failed(path, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def verify_folder(path: Path) -> list[str]:
    """What differs from the folder's manifest; empty when all is well, ``["no manifest"]`` without one."""
    try:
        files = json.loads((path / MANIFEST).read_text(encoding="utf-8"))["files"]
    except FileNotFoundError:
        return ["no manifest"]
    except (OSError, ValueError, KeyError, TypeError):
        return ["the manifest is damaged"]
    problems = []
    for name, entry in files.items():
        file = path / name
        if not file.is_file():
            problems.append(f"{name} is missing")
        elif file.stat().st_size != entry["bytes"]:
            problems.append(f"{name} has {file.stat().st_size} bytes instead of {entry['bytes']}")
        elif sha256_file(file) != entry["sha256"]:
            problems.append(f"{name} differs from its checksum")
    return problems
