"""Which windows form a batch: of similar length, in an order that depends on seed and epoch alone."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Sampler

# Windows of this many batches are shuffled among themselves: enough randomness, little padding.
_BATCHES_IN_POOL = 16


class LengthGroupedBatchSampler(Sampler[list[int]]):
    """Batches of windows of similar length.

    Windows are sorted by length and cut into pools; each epoch shuffles inside the pools, cuts them into
    batches and shuffles the batches. The number of batches is the same in every epoch, and epoch and seed
    alone decide what is in them, so a run can be resumed at any batch.

    Args:
        lengths: [N] tokens of each window.
        batch_size: windows in a process's share of a batch; ignored with ``token_budget``.
        token_budget: the most tokens in a process's share of a batch, padding included (a single longer
            window is still a share).
        seed: of the order.
        world_size: how many processes share each batch.
    """

    def __init__(
        self,
        lengths: NDArray[np.integer],
        *,
        batch_size: int,
        token_budget: int | None,
        seed: int,
        world_size: int = 1,
    ) -> None:
        order = np.argsort(lengths, kind="stable")
        self._seed = seed
        self._epoch = self._first_batch = 0
        self._pools: list[tuple[NDArray[np.intp], int]] = []
        first = 0

        def budgeted_size(window: np.intp) -> int:
            return world_size * max(1, (token_budget or 0) // int(lengths[window]))

        while first < len(order):
            size = batch_size * world_size
            if token_budget is not None:
                # The pool's longest window bounds every batch in it; two rounds settle where the pool ends.
                size = budgeted_size(order[first])
                for _ in range(2):
                    last = min(len(order), first + size * _BATCHES_IN_POOL) - 1
                    size = budgeted_size(order[last])
            pool = order[first : first + size * _BATCHES_IN_POOL]
            if token_budget is not None:
                size = budgeted_size(pool[-1])
            self._pools.append((pool, -(-len(pool) // size)))
            first += len(pool)

    def set_position(self, epoch: int, first_batch: int = 0) -> None:
        """Choose the epoch that the next iteration yields, and the number of batches that it skips."""
        self._epoch, self._first_batch = epoch, first_batch

    def __len__(self) -> int:
        """Batches in a whole epoch."""
        return sum(count for _, count in self._pools)

    def __iter__(self) -> Iterator[list[int]]:
        random = np.random.default_rng([self._seed, self._epoch])
        batches: list[NDArray[np.intp]] = []
        for pool, count in self._pools:
            batches.extend(np.array_split(random.permutation(pool), count))
        for i in random.permutation(len(batches))[self._first_batch :]:
            yield batches[i].tolist()
