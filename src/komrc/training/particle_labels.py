"""Labels for the boundary head at every token of a passage: the characters that a particle has of it.

One question labels one token, and nine in ten of those labels say "cut nothing". A morphological analysis of
the passage labels them all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from komrc.engines import BOUNDARY_CLASSES
from komrc.text.invisible import visible
from komrc.text.particles import trim_tokens
from komrc.training.dataset import Tensors, WindowDataset
from komrc.types import Example
from komrc.windows import Windows, in_visible_text


@dataclass(frozen=True, slots=True)
class ParticleLabels:
    """Characters to drop at the back of a token, were it an answer's last; -1 where nothing of it would be
    left, and outside the context. N windows, T tokens in all."""

    drop: NDArray[np.int8]  # [T]
    indptr: NDArray[np.int64]  # [N+1]

    def add_to(self, batch: Tensors, indices: Sequence[int]) -> None:
        """Put the windows' rows into a batch: ``particle_drop`` [B, L], int64."""
        rows = torch.full(batch["input_ids"].shape, -1)
        for row, n in enumerate(indices):
            part = self.drop[self.indptr[n] : self.indptr[n + 1]]
            rows[row, : len(part)] = torch.from_numpy(part.astype(np.int64))
        batch["particle_drop"] = rows


def label_particles(
    dataset: WindowDataset, examples: Sequence[Sequence[Example]], *, advance: Callable[[int], object]
) -> ParticleLabels:
    """Labels of all windows of a data set.

    Args:
        examples: of each of its parts.
        advance: is told of the distinct contexts done.

    Raises UsageError where kiwipiepy is not installed.
    """
    indptr = np.concatenate([[0], np.cumsum(dataset.lengths)]).astype(np.int64)
    drop = np.full(indptr[-1], -1, np.int8)
    at = 0
    for (windows, chosen), asked in zip(dataset.parts, examples, strict=True):
        of_context = _drops(windows, asked, advance)
        for number in chosen:
            context = int(windows.context[windows.example[number]])
            first, length = int(windows.first_token[number]), int(windows.context_length[number])
            begin = indptr[at] + windows.context_start[number]
            drop[begin : begin + length] = of_context[context][first : first + length]
            at += 1
    return ParticleLabels(drop, indptr)


def distinct_contexts(windows: Windows) -> int:
    """How many texts the windows are cut from."""
    return len(windows.context_indptr) - 1


def _drops(
    windows: Windows, examples: Sequence[Example], advance: Callable[[int], object]
) -> list[NDArray[np.int8]]:
    """Of each distinct context, the labels of its tokens."""
    texts = [""] * distinct_contexts(windows)
    for example, number in zip(examples, windows.context, strict=True):
        texts[number] = example.context
    seen = [visible(text) for text in texts]  # what is dropped is counted in visible characters
    windows = in_visible_text(windows, dict(enumerate(seen)))
    texts = [text.text for text in seen]
    bounds = list(zip(windows.context_indptr, windows.context_indptr[1:], strict=False))
    tokens = [np.stack([windows.char_start[a:b], windows.char_end[a:b]], axis=1) for a, b in bounds]
    made = []
    for spans, ends in zip(tokens, trim_tokens(texts, tokens, advance=advance), strict=True):
        drop = spans[:, 1] - ends
        made.append(np.where((ends > spans[:, 0]) & (drop < BOUNDARY_CLASSES), drop, -1).astype(np.int8))
    return made
