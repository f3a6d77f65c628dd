"""Progress on stderr: silent in short work, with the time left in long work."""

from __future__ import annotations

import io
import logging
import re
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise

import pytest

from komrc import progress


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that stands still until its last entry is changed."""
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_short_work_shows_nothing(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    for _ in progress.track(range(3), total=3, what="reading"):
        clock[0] += 0.5
    assert capsys.readouterr().err == ""


def test_long_work_shows_lines_with_the_time_left(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in progress.track(range(100), total=200, what="reading", done=100):
        clock[0] += 1
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "reading: 102 of 200, about 1 min 38 s left"
    counts = [int(re.search(r"\d+", line)[0]) for line in lines]  # type: ignore[index]
    assert [after - before for before, after in pairwise(counts)] == [4, 8, 16, 30, 30]


def test_of_a_single_item_the_share_is_shown(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    with progress.showing(total=1, what="reading") as advance:
        for part in (0.25, 0.5, 1):
            clock[0] += 10
            advance(part)
    assert capsys.readouterr().err.splitlines() == [
        "reading: 25%, about 0 min 30 s left",
        "reading: 50%, about 0 min 20 s left",
    ]


class AtOnce:
    """A timer whose time is up when it starts."""

    def __init__(self, _seconds: float, action: Callable[[], None]) -> None:
        self.start = action

    def cancel(self) -> None: ...

    def join(self) -> None: ...


def test_there_is_a_sign_of_life_before_the_first_step(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress.threading, "Timer", AtOnce)
    with progress.showing(total=3, what="shards"):
        assert capsys.readouterr().err == "shards: 0 of 3\n"


def test_on_a_terminal_it_is_a_bar(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress.threading, "Timer", AtOnce)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    with progress.showing(total=1, what="reading") as advance:
        advance(0.5)
    assert "50 %" in capsys.readouterr().err


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_log_lines_are_on_lines_of_their_own_above_the_bars(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    handler = logging.StreamHandler(terminal)  # as the command line makes it, before there is a bar
    logging.getLogger().addHandler(handler)
    try:
        with progress.Bars() as bars:
            bars.update(bars.add("training", 10), 3, "loss 1.5")
            logging.getLogger("komrc").warning("step 1: EM 50.00")
        logging.getLogger("komrc").warning("afterwards")
    finally:
        logging.getLogger().removeHandler(handler)
    lines = [line.rpartition("\x1b[2K")[2] for line in terminal.getvalue().splitlines()]
    assert "step 1: EM 50.00" in lines
    assert lines[-1].endswith("afterwards")
    assert handler.stream is terminal
    assert "loss 1.5" in terminal.getvalue() and "3/10" in terminal.getvalue()


def test_bars_that_are_not_shown_write_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with progress.Bars(shown=False) as bars, bars.bar("evaluating", 4) as advance:
        advance(2)
    assert terminal.getvalue() == ""


def test_bars_draw_no_random_numbers_of_the_program() -> None:
    """A new process, where nothing has imported rich yet: it draws as it is imported."""
    code = """
import random, sys
from komrc import progress
random.seed(1)
expected = random.getstate()
assert "rich" not in sys.modules
with progress.Bars(shown=False) as bars:
    bars.add("steps", 3)
assert "rich.style" in sys.modules and random.getstate() == expected
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
