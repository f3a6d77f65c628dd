"""Which run an output belongs to: one at a time, with the same data and settings."""

from __future__ import annotations

from collections.abc import Mapping

from komrc import system
from komrc.errors import UsageError


def refuse_other(before: Mapping[str, str], now: Mapping[str, str], where: str) -> None:
    """Raises UsageError where what is there is of a run with other data or settings."""
    other = sorted(name for name in now if before.get(name) != now[name])
    if other:
        raise UsageError(
            f"holds answers of a run with another {' and another '.join(other)}",
            where=where,
            fix="give that run's options to go on with it, another output, or --restart to drop it",
        )


def hold(descriptor: int, where: str) -> None:
    """Lock an open file or folder until it is closed. Raises UsageError where another process holds it."""
    try:
        system.lock(descriptor)
    except BlockingIOError as error:
        raise UsageError(
            "another run is writing it",
            where=where,
            fix="wait for it, or give another --output",
        ) from error
