"""Batches by length: every window once, within the budget, the same for the same seed and epoch."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from komrc.training.sampler import LengthGroupedBatchSampler

LENGTHS = st.lists(st.integers(1, 512), min_size=1, max_size=400).map(np.array)


@given(LENGTHS, st.integers(1, 20), st.none() | st.integers(8, 4096), st.integers(0, 3), st.integers(1, 4))
def test_an_epoch_holds_every_window_once_in_as_many_batches_as_announced(
    lengths: np.ndarray, size: int, budget: int | None, epoch: int, processes: int
) -> None:
    sampler = LengthGroupedBatchSampler(
        lengths, batch_size=size, token_budget=budget, seed=1, world_size=processes
    )
    sampler.set_position(epoch)
    batches = list(sampler)
    assert len(batches) == len(sampler)
    assert sorted(i for batch in batches for i in batch) == list(range(len(lengths)))
    for batch in batches:
        for share in (batch[n::processes] for n in range(min(processes, len(batch)))):
            if budget is None:
                assert 1 <= len(share) <= size
            else:
                assert len(share) == 1 or len(share) * lengths[share].max() <= budget


def test_order_follows_seed_and_epoch_alone() -> None:
    lengths = np.random.default_rng(0).integers(10, 300, 500)

    def order(seed: int, epoch: int) -> list[list[int]]:
        sampler = LengthGroupedBatchSampler(lengths, batch_size=8, token_budget=None, seed=seed)
        sampler.set_position(epoch)
        return list(sampler)

    assert order(1, 0) == order(1, 0)
    sampler = LengthGroupedBatchSampler(lengths, batch_size=8, token_budget=None, seed=1)
    sampler.set_position(0, first_batch=5)
    assert list(sampler) == order(1, 0)[5:]
    assert order(1, 0) != order(1, 1)
    assert order(1, 0) != order(2, 0)


def test_padding_stays_below_a_tenth_where_lengths_vary() -> None:
    lengths = np.random.default_rng(0).integers(60, 384, 3000)
    sampler = LengthGroupedBatchSampler(lengths, batch_size=8, token_budget=4096, seed=1)
    padded = sum(len(batch) * lengths[batch].max() for batch in sampler)
    assert padded < 1.1 * lengths.sum()
