"""A batch in pieces of the size that a CPU computes fastest."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from komrc.engines import Batch, Logits

# Padded tokens. On a CPU a few hundred keep every core busy, and more of them only move activations out of
# the caches (docs/benchmarks.md).
TOKENS = 640


Compute = Callable[[Batch], Sequence[NDArray[np.float32]]]


def in_portions(
    batch: Batch,
    compute: Compute,
    tokens: int = TOKENS,
    *,
    spread: Callable[[Compute, Iterable[Batch]], Iterable[Sequence[NDArray[np.float32]]]] = map,
) -> Logits:
    """A batch's logits, computed so many tokens at a time, each portion padded to its own longest window.

    ``compute`` returns what ``Logits`` holds, in its order. With 0 tokens it gets one window at a time.
    ``spread`` is ``map`` or works like it, as an Executor's does.
    """
    lengths = batch.attention_mask.sum(axis=1)
    cuts = [
        (slice(first, last), slice(0, int(lengths[first:last].max())))
        for first, last in _portions(lengths, tokens)
    ]
    types = batch.token_type_ids
    portions = [
        Batch(batch.input_ids[cut], batch.attention_mask[cut], None if types is None else types[cut])
        for cut in cuts
    ]
    results: list[NDArray[np.float32]] = []
    for cut, found in zip(cuts, spread(compute, portions), strict=True):
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
