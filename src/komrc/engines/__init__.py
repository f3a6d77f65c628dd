"""Engines turn token ids into logits. Each one imports its library inside its own module."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from komrc.types import BOUNDARY_CLASSES

__all__ = ["BOUNDARY_CLASSES", "Batch", "Engine", "Logits"]


@dataclass(frozen=True, slots=True)
class Batch:
    """Windows of one batch, padded on the right to the longest. B windows, L tokens.

    ``token_type_ids`` is None where the model has no token types.
    """

    input_ids: NDArray[np.int64]  # [B, L]
    attention_mask: NDArray[np.int64]  # [B, L], 1 on tokens, 0 on padding
    token_type_ids: NDArray[np.int64] | None  # [B, L]


@dataclass(frozen=True, slots=True)
class Logits:
    """What an engine returns; values at padding are meaningless.

    ``drop_front`` and ``drop_back`` are None where the model has no boundary head. Their class k says:
    cut k characters off the front of the start token, off the back of the end token.
    """

    start: NDArray[np.float32]  # [B, L]
    end: NDArray[np.float32]  # [B, L]
    drop_front: NDArray[np.float32] | None = None  # [B, L, BOUNDARY_CLASSES]
    drop_back: NDArray[np.float32] | None = None  # [B, L, BOUNDARY_CLASSES]


class Engine(Protocol):
    """Runs a model. ``run`` may be called from any one thread at a time."""

    name: str  # "torch", "torch-bf16", "onnx", "onnx-int8", "openvino", "openvino-bf16", "fake"

    def run(self, batch: Batch) -> Logits:
        """Logits of a batch. Raises EngineError where the library fails."""
        ...
