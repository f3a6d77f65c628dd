"""Random batches for engines."""

from __future__ import annotations

import numpy as np

from komrc.engines import Batch


def random_batch(*lengths: int, vocab: int = 60, seed: int = 0) -> Batch:
    """Windows of these lengths: ids from 5 to below ``vocab``, type 0 on the first four tokens, then 1."""
    indptr = np.concatenate([[0], np.cumsum(lengths)])
    ids = np.random.default_rng(seed).integers(5, vocab, indptr[-1])
    types = np.concatenate([(np.arange(length) > 3).astype(np.int64) for length in lengths])
    return Batch(ids, types, indptr)


def window(batch: Batch, number: int) -> Batch:
    """One window alone."""
    return list(batch.microbatches(0))[number]


def tokens(batch: Batch, number: int) -> slice:
    """Where a window's tokens are in the batch."""
    return slice(int(batch.indptr[number]), int(batch.indptr[number + 1]))
