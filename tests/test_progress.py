"""Progress on stderr: silent in short work, with the time left in long work."""

from __future__ import annotations

import re
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
