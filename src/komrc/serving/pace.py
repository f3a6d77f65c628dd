"""How long requests will take: the engine's speed, and how much of its time each class of requests gets.

Both are moving averages over the last seconds.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence

from komrc.serving.fair_queue import WEIGHTS, RequestClass

_SPEED_FADES = 10.0  # seconds until a measurement counts for a third
_LOAD_FADES = 2.0
_MIN_SECONDS = 0.2  # of engine time, for a measurement


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
        self._busy = dict.fromkeys(WEIGHTS, 0.0)  # engine seconds that each class used, faded

    def record(self, tokens: Mapping[RequestClass, int], seconds: float) -> None:
        """Record a batch.

        Args:
            tokens: of the batch, without padding, by class of request.
            seconds: the time that the engine took.
        """
        self._fade()
        total = sum(tokens.values())
        for name, count in tokens.items():
            self._busy[name] += seconds * count / total
        if self._cold:  # the first batch is slower: the engine is warming up
            self._cold = False
        elif 2 * total >= self._full:
            self._tokens += total
            self._seconds += seconds

    @property
    def measured(self) -> bool:
        """Whether there is a recent measurement of the speed."""
        self._fade()
        return self._seconds >= _MIN_SECONDS

    def seconds_alone(self, tokens: int) -> float:
        """Seconds for so many tokens on an otherwise idle engine."""
        return tokens * self._seconds / self._tokens

    def share(self, name: RequestClass) -> float:
        """The share of the engine that a class gets now: its own, and what the other one doesn't use.

        Between the share that the queue guarantees and 1.
        """
        self._fade()
        others = sum(busy for other, busy in self._busy.items() if other != name) / _LOAD_FADES
        return max(WEIGHTS[name], 1 - others)

    def seconds_together(self, tokens: Sequence[int], name: RequestClass) -> list[float]:
        """Seconds until each of the requests of a class is read, if they take turns.

        While request i has windows left, each other request j has read as much as it, or is finished: request
        i waits for ``sum_j min(tokens[j], tokens[i])`` tokens.

        Args:
            tokens: left of each request of the class.
            name: the class.
        """
        share = self.share(name)
        return [self.seconds_alone(sum(min(other, own) for other in tokens)) / share for own in tokens]

    def _fade(self) -> None:
        now = self._clock()
        passed, self._at = now - self._at, now
        self._tokens *= math.exp(-passed / _SPEED_FADES)
        self._seconds *= math.exp(-passed / _SPEED_FADES)
        for name in self._busy:
            self._busy[name] *= math.exp(-passed / _LOAD_FADES)
