"""What a run shows on a terminal."""

from __future__ import annotations

import io
import logging
import sys

import pytest

pytest.importorskip("torch")

from komrc.training.display import Display


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_log_lines_stand_on_lines_of_their_own_above_the_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    handler = logging.StreamHandler(terminal)  # as the command line makes it, before there is a bar
    logging.getLogger().addHandler(handler)
    try:
        display = Display()
        with display.progress:
            display.add("training", 10)
            display.progress.refresh()
            logging.getLogger("komrc").warning("step 1: EM 50.00")
        logging.getLogger("komrc").warning("afterwards")
    finally:
        logging.getLogger().removeHandler(handler)
    lines = [line.rpartition("\x1b[2K")[2] for line in terminal.getvalue().splitlines()]
    assert "step 1: EM 50.00" in lines
    assert lines[-1].endswith("afterwards")
    assert handler.stream is terminal
