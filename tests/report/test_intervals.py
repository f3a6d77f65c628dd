"""Bootstrap intervals against what theory says, McNemar's test against values worked out by hand."""

import numpy as np
import pytest

from komrc.report.intervals import bootstrap, mcnemar


def test_interval_of_a_share_is_about_what_the_binomial_gives():
    values = np.array([[100.0] * 600 + [0.0] * 400])
    (interval,) = bootstrap(values)
    half = 1.96 * 100 * (0.6 * 0.4 / 1000) ** 0.5
    assert interval.mean == pytest.approx(60)
    assert interval.low == pytest.approx(60 - half, abs=0.5)
    assert interval.high == pytest.approx(60 + half, abs=0.5)


def test_same_seed_same_interval_and_rows_share_their_draws():
    values = np.random.default_rng(3).random((1, 200))
    first, second, difference = bootstrap(np.vstack([values, values + 1, values - values]), seed=7)
    assert bootstrap(values, seed=7) == [first]
    assert bootstrap(values, seed=8) != [first]
    assert second.low == pytest.approx(first.low + 1)
    assert (difference.low, difference.high) == (0.0, 0.0)


def test_nothing_and_one():
    assert bootstrap(np.empty((1, 0)))[0].mean == 0.0
    one = bootstrap(np.array([[42.0]]))[0]
    assert (one.low, one.mean, one.high) == (42.0, 42.0, 42.0)


@pytest.mark.parametrize(
    ("won", "lost", "p_value"),
    [
        (0, 0, 1.0),
        (1, 0, 1.0),
        (5, 0, 2 / 32),
        (10, 2, 2 * (1 + 12 + 66) / 4096),
        (2, 10, 2 * (1 + 12 + 66) / 4096),
        (7, 7, 1.0),
    ],
)
def test_mcnemar(won, lost, p_value):
    assert mcnemar(won, lost) == pytest.approx(p_value)


def test_mcnemar_of_thousands():
    assert 0 < mcnemar(3000, 2000) < 1e-40
    assert mcnemar(2500, 2501) == 1.0
