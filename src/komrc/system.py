"""What differs between operating systems: processors, file locks."""

from __future__ import annotations

import os
import platform
from functools import cache
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


# Feature -> the names that Linux gives to it, any of them.
_FEATURES = {
    "avx2": ("avx2",),
    "avx512": ("avx512f",),
    "vnni": ("avx512_vnni", "avx_vnni"),
    "avx512_bf16": ("avx512_bf16",),
    "amx": ("amx_bf16", "amx_int8"),
    "neon": ("asimd",),
    "neon_bf16": ("bf16",),
    "i8mm": ("i8mm",),
}


@cache
def processor_features() -> frozenset[str]:
    """Which arithmetic the processor has: avx2, avx512, vnni (int8), avx512_bf16, amx; neon, neon_bf16, i8mm.

    Empty where the system does not tell (macOS, Windows).
    """
    flags: set[str] = set()
    for line in _processor_lines():
        key, _, value = line.partition(":")
        if key.strip() in ("flags", "Features"):
            flags = set(value.split())
            break
    return frozenset(name for name, names in _FEATURES.items() if flags & set(names))


def processor_name() -> str:
    """The processor as its maker calls it, or its architecture."""
    for line in _processor_lines():
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            return value.strip()
    return platform.processor() or platform.machine()


def _processor_lines() -> list[str]:
    try:
        return Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []


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
