"""The windows to train on, and their batches as tensors."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from komrc.engines import Batch
from komrc.windows import Windows, collate

Tensors = dict[str, Any]

# Name in a batch -> field of Windows.
_LABELS = {
    "start": "start_position",
    "end": "end_position",
    "drop_front": "drop_front",
    "drop_back": "drop_back",
    "context_start": "context_start",
    "context_length": "context_length",
}


class TrainingWindows:
    """The labelled windows of one or more data sets, numbered from 0 to N - 1.

    Args:
        parts: the windows of each data set, with the numbers of those to use.
        pad_id: fills rows.
        token_types: whether the model takes token types.

    Attributes:
        parts: as given.
        lengths: [N] int64, tokens of each window.
    """

    def __init__(
        self, parts: Sequence[tuple[Windows, NDArray[np.intp]]], *, pad_id: int, token_types: bool
    ) -> None:
        self.parts = parts
        self.lengths: NDArray[np.int64] = np.concatenate([w.lengths[chosen] for w, chosen in parts])
        self._part = np.concatenate([np.full(len(chosen), i) for i, (_, chosen) in enumerate(parts)])
        self._window = np.concatenate([chosen for _, chosen in parts]).astype(np.intp)
        self._pad_id = pad_id
        self._token_types = token_types

    def __len__(self) -> int:
        return len(self._window)

    @property
    def without_answer(self) -> int:
        """How many of the windows don't hold their answer."""
        return sum(int((windows.start_position[chosen] == 0).sum()) for windows, chosen in self.parts)

    def batch(self, indices: Sequence[int]) -> Tensors:
        """B windows as tensors.

        ``input_ids``, ``attention_mask`` and, where the model takes them, ``token_type_ids``: int64 [B, L].
        ``start``, ``end``, ``drop_front``, ``drop_back``, ``context_start``, ``context_length``: int64 [B].
        """
        runs = [
            (self.parts[part][0], self._window[list(run)])
            for part, run in groupby(indices, key=lambda i: self._part[i])
        ]
        flat = Batch.concatenate([collate(windows, numbers) for windows, numbers in runs])
        ids, mask, types = flat.padded(self._pad_id)
        batch: Tensors = {"input_ids": torch.from_numpy(ids), "attention_mask": torch.from_numpy(mask)}
        if self._token_types:
            batch["token_type_ids"] = torch.from_numpy(types)
        for name, field in _LABELS.items():
            values = np.concatenate([getattr(windows, field)[numbers] for windows, numbers in runs])
            batch[name] = torch.from_numpy(values.astype(np.int64))
        return batch


class ExtraTargets(Protocol):
    """Further targets of every window, beside the answers."""

    def add_to(self, batch: Tensors, indices: Sequence[int]) -> None:
        """Put the targets of these windows into their batch."""
        ...


class WindowDataset(Dataset[Tensors]):
    """What the data loader reads: ``__getitems__`` puts this process's share of a batch together.

    A batch contains the tensors of ``TrainingWindows.batch``, those of the extra targets, ``weight`` float32
    [B] (0 for a window that only fills an empty share), ``count`` (windows of the batch in all processes)
    and ``tokens`` (real tokens of the batch in all processes), both int.

    Args:
        windows: to train on.
        targets: further targets, such as teachers' probabilities.
        rank, world_size: which share of each batch this process takes.
    """

    def __init__(
        self,
        windows: TrainingWindows,
        targets: Sequence[ExtraTargets] = (),
        *,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self._windows = windows
        self._targets = targets
        self._rank = rank
        self._world_size = world_size

    def __len__(self) -> int:
        return len(self._windows)

    def __getitems__(self, indices: list[int]) -> Tensors:
        share = indices[self._rank :: self._world_size]
        used = share or indices[:1]  # fewer windows than ranks: this rank runs a window with weight 0
        batch = self._windows.batch(used)
        for target in self._targets:
            target.add_to(batch, used)
        batch["weight"] = torch.full((len(used),), 1.0 if share else 0.0)
        batch["count"] = len(indices)
        batch["tokens"] = int(self._windows.lengths[indices].sum())
        return batch


def choose_windows(windows: Windows, *, negative_share: float, seed: int) -> NDArray[np.intp]:
    """Numbers of the windows to train on: all that hold their answer, a share of those that don't.

    Windows of questions without an answer are among those that don't hold one.
    """
    negative = windows.start_position == 0
    sampled = np.random.default_rng([seed, 0]).random(len(windows)) < negative_share
    return np.nonzero(~negative | sampled)[0]
