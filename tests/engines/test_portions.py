"""A batch in portions: every window once, in its place, without padding beyond its portion's longest."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from komrc.engines import Batch
from komrc.engines.fake import FakeEngine
from komrc.engines.portions import in_portions


@given(st.lists(st.integers(1, 40), min_size=1, max_size=12), st.integers(0, 120), st.booleans())
def test_portions_give_what_the_whole_batch_gives(lengths: list[int], tokens: int, types: bool) -> None:
    mask = (np.arange(max(lengths)) < np.array(lengths)[:, None]).astype(np.int64)
    ids = np.random.default_rng(0).integers(5, 900, mask.shape) * mask
    batch = Batch(ids, mask, np.zeros_like(ids) if types else None)
    engine = FakeEngine(boundary=True)
    sizes: list[tuple[int, int]] = []

    def compute(portion: Batch) -> list[NDArray[np.float32]]:
        rows, width = portion.input_ids.shape
        assert portion.attention_mask.shape == (rows, width)
        assert portion.attention_mask.sum(axis=1).max() == width
        assert (portion.token_type_ids is not None) == types
        sizes.append((rows, width))
        found = engine.run(portion)
        assert found.drop_front is not None and found.drop_back is not None
        return [found.start, found.end, found.drop_front, found.drop_back]

    whole, cut = engine.run(batch), in_portions(batch, compute, tokens)
    with ThreadPoolExecutor(2) as lanes:
        spread = in_portions(batch, compute, tokens, spread=lanes.map)
    assert all(np.array_equal(getattr(spread, name), getattr(cut, name)) for name in ("start", "drop_back"))
    del sizes[len(sizes) // 2 :]  # the second run's
    real = mask.astype(np.bool_)
    for name in ("start", "end", "drop_front", "drop_back"):
        assert np.array_equal(getattr(whole, name)[real], getattr(cut, name)[real])
    assert sum(rows for rows, _ in sizes) == len(lengths)
    assert all(rows == 1 or rows * width <= tokens for rows, width in sizes)
