"""Reliability bins, calibration error and the fitted temperature, on made-up scores with a known truth."""

import numpy as np
import pytest

from komrc.metrics import calibration


def test_error_by_hand():
    scores = np.array([0.95, 0.85, 0.15, 0.05])
    correct = np.array([True, False, False, False])
    bins = calibration.reliability(scores, correct, bins=2)
    assert [(b.low, b.high, b.count) for b in bins] == [(0.0, 0.5, 2), (0.5, 1.0, 2)]
    assert [(b.score, b.accuracy) for b in bins] == [pytest.approx((0.1, 0.0)), pytest.approx((0.9, 0.5))]
    assert calibration.expected_calibration_error(scores, correct, bins=2) == pytest.approx(0.25)


def test_edges_fall_into_the_lower_bin_and_zero_into_the_first():
    bins = calibration.reliability(np.array([0.0, 0.5, 1.0]), np.array([True] * 3), bins=2)
    assert [b.count for b in bins] == [2, 1]


def test_no_answers_no_error():
    assert calibration.expected_calibration_error(np.array([]), np.array([], bool)) == 0.0


def test_fitted_temperature_finds_the_one_that_made_the_labels():
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 4, size=(6000, 5))
    true = 2.5

    def probabilities(temperature):
        exponent = np.exp((logits - logits.max(1, keepdims=True)) / temperature)
        return exponent / exponent.sum(1, keepdims=True)

    drawn = (probabilities(true).cumsum(1) > rng.random((6000, 1))).argmax(1)
    correct = drawn == logits.argmax(1)
    fitted = calibration.fit_temperature(lambda t: probabilities(t).max(1), correct)
    assert fitted == pytest.approx(true, rel=0.1)
    before = calibration.expected_calibration_error(probabilities(1.0).max(1), correct)
    after = calibration.expected_calibration_error(probabilities(fitted).max(1), correct)
    assert after < 0.03 < before


@pytest.mark.parametrize("truth", [True, False])
def test_nothing_to_fit_leaves_the_scores_alone(truth):
    assert calibration.fit_temperature(lambda t: np.full(4, 0.5), np.full(4, truth)) == 1.0
