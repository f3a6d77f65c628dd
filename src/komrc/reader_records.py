"""What a reader works on and returns: examples with their windows and logits, and predictions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from komrc.decoding import Candidate
from komrc.engines import Logits
from komrc.types import NO_ANSWER, Answer, Example
from komrc.windows import Windows


@dataclass(slots=True)
class EncodedBatch:
    """Examples with their windows, and the logits of the windows that the engine has run.

    ``logits``: of all windows' tokens, one window after the other; None before the first run.
    ``shares``: [N], how much each window of a long text shares with its question; None without long texts.
    """

    examples: Sequence[Example]
    windows: Windows
    logits: Logits | None = None
    shares: NDArray[np.float32] | None = None

    def store(self, numbers: Sequence[int] | NDArray[np.intp], logits: Logits) -> None:
        """Keep the logits of these windows, in this order."""
        indptr = self.windows.indptr
        if self.logits is None:
            self.logits = logits.empty_like(int(indptr[-1]))
        at = np.concatenate([np.arange(indptr[n], indptr[n + 1]) for n in numbers])
        for target, values in zip(self.logits.arrays, logits.arrays, strict=True):
            target[at] = values


@dataclass(frozen=True, slots=True)
class Prediction:
    """What was read for one example.

    ``answers``: the best ones, top_k while there are so many; none where the context has nothing that a
    token covers. ``candidates``: all that were ranked, before any particle was trimmed.
    """

    id: str
    answers: tuple[Answer, ...]
    candidates: tuple[Candidate, ...]

    @property
    def best(self) -> Answer:
        """The best answer; the empty one where there is none."""
        return self.answers[0] if self.answers else NO_ANSWER

    @property
    def text(self) -> str:
        """The text of the best answer; empty where there is none."""
        return self.best.text
