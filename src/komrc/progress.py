"""Progress on stderr: a bar with the time left on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import logging
import random
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO, TypeVar

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

T = TypeVar("T")

_PATIENCE = 2.0  # seconds before anything is shown
_EVERY = 30.0  # seconds between two lines where there is no terminal, at most

Advance = Callable[[float], None]  # takes how many items are done; a fraction is of those under way


def track(items: Iterable[T], *, total: int | None, what: str, done: int = 0) -> Iterator[T]:
    """The items, with progress shown once it takes longer than two seconds.

    Args:
        total: how many there are, those done before included; None: unknown, no time left is shown.
        what: what is being done, as "reading".
        done: how many were done before, as in a resumed run.
    """
    with showing(total=total, what=what, done=done) as advance:
        for count, item in enumerate(items, 1):
            yield item
            advance(count)


@contextmanager
def showing(*, total: int | None, what: str, done: int = 0, shown: bool = True) -> Iterator[Advance]:
    """A function that shows how many items are done, those before this run left out; else as ``track``.

    ``shown``: False shows nothing.
    """
    if not shown:
        yield lambda _finished: None
    elif sys.stderr.isatty():
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
    _import_rich()
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


class Bars:
    """Several bars at once on stderr, each with the time left and a note, and the log above them.

    Args:
        shown: False shows nothing, as where stderr is no terminal.
    """

    def __init__(self, *, shown: bool = True) -> None:
        self.live = shown and sys.stderr.isatty()
        self._progress = _rich_progress(note=True, disable=not self.live)

    def __enter__(self) -> Bars:
        self._logs = _start(self._progress)
        return self

    def __exit__(self, *_: object) -> None:
        _stop(self._progress, self._logs)

    def add(self, what: str, total: int, done: int = 0) -> TaskID:
        """A new bar."""
        return self._progress.add_task(what, total=total, completed=done, note="")

    def update(self, bar: TaskID, done: int, note: str) -> None:
        """Show how many items are done, and a note."""
        self._progress.update(bar, completed=done, note=note)

    @contextmanager
    def bar(self, what: str, total: int) -> Iterator[Callable[[int], None]]:
        """A bar for a part of the work; gives a function that takes how many more items are done."""
        task = self.add(what, total)
        try:
            yield lambda count: self._progress.advance(task, count)
        finally:
            self._progress.remove_task(task)


def _import_rich() -> None:
    """Import rich and restore Python's random numbers, which its first import draws from: a training that is
    resumed exactly must not depend on when a bar is shown."""
    state = random.getstate()
    import rich.progress  # noqa: F401

    random.setstate(state)


def _rich_progress(*, share: bool = False, note: bool = False, disable: bool = False) -> Progress:
    _import_rich()
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    count = TextColumn("{task.percentage:>3.0f} %") if share else MofNCompleteColumn()
    columns = [TextColumn("{task.description}"), BarColumn(), count, TimeRemainingColumn()]
    if note:
        columns.append(TextColumn("{task.fields[note]}"))
    return Progress(*columns, console=Console(stderr=True), disable=disable, speed_estimate_period=120)


_MovedLogs = list[tuple["logging.StreamHandler[TextIO]", TextIO]]


def _start(bars: Progress) -> _MovedLogs:
    """Start bars, with the log above them: its handlers have the real stderr, and would write into a bar."""
    stream = sys.stderr
    bars.start()
    handlers = [h for h in logging.getLogger().handlers if isinstance(h, logging.StreamHandler)]
    moved = [(handler, stream) for handler in handlers if handler.stream is stream]
    for handler, _ in moved:
        handler.setStream(sys.stderr)
    return moved


def _stop(bars: Progress, moved: _MovedLogs) -> None:
    for handler, stream in moved:
        handler.setStream(stream)
    bars.stop()


@contextmanager
def _bar(total: int | None, what: str, done: int) -> Iterator[Advance]:
    bar = _rich_progress(share=total == 1)  # of a single item, the share that is done
    task = bar.add_task(what, total=total, completed=done)
    moved: _MovedLogs = []
    try:
        with _after_patience(lambda: moved.extend(_start(bar))):
            yield lambda finished: bar.update(task, completed=done + finished)
    finally:
        if bar.live.is_started:
            _stop(bar, moved)


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
