"""How sure a figure is: bootstrap intervals, and McNemar's test for two runs on the same questions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 1000
_LEVEL = 0.95
_CELLS_AT_ONCE = 4_000_000  # of the resampled indices, 4 bytes each


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean and its 95 % interval."""

    mean: float
    low: float
    high: float


def bootstrap(values: NDArray[np.float64], *, resamples: int = RESAMPLES, seed: int = 0) -> list[Interval]:
    """Percentile intervals of the means of each row, the questions (columns) drawn anew with replacement.

    Args:
        values: [rows, questions]; all rows see the same draws, so a row of differences is a paired test.

    Returns:
        One interval a row; the mean of nothing is 0.
    """
    rows, size = values.shape
    if size == 0:
        return [Interval(0.0, 0.0, 0.0)] * rows
    random = np.random.default_rng(seed)
    means = np.empty((rows, resamples))
    step = max(1, _CELLS_AT_ONCE // size)
    for start in range(0, resamples, step):
        count = min(step, resamples - start)
        drawn = random.integers(0, size, size=(count, size), dtype=np.int32)
        for row in range(rows):
            means[row, start : start + count] = values[row][drawn].mean(axis=1)
    low, high = np.quantile(means, [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2], axis=1)
    return [Interval(float(values[row].mean()), float(low[row]), float(high[row])) for row in range(rows)]


def mcnemar(won: int, lost: int) -> float:
    """The exact two-sided p-value of ``won`` against ``lost`` questions, were both runs equally good."""
    total, fewer = won + lost, min(won, lost)
    ways = tail = 1  # of choosing k of the questions, in exact whole numbers; summed up to the fewer
    for k in range(fewer):
        ways = ways * (total - k) // (k + 1)
        tail += ways
    return min(1.0, 2 * tail / (1 << total))
