"""Labels for the boundary head at every token of a passage: how many of its characters are a particle.

One question labels one token, and nine in ten of those labels are 0 characters. A morphological analysis of
the passage labels all tokens.
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
from komrc.training.dataset import Tensors, TrainingWindows
from komrc.types import Example
from komrc.windows import Windows, in_visible_text


@dataclass(frozen=True, slots=True)
class ParticleLabels:
    """Characters to drop at the back of a token if it were an answer's last one; -1 where nothing of it would
    be left, and outside the context. N windows, T tokens in all."""

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
    windows: TrainingWindows,
    examples: Sequence[Sequence[Example]],
    *,
    advance: Callable[[int], object] = lambda _: None,
) -> ParticleLabels:
    """Labels of all windows.

    Args:
        windows: of one or more data sets.
        examples: of each of these data sets.
        advance: progress callback: distinct contexts done.

    Raises MissingPackageError where kiwipiepy is not installed.
    """
    indptr = np.concatenate([[0], np.cumsum(windows.lengths)]).astype(np.int64)
    drop = np.full(indptr[-1], -1, np.int8)
    n = 0
    for (part, chosen), of_part in zip(windows.parts, examples, strict=True):
        of_context = _drops(part, of_part, advance)
        for number in chosen:
            context = int(part.context[part.example[number]])
            first, length = int(part.first_token[number]), int(part.context_length[number])
            begin = indptr[n] + part.context_start[number]
            drop[begin : begin + length] = of_context[context][first : first + length]
            n += 1
    return ParticleLabels(drop, indptr)


def distinct_contexts(windows: Windows) -> int:
    """How many different texts the windows come from."""
    return len(windows.context_indptr) - 1


def _drops(
    windows: Windows, examples: Sequence[Example], advance: Callable[[int], object]
) -> list[NDArray[np.int8]]:
    """The labels of each distinct context's tokens."""
    texts = [""] * distinct_contexts(windows)
    for example, number in zip(examples, windows.context, strict=True):
        texts[number] = example.context
    cleared = [visible(text) for text in texts]  # dropped characters are counted in the visible text
    windows = in_visible_text(windows, dict(enumerate(cleared)))
    texts = [text.text for text in cleared]
    bounds = list(zip(windows.context_indptr, windows.context_indptr[1:], strict=False))
    tokens = [np.stack([windows.char_start[a:b], windows.char_end[a:b]], axis=1) for a, b in bounds]
    labels = []
    for spans, ends in zip(tokens, trim_tokens(texts, tokens, advance=advance), strict=True):
        drop = spans[:, 1] - ends
        labels.append(np.where((ends > spans[:, 0]) & (drop < BOUNDARY_CLASSES), drop, -1).astype(np.int8))
    return labels
