"""A batch in pieces of the size that a CPU computes fastest."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from komrc.engines import Batch, Logits

# Padded tokens. On a CPU a few hundred keep every core busy, and more of them only move activations out of
# the caches (docs/benchmarks.md).
TOKENS = 640


def in_portions(
    batch: Batch, compute: Callable[[Batch], Sequence[NDArray[np.float32]]], tokens: int = TOKENS
) -> Logits:
    """A batch's logits, computed so many tokens at a time, each portion padded to its own longest window.

    ``compute`` returns what ``Logits`` holds, in its order. With 0 tokens it gets one window at a time.
    """
    lengths = batch.attention_mask.sum(axis=1)
    results: list[NDArray[np.float32]] = []
    for first, last in _portions(lengths, tokens):
        cut = (slice(first, last), slice(0, int(lengths[first:last].max())))
        types = batch.token_type_ids
        portion = Batch(
            batch.input_ids[cut], batch.attention_mask[cut], None if types is None else types[cut]
        )
        found = compute(portion)
        if not results:
            results = [np.zeros((*batch.input_ids.shape, *v.shape[2:]), np.float32) for v in found]
        for target, values in zip(results, found, strict=True):
            target[cut] = values
    return Logits(*results)


def _portions(lengths: NDArray[np.int64], tokens: int) -> Iterator[tuple[int, int]]:
    """Rows [first, last): as many as fit, but at least one."""
    first, longest = 0, 0
    for row, length in enumerate(lengths.tolist()):
        longest = max(longest, length)
        if row > first and (row + 1 - first) * longest > tokens:
            yield first, row
            first, longest = row, length
    yield first, len(lengths)
