"""Calibration of scores: reliability bins, calibration error, and the temperature that corrects it.

After Guo et al. 2017, "On Calibration of Modern Neural Networks".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BINS = 15
_LOWEST, _HIGHEST = 0.2, 10.0  # temperatures worth trying
_TINY = 1e-9
_GOLDEN = (5**0.5 - 1) / 2


@dataclass(frozen=True, slots=True)
class Bin:
    """Answers whose score is in ``(low, high]``."""

    low: float
    high: float
    count: int
    score: float  # their mean score, 0..1
    accuracy: float  # the share of them that is right, 0..1


def reliability(scores: NDArray[np.float64], correct: NDArray[np.bool_], *, bins: int = BINS) -> list[Bin]:
    """The bins of equal width over 0..1 that hold an answer.

    Args:
        scores: [N], probabilities.
        correct: [N], whether the answer is right.
        bins: how many, empty ones included.
    """
    number = np.clip(np.ceil(scores * bins).astype(np.intp) - 1, 0, bins - 1)
    count = np.bincount(number, minlength=bins)
    total_score = np.bincount(number, weights=scores, minlength=bins)
    total_right = np.bincount(number, weights=correct.astype(np.float64), minlength=bins)
    return [
        Bin(k / bins, (k + 1) / bins, int(count[k]), total_score[k] / count[k], total_right[k] / count[k])
        for k in np.flatnonzero(count).tolist()
    ]


def expected_calibration_error(
    scores: NDArray[np.float64], correct: NDArray[np.bool_], *, bins: int = BINS
) -> float:
    """The mean distance of score and accuracy over the bins, weighted by their answers, 0..1; 0 for none."""
    total = sum(b.count * abs(b.score - b.accuracy) for b in reliability(scores, correct, bins=bins))
    return float(total / len(scores)) if len(scores) else 0.0


def log_loss(scores: NDArray[np.float64], correct: NDArray[np.bool_]) -> float:
    """Mean negative log-likelihood of right and wrong under the scores, in nats."""
    likelihoods = np.where(correct, scores, 1.0 - scores)
    return float(-np.log(np.clip(likelihoods, _TINY, 1.0)).mean())


def fit_temperature(
    scores_at: Callable[[float], NDArray[np.float64]],
    correct: NDArray[np.bool_],
    *,
    tolerance: float = 0.01,
) -> float:
    """The temperature whose scores give the best likelihood to what is right and wrong.

    Args:
        scores_at: the best answers' scores [N] at a temperature, on held-out data; about 13 calls.
        correct: [N], whether each best answer is right. A temperature changes no ranking, so this is true
            at any.
        tolerance: relative width at which the search ends.

    Returns:
        A temperature in 0.2..10; 1.0 where all answers are right or all are wrong, which shows nothing.
    """
    if correct.all() or not correct.any():
        return 1.0

    def loss(logarithm: float) -> float:
        return log_loss(scores_at(float(np.exp(logarithm))), correct)

    # Golden section over log T: the loss falls to one minimum, then rises.
    low, high = float(np.log(_LOWEST)), float(np.log(_HIGHEST))
    left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
    at_left, at_right = loss(left), loss(right)
    while high - low > tolerance:
        if at_left <= at_right:
            high, right, at_right = right, left, at_left
            left = high - _GOLDEN * (high - low)
            at_left = loss(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + _GOLDEN * (high - low)
            at_right = loss(right)
    return float(np.exp((low + high) / 2))
