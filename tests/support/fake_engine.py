"""An engine without a model: logits that depend on the tokens alone, for tests and load trials."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from komrc.engines import BOUNDARY_CLASSES, Batch, Logits


class FakeEngine:
    """Logits in [-8, 8) that depend on the token and on all tokens before it, of its window.

    Args:
        boundary: whether to give logits of a boundary head too.
    """

    name = "fake"

    def __init__(self, *, boundary: bool = False) -> None:
        self.boundary = boundary

    def run(self, batch: Batch) -> Logits:
        """Logits of a batch."""
        shifted = batch.input_ids + 1
        sums = np.cumsum(shifted)
        first = np.repeat(batch.indptr[:-1], batch.lengths)
        before = (sums - sums[first] + shifted[first]).astype(np.uint64)
        drops = np.arange(2, 2 + 2 * BOUNDARY_CLASSES).reshape(2, BOUNDARY_CLASSES, 1)
        boundary = [np.moveaxis(_scatter(before, salts), 0, -1) for salts in drops] if self.boundary else []
        return Logits.of([_scatter(before, np.array(0)), _scatter(before, np.array(1)), *boundary])


def _scatter(values: NDArray[np.uint64], salt: NDArray[np.int64]) -> NDArray[np.float32]:
    """Numbers that look random, from numbers (the finalizer of MurmurHash3)."""
    h = values + salt.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    for factor in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
        h = (h ^ (h >> np.uint64(33))) * np.uint64(factor)
    h ^= h >> np.uint64(33)
    return ((h >> np.uint64(40)).astype(np.float32) / np.float32(1 << 20)) - np.float32(8)
