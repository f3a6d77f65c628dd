"""Progress on stderr: a bar with the time left on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")

_PATIENCE = 2.0  # seconds before anything is shown
_EVERY = 30.0  # seconds between two lines where there is no terminal


def track(items: Iterable[T], *, total: int | None, what: str, done: int = 0) -> Iterator[T]:
    """The items, with progress shown once it takes longer than two seconds.

    Args:
        total: how many there are, those done before included; None: unknown, no time left is told.
        what: what is being done, as "reading".
        done: how many were done before, as in a run that goes on.
    """
    if sys.stderr.isatty():
        yield from _bar(items, total, what, done)
    else:
        yield from _lines(items, total, what, done)


def _bar(items: Iterable[T], total: int | None, what: str, done: int) -> Iterator[T]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    began = time.monotonic()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    bar = Progress(*columns, console=Console(stderr=True), speed_estimate_period=120)
    task = bar.add_task(what, total=total, completed=done)
    shown = False
    try:
        for item in items:
            yield item
            bar.advance(task)
            if not shown and time.monotonic() - began > _PATIENCE:
                bar.start()
                shown = True
    finally:
        if shown:
            bar.stop()


def _lines(items: Iterable[T], total: int | None, what: str, done: int) -> Iterator[T]:
    began = last = time.monotonic()
    for count, item in enumerate(items, 1):
        yield item
        now = time.monotonic()
        if now - last > _EVERY:
            last = now
            of = "" if total is None else f" of {total:,}"
            left = (
                ""
                if total is None
                else f", about {_duration((total - done - count) * (now - began) / count)} left"
            )
            print(f"{what}: {done + count:,}{of}{left}", file=sys.stderr, flush=True)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60} h {minutes % 60:02} min" if minutes >= 60 else f"{minutes} min {rest:02} s"
