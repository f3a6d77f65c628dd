"""Ragged batches: cut into microbatches, padded, joined, always every window once and in its order."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from support.batches import random_batch
from support.fake_engine import FakeEngine

from komrc.engines import Batch, Logits

LENGTHS = st.lists(st.integers(1, 40), min_size=1, max_size=12)


@given(LENGTHS, st.integers(0, 120))
def test_microbatches_give_what_the_whole_batch_gives(lengths: list[int], tokens: int) -> None:
    batch, engine = random_batch(*lengths), FakeEngine(boundary=True)
    parts = list(batch.microbatches(tokens))
    assert [n for part in parts for n in part.lengths] == lengths
    assert all(len(part) == 1 or len(part) * part.lengths.max() <= tokens for part in parts)
    assert tokens or all(len(part) == 1 for part in parts)
    joined = Batch.concatenate(parts)
    assert np.array_equal(joined.input_ids, batch.input_ids)
    assert np.array_equal(joined.token_type_ids, batch.token_type_ids)
    assert np.array_equal(joined.indptr, batch.indptr)
    whole, cut = engine.run(batch), Logits.concatenate([engine.run(part) for part in parts])
    assert len(cut.arrays) == 4
    for a, b in zip(whole.arrays, cut.arrays, strict=True):
        assert np.array_equal(a, b)


@given(LENGTHS)
def test_padding_keeps_every_token_in_its_row(lengths: list[int]) -> None:
    batch = random_batch(*lengths)
    ids, mask, types = batch.padded(2)
    assert ids.shape == mask.shape == types.shape == (len(lengths), max(lengths))
    for row, part in enumerate(batch.microbatches(0)):
        size = lengths[row]
        assert ids[row].tolist() == [*part.input_ids.tolist(), *[2] * (max(lengths) - size)]
        assert types[row, :size].tolist() == part.token_type_ids.tolist()
        assert mask[row].tolist() == [1] * size + [0] * (max(lengths) - size)


def test_logits_without_a_boundary_head_have_two_arrays() -> None:
    logits = FakeEngine().run(random_batch(3, 2))
    assert logits.boundary is None and len(logits.arrays) == 2
    more = logits.empty_like(9)
    assert more.boundary is None and more.start.shape == (9,)
    with_head = FakeEngine(boundary=True).run(random_batch(3, 2)).empty_like(9)
    assert with_head.boundary is not None and with_head.boundary.back.shape == (9, 8)
