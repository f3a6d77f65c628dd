"""The fake engine: the same tokens give the same logits, padding or not."""

from __future__ import annotations

import numpy as np

from komrc.engines import Batch
from komrc.engines.fake import FakeEngine


def batch(rows: list[list[int]]) -> Batch:
    longest = max(map(len, rows))
    ids = np.array([row + [1] * (longest - len(row)) for row in rows], np.int64)
    mask = np.array([[1] * len(row) + [0] * (longest - len(row)) for row in rows], np.int64)
    return Batch(ids, mask, None)


def test_logits_depend_on_the_tokens_alone() -> None:
    engine = FakeEngine(boundary=True)
    alone, together = engine.run(batch([[5, 6, 7]])), engine.run(batch([[9] * 10, [5, 6, 7]]))
    assert np.array_equal(alone.start[0], together.start[1, :3])
    assert np.array_equal(alone.end[0], together.end[1, :3])
    assert alone.drop_front is not None and together.drop_front is not None
    assert np.array_equal(alone.drop_front[0], together.drop_front[1, :3])
    assert len(np.unique(together.start)) > 10
    assert FakeEngine().run(batch([[5]])).drop_front is None
