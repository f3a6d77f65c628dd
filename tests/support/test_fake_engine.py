"""The fake engine: the same tokens give the same logits in any batch."""

from __future__ import annotations

import numpy as np

from komrc.engines import Batch
from support.fake_engine import FakeEngine


def batch(*rows: list[int]) -> Batch:
    ids = np.concatenate(rows).astype(np.int64)
    return Batch(ids, np.zeros_like(ids), np.cumsum([0, *map(len, rows)]))


def test_logits_depend_on_the_tokens_alone() -> None:
    engine = FakeEngine(boundary=True)
    alone, together = engine.run(batch([5, 6, 7])), engine.run(batch([9] * 10, [5, 6, 7]))
    for a, b in zip(alone.arrays, together.arrays, strict=True):
        assert np.array_equal(a, b[10:])
    assert len(np.unique(together.start)) > 10
    assert FakeEngine().run(batch([5])).boundary is None
