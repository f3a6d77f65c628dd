"""What differs between operating systems: processors, file locks."""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

from komrc.errors import StorageError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


def cores() -> int:
    """Processors that this process may use, at least 1."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS and Windows
        return os.cpu_count() or 1


def lock(descriptor: int) -> None:
    """Lock an open file or folder until it is closed, so that no other process can lock it.

    Raises BlockingIOError where another process has locked it, OSError where the file system has no locks,
    StorageError on a system without such locks: KoMRC does not write files there.
    """
    if fcntl is None:
        raise StorageError(
            "KoMRC writes files on Linux and macOS only: this system has no flock",
            fix="on Windows, run it in WSL 2; komrc ask and komrc evaluate write no file",
        )
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def open_locked(path: Path) -> BinaryIO:
    """A file, opened for appending and locked until it is closed. Raises OSError and what ``lock`` raises."""
    file = path.open("ab")
    try:
        lock(file.fileno())
    except BaseException:
        file.close()
        raise
    return file
