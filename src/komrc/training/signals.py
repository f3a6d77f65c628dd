"""Ctrl-C, SIGTERM and SIGHUP: the first saves a checkpoint and ends the run, the second ends it at once.

Before the first step and after the last there is nothing to save, so there the first also ends it at once.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from komrc.training import distributed

logger = logging.getLogger(__name__)


class StopTraining(BaseException):  # like KeyboardInterrupt, so that no "except Exception" catches it
    """A signal interrupted an evaluation, or the work before and after the training steps."""


class StopRequest:
    """Whether a signal came, and which."""

    def __init__(self) -> None:
        self.signal: int | None = None
        self._waits = False
        self._received = False

    def __bool__(self) -> bool:
        return self.signal is not None

    @property
    def exit_code(self) -> int:
        """130 after Ctrl-C, 143 after SIGTERM, 129 after SIGHUP."""
        return 128 + (self.signal or 0)

    def check(self) -> None:
        """Raise StopTraining once a signal came."""
        if self.signal is not None:
            raise StopTraining

    def any_rank_stopped(self) -> bool:
        """Whether a signal has reached any process of the run; from then on it counts for all of them.

        A collective operation: every process must call it at the same point.
        """
        number = distributed.all_reduce_max(self.signal or 0)
        if number and self.signal is None:
            self.signal = number
        return number > 0

    @contextmanager
    def waiting_for_steps(self) -> Iterator[None]:
        """Inside, a first signal raises nothing: the training loop checks the request after each step."""
        self._waits = True
        try:
            yield
        finally:
            self._waits = False

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if self._received:
            os._exit(128 + number)
        self._received = True
        if self.signal is None:
            self.signal = number
        if not self._waits:
            raise StopTraining
        logger.warning("stopping after this step; a checkpoint will be saved (a second signal stops at once)")


@contextmanager
def stop_on_signals() -> Iterator[StopRequest]:
    """Catch SIGINT, SIGTERM and SIGHUP while training runs (in the main thread only); an ignored signal, as
    SIGHUP under nohup, stays ignored."""
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    numbers = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    former = {number: signal.getsignal(number) for number in numbers}
    former = {number: handler for number, handler in former.items() if handler is not signal.SIG_IGN}
    for number in former:
        signal.signal(number, request._handle)
    try:
        yield request
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
