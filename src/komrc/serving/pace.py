"""Moving averages over the last seconds: how fast the engine is, and how many requests share it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence

_SPEED_FADES = 10.0  # seconds until a measurement counts for a third
_LOAD_FADES = 2.0
_MIN_SECONDS = 0.5  # of engine time, for a measurement


class Pace:
    """The engine's speed and load.

    Args:
        full: tokens of a full batch. Batches that are less than half full are not representative of long
        texts.
        clock: a monotonic clock, in seconds.
    """

    def __init__(self, full: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._full = full
        self._clock = clock
        self._at = clock()
        self._cold = True
        self._tokens = self._seconds = 0.0  # of batches, faded
        self._turns = 0.0  # a turn's tokens times the seconds that they were waiting, faded

    def record(self, tokens: int, seconds: float, turn: int) -> None:
        """Record a batch.

        Args:
            tokens: of the batch, without padding.
            seconds: the time that the engine took.
            turn: tokens of the next window of each request that was waiting.
        """
        self._fade()
        self._turns += turn * seconds
        if self._cold:  # the first batch is slower: the engine is warming up
            self._cold = False
        elif 2 * tokens >= self._full:
            self._tokens += tokens
            self._seconds += seconds

    @property
    def measured(self) -> bool:
        """Whether there is a recent measurement."""
        self._fade()
        return self._seconds >= _MIN_SECONDS

    def seconds_alone(self, lengths: Sequence[int]) -> float:
        """Seconds for windows of these lengths (tokens) on an otherwise idle engine."""
        return sum(lengths) * self._seconds / self._tokens

    def seconds_shared(self, lengths: Sequence[int], present: float = 0.0) -> float:
        """Seconds for windows of these lengths under the present load: one of them runs in each turn.

        Args:
            lengths: tokens of each window.
            present: seconds for which such windows have been part of the load themselves.
        """
        self._fade()
        own = max(lengths) * (1 - math.exp(-present / _LOAD_FADES))
        others = max(0.0, self._turns / _LOAD_FADES - own)
        return (sum(lengths) + len(lengths) * others) * self._seconds / self._tokens

    def _fade(self) -> None:
        now = self._clock()
        passed, self._at = now - self._at, now
        self._tokens *= math.exp(-passed / _SPEED_FADES)
        self._seconds *= math.exp(-passed / _SPEED_FADES)
        self._turns *= math.exp(-passed / _LOAD_FADES)
