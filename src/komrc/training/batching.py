"""Which windows form a batch: of like length, in an order that depends on seed and epoch alone."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Sampler

# Windows of this many batches are shuffled among themselves: enough chance, little padding.
_BATCHES_IN_POOL = 16


class LengthGrouped(Sampler[list[int]]):
    """Batches of windows of like length.

    Windows are sorted by length and cut into pools; each epoch shuffles inside the pools, cuts them into
    batches and shuffles the batches. The number of batches is the same in every epoch, and epoch and seed
    alone decide what is in them: a run can be taken up anywhere.

    Args:
        lengths: [N] tokens of each window.
        batch_size: windows a batch and process; or, with ``token_budget``, ignored.
        token_budget: the most tokens in a process's share of a batch, padding included (a single longer
            window still is a share).
        seed: of the order.
        processes: how many share each batch.
    """

    def __init__(
        self,
        lengths: NDArray[np.integer],
        *,
        batch_size: int,
        token_budget: int | None,
        seed: int,
        processes: int = 1,
    ) -> None:
        order = np.argsort(lengths, kind="stable")
        self._seed = seed
        self._epoch = 0
        self._pools: list[tuple[NDArray[np.intp], int]] = []
        first = 0

        def room(window: np.intp) -> int:
            return processes * max(1, (token_budget or 0) // int(lengths[window]))

        while first < len(order):
            size = batch_size * processes
            if token_budget is not None:
                # The pool's longest window bounds every batch in it; two rounds settle how far it reaches.
                size = room(order[first])
                for _ in range(2):
                    last = min(len(order), first + size * _BATCHES_IN_POOL) - 1
                    size = room(order[last])
            pool = order[first : first + size * _BATCHES_IN_POOL]
            if token_budget is not None:
                size = room(pool[-1])
            self._pools.append((pool, -(-len(pool) // size)))
            first += len(pool)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose batches the next iteration yields."""
        self._epoch = epoch

    def __len__(self) -> int:
        return sum(count for _, count in self._pools)

    def __iter__(self) -> Iterator[list[int]]:
        random = np.random.default_rng([self._seed, self._epoch])
        batches: list[NDArray[np.intp]] = []
        for pool, count in self._pools:
            batches.extend(np.array_split(random.permutation(pool), count))
        for i in random.permutation(len(batches)):
            yield batches[i].tolist()
