"""How fast the engine reads, and how much else it has to read: measured over the last seconds."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence

_SPEED_FADES = 10.0  # seconds until a measurement counts for a third
_CROWD_FADES = 2.0
_ENOUGH = 0.5  # seconds of the engine that make a measurement


class Pace:
    """The engine's speed and crowd.

    Args:
        full: tokens of a full batch. One that is not half full says little of the speed of long texts.
        clock: seconds that never go back.
    """

    def __init__(self, full: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._full = full
        self._clock = clock
        self._at = clock()
        self._cold = True
        self._tokens = self._seconds = 0.0  # of batches, faded
        self._turns = 0.0  # a turn's tokens times the seconds that they were waiting, faded

    def record(self, tokens: int, seconds: float, turn: int) -> None:
        """Take note of a batch.

        Args:
            tokens: of the batch, without padding.
            seconds: what the engine took for it.
            turn: tokens of the next window of each request that was waiting.
        """
        self._fade()
        self._turns += turn * seconds
        if self._cold:  # the first batch is slower: an engine prepares itself
            self._cold = False
        elif 2 * tokens >= self._full:
            self._tokens += tokens
            self._seconds += seconds

    @property
    def measured(self) -> bool:
        """Whether there is a measurement, and a fresh one."""
        self._fade()
        return self._seconds >= _ENOUGH

    def seconds_alone(self, lengths: Sequence[int]) -> float:
        """Seconds for windows of these tokens on an engine that has nothing else to do."""
        return sum(lengths) * self._seconds / self._tokens

    def seconds_shared(self, lengths: Sequence[int], present: float = 0.0) -> float:
        """Seconds for windows of these tokens beside the present crowd: in each turn, one of them runs.

        Args:
            lengths: tokens of each window.
            present: seconds for which such windows have been part of the crowd themselves.
        """
        self._fade()
        own = max(lengths) * (1 - math.exp(-present / _CROWD_FADES))
        crowd = max(0.0, self._turns / _CROWD_FADES - own)
        return (sum(lengths) + len(lengths) * crowd) * self._seconds / self._tokens

    def _fade(self) -> None:
        now = self._clock()
        passed, self._at = now - self._at, now
        self._tokens *= math.exp(-passed / _SPEED_FADES)
        self._seconds *= math.exp(-passed / _SPEED_FADES)
        self._turns *= math.exp(-passed / _CROWD_FADES)
