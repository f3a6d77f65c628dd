"""The simulation of replicas against what is known of queues, and the prices made from it."""

from __future__ import annotations

import math

import numpy as np
import pytest

from benchmarks import queueing, scale
from benchmarks.queueing import Work


def one_window(seconds: list[float], beside: float = 0.0) -> Work:
    """Questions whose window fills more than half of a batch: a replica reads one after the other."""
    return Work([[400]] * len(seconds), [[s] for s in seconds], [beside] * len(seconds))


@pytest.mark.parametrize("share", [0.3, 0.6, 0.8])
def test_equal_questions_wait_as_in_an_md1_queue(share: float) -> None:
    times, opened = queueing.simulate(one_window([2.0], 0.5), rate=share / 2, replicas=1)
    wait = 2 * share / (2 * (1 - share))
    assert times.min() == pytest.approx(2.5)
    assert times.mean() == pytest.approx(2.5 + wait, rel=0.05)
    assert opened == pytest.approx(times.mean() * share / 2)


def test_questions_of_all_lengths_wait_as_in_an_mm1_queue() -> None:
    lengths = np.random.default_rng(1).exponential(1.0, 20_000).tolist()
    times, _ = queueing.simulate(one_window(lengths), rate=0.6 / np.mean(lengths), replicas=1)
    mean = np.mean(lengths) / 0.4
    assert times.mean() == pytest.approx(mean, rel=0.08)
    assert np.quantile(times, 0.99) == pytest.approx(-math.log(0.01) * mean, rel=0.12)


def test_a_book_and_short_questions_take_turns() -> None:
    """A thousand windows before it hold a short question up for one of them, not for all."""
    book, short = [400] * 1000, [200]
    work = Work([book] + [short] * 999, [[1.0] * 1000] + [[0.5]] * 999, [0.0] * 1000)
    times, _ = queueing.simulate(work, rate=0.05, replicas=1, count=20_000)
    assert np.quantile(times, 0.9) < 5


def test_windows_that_fit_are_read_together() -> None:
    replica = queueing.Replica(Work([[100], [300], [200]], [[1.0], [3.0], [2.0]], [0.0] * 3))
    replica.waiting.extend([[0, 0, 0], [1, 1, 0], [2, 2, 0]])
    replica.open = 3
    assert replica.start() == 4.0  # 100 + 300 tokens; 200 more don't fit
    assert replica.finish() == [(0, 0), (1, 1)]
    assert (replica.open, len(replica.waiting)) == (1, 1)


def test_the_fewest_open_requests_beat_the_lot() -> None:
    work = one_window([1.0])
    tail = {
        policy: np.quantile(queueing.simulate(work, rate=3.2, replicas=4, policy=policy)[0], 0.99)
        for policy in ("least", "lot")
    }
    assert tail["least"] < 0.7 * tail["lot"]


def test_as_many_replicas_as_needed_and_no_more() -> None:
    work = one_window([0.02])
    count = queueing.needed(work, rate=400, within=0.06, count=20_000)
    assert count is not None and count > 8
    for replicas, enough in ((count, True), (count - 1, False)):
        times, _ = queueing.simulate(work, rate=400, replicas=replicas, count=20_000)
        assert (np.quantile(times, 0.99) <= 0.06) == enough
    assert queueing.needed(work, rate=1, within=0.01) is None
    many = queueing.needed(work, rate=40_000, within=0.06, count=20_000)
    assert many is not None and 800 < many < 1000


def test_a_million_questions_cost_the_hours_they_take() -> None:
    assert scale.Machine("a", 100, 0.01, 0.36).per_million == pytest.approx(1.0)


def test_the_tables_say_what_was_measured() -> None:
    figures = {
        "questions": 400, "sent": 1250.0, "received": 500.0,
        "server": 0.014, "http": 0.001, "tokenize": 0.001, "engine": 0.01, "decode": 0.002,
        "memory": 200 * 2**20, "loaded": 190 * 2**20,
        "machine": {"date": "today", "processor": "p", "cores": 2, "load before": 0.0},
    }  # fmt: skip
    text = scale.block(figures, [], 0.5)
    assert "| the model | 10.00 ms | 100 | core |" in text
    assert "| HTTP, JSON | 1.00 ms | 1,000 | server process |" in text
    assert "| the wire, in | 1,250 bytes | 100,000 | Gbit/s |" in text
    assert "190 MiB after 20 questions, 200 MiB after 400 more" in text
    assert "yet" in text
