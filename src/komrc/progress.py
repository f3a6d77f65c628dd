"""Progress on stderr: a bar with the time left on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")

_PATIENCE = 2.0  # seconds before anything is shown
_EVERY = 30.0  # seconds between two lines where there is no terminal, at most

Advance = Callable[[float], None]  # takes how many items are done; a fraction is of those under way


def track(items: Iterable[T], *, total: int | None, what: str, done: int = 0) -> Iterator[T]:
    """The items, with progress shown once it takes longer than two seconds.

    Args:
        total: how many there are, those done before included; None: unknown, no time left is shown.
        what: what is being done, as "reading".
        done: how many were done before, as in a run that goes on.
    """
    with showing(total=total, what=what, done=done) as advance:
        for count, item in enumerate(items, 1):
            yield item
            advance(count)


@contextmanager
def showing(*, total: int | None, what: str, done: int = 0) -> Iterator[Advance]:
    """A function that shows how many items are done, those before this run left out; else as ``track``."""
    if sys.stderr.isatty():
        with _bar(total, what, done) as advance:
            yield advance
    else:
        with _lines(total, what, done) as advance:
            yield advance


@contextmanager
def showing_bytes(*, total: int, what: str) -> Iterator[Callable[[int, int | None], None]]:
    """A function that shows how many bytes of a file are transferred, of how many; None: unknown.

    Args:
        total: bytes, until the function is called with another number.
        what: the file's name.
    """
    if not sys.stderr.isatty():
        print(f"{what} …", file=sys.stderr)
        yield lambda _done, _whole: None
        return
    from rich import progress as bars
    from rich.console import Console

    columns = (
        bars.TextColumn("{task.description}"),
        bars.BarColumn(),
        bars.DownloadColumn(),
        bars.TransferSpeedColumn(),
        bars.TimeRemainingColumn(),
    )
    with bars.Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda done, whole: bar.update(task, completed=done, total=whole)


@contextmanager
def _bar(total: int | None, what: str, done: int) -> Iterator[Advance]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    # Of a single item, the share that is done.
    count = TextColumn("{task.percentage:>3.0f} %") if total == 1 else MofNCompleteColumn()
    columns = (TextColumn("{task.description}"), BarColumn(), count, TimeRemainingColumn())
    bar = Progress(*columns, console=Console(stderr=True), speed_estimate_period=120)
    task = bar.add_task(what, total=total, completed=done)
    try:
        with _after_patience(bar.start):
            yield lambda finished: bar.update(task, completed=done + finished)
    finally:
        if bar.live.is_started:
            bar.stop()


@contextmanager
def _after_patience(show: Callable[[], None]) -> Iterator[None]:
    """Call ``show`` on another thread if this lasts longer than two seconds."""
    timer = threading.Timer(_PATIENCE, show)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()  # what it shows must not come after the end


@contextmanager
def _lines(total: int | None, what: str, done: int) -> Iterator[Advance]:
    began = last = time.monotonic()
    wait = _PATIENCE

    def advance(finished: float) -> None:
        nonlocal last, wait
        now = time.monotonic()
        if now - last < wait or finished in (0, total):
            return
        last, wait = now, min(2 * wait, _EVERY)
        seconds = None if total is None else (total - done - finished) * (now - began) / finished
        left = "" if seconds is None else f", about {_duration(seconds)} left"
        print(f"{what}: {_share(done + finished, total)}{left}", file=sys.stderr, flush=True)

    def begin() -> None:
        if last == began:
            print(f"{what}: {_share(done, total)}", file=sys.stderr, flush=True)

    with _after_patience(begin):
        yield advance


def _share(count: float, total: int | None) -> str:
    if total is None:
        return f"{count:,.0f}"
    return f"{count:.0%}" if total == 1 else f"{int(count):,} of {total:,}"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60} h {minutes % 60:02} min" if minutes >= 60 else f"{minutes} min {rest:02} s"
