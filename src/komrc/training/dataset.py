"""Windows as the trainer takes them: one item is a whole batch of tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from komrc.engines import Batch
from komrc.windows import Windows, collate

if TYPE_CHECKING:
    from komrc.training.distilling import Beliefs
    from komrc.training.particle_labels import ParticleLabels

Tensors = dict[str, Any]

# In a batch -> in Windows.
_LABELS = {
    "start": "start_position",
    "end": "end_position",
    "drop_front": "drop_front",
    "drop_back": "drop_back",
    "context_start": "context_start",
    "context_length": "context_length",
}


class WindowDataset(Dataset[Tensors]):
    """Labelled windows; ``__getitems__`` puts a batch together.

    A batch holds ``input_ids``, ``attention_mask`` and maybe ``token_type_ids`` [B, L]; ``start``, ``end``,
    ``drop_front``, ``drop_back``, ``context_start``, ``context_length`` [B], int64; ``weight`` [B] (0 for a
    window that only fills a process's share); ``count`` (windows in the batch over all processes) and
    ``tokens`` (real tokens in it over all processes), both int.

    Args:
        parts: windows of each file with the window numbers to use.
        pad_id: fills rows.
        token_types: whether the model takes token types.
        rank, world_size: which share of each batch this process takes.
    """

    def __init__(
        self,
        parts: Sequence[tuple[Windows, NDArray[np.intp]]],
        *,
        pad_id: int,
        token_types: bool,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.parts = parts
        self._part = np.concatenate([np.full(len(chosen), i) for i, (_, chosen) in enumerate(parts)])
        self._window = np.concatenate([chosen for _, chosen in parts]).astype(np.intp)
        self._pad_id = pad_id
        self._token_types = token_types
        self._rank = rank
        self._world_size = world_size
        self.beliefs: Beliefs | None = None  # what teachers think of the windows, where there are any
        self.particles: ParticleLabels | None = None
        self.lengths: NDArray[np.int64] = np.concatenate([w.lengths[chosen] for w, chosen in parts])

    def __len__(self) -> int:
        return len(self._window)

    def __getitems__(self, indices: list[int]) -> Tensors:
        share = indices[self._rank :: self._world_size]
        idle = not share  # fewer windows than processes: this one computes along, for nothing
        batch = self.whole(share or indices[:1])
        for more in (self.beliefs, self.particles):
            if more is not None:
                more.add_to(batch, share or indices[:1])
        if idle:
            batch["weight"].zero_()
        batch["count"] = len(indices)
        batch["tokens"] = int(self.lengths[indices].sum())
        return batch

    def whole(self, indices: list[int]) -> Tensors:
        """The batch of these windows, not shared out."""
        chosen = [(self.parts[self._part[i]][0], self._window[i]) for i in indices]
        ids, mask, types = Batch.concatenate(
            [collate(windows, np.array([n])) for windows, n in chosen]
        ).padded(self._pad_id)
        batch: Tensors = {"input_ids": torch.from_numpy(ids), "attention_mask": torch.from_numpy(mask)}
        if self._token_types:
            batch["token_type_ids"] = torch.from_numpy(types)
        for key, column in _LABELS.items():
            batch[key] = torch.tensor([int(getattr(windows, column)[n]) for windows, n in chosen])
        batch["weight"] = torch.ones(len(chosen))
        batch["count"] = len(indices)
        batch["tokens"] = int(mask.sum())
        return batch


def choose_windows(windows: Windows, *, negative_share: float, seed: int) -> NDArray[np.intp]:
    """Numbers of the windows to train on: all that hold their answer, a share of those that don't.

    Windows of questions without an answer are among those that don't hold one.
    """
    negative = windows.start_position == 0
    lucky = np.random.default_rng([seed, 0]).random(len(windows)) < negative_share
    return np.nonzero(~negative | lucky)[0]
