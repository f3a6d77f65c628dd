"""The run that an output belongs to: one at a time, with the same data and settings."""

from __future__ import annotations

from collections.abc import Mapping

from komrc import system
from komrc.errors import UsageError


def check_same_run(before: Mapping[str, str], now: Mapping[str, str], where: str) -> None:
    """Raises UsageError if the output was written by a run with other data or settings."""
    other = sorted(name for name in now if before.get(name) != now[name])
    if other:
        raise UsageError(
            f"has answers of a run with another {' and another '.join(other)}",
            where=where,
            fix="give that run's options to resume it, another output, or --restart to delete its answers",
        )


def lock_run(descriptor: int, where: str) -> None:
    """Lock an open file or folder until it is closed. Raises UsageError if another process has locked it."""
    try:
        system.lock(descriptor)
    except BlockingIOError as error:
        raise UsageError(
            "another run is writing it",
            where=where,
            fix="wait for it, or give another --output",
        ) from error
