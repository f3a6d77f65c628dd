"""How long requests will take: the engine's speed, and how much of its time each class of requests gets."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from statistics import median

from komrc.serving.fair_queue import WEIGHTS, RequestClass

_SPEED_BATCHES, _SPEED_SECONDS = 100, 15.0  # the speed is that of the last batches: so many, not older
_MIN_SECONDS = 0.2  # of engine time, for a measurement
_LOAD_FADES = 2.0  # seconds until the engine's time for a class counts for a third


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
        self._batches: deque[tuple[float, int, float]] = deque(maxlen=_SPEED_BATCHES)  # end, tokens, seconds
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
            self._batches.append((self._at, total, seconds))

    @property
    def measured(self) -> bool:
        """Whether there is a recent measurement of the speed."""
        while self._batches and self._clock() - self._batches[0][0] > _SPEED_SECONDS:
            self._batches.popleft()
        return sum(seconds for _, _, seconds in self._batches) >= _MIN_SECONDS

    def seconds_alone(self, tokens: int) -> float:
        """Seconds for so many tokens on an otherwise idle engine. ``measured`` must be true.

        The median batch counts, so that a single slow one refuses nobody.
        """
        return tokens * median(seconds / count for _, count, seconds in self._batches)

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
        of_token = self.seconds_alone(1) / self.share(name)
        return [of_token * sum(min(other, own) for other in tokens) for own in tokens]

    def _fade(self) -> None:
        now = self._clock()
        passed, self._at = now - self._at, now
        for name in self._busy:
            self._busy[name] *= math.exp(-passed / _LOAD_FADES)
