"""Engines turn token ids into logits. Each one imports its library inside its own module."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from komrc.errors import EngineError
from komrc.types import BOUNDARY_CLASSES

__all__ = ["BOUNDARY_CLASSES", "Batch", "BoundaryLogits", "Engine", "Logits"]

_MAX_ABS_LOGIT = 1e34  # sums and quotients of smaller ones stay within float32


@dataclass(frozen=True, slots=True)
class Batch:
    """B windows, one after the other without padding; T = indptr[-1] tokens.

    ``token_type_ids`` are zeros if the tokenizer has no types; a model without types ignores them.
    """

    input_ids: NDArray[np.int64]  # [T]
    token_type_ids: NDArray[np.int64]  # [T]
    indptr: NDArray[np.int64]  # [B + 1]; window n is tokens indptr[n]:indptr[n + 1]

    def __len__(self) -> int:
        """B, the number of windows."""
        return len(self.indptr) - 1

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of each window, [B]."""
        return np.diff(self.indptr)

    @classmethod
    def concatenate(cls, batches: Sequence[Batch]) -> Batch:
        """The windows of several batches, in their order."""
        if len(batches) == 1:
            return batches[0]
        lengths = np.concatenate([batch.lengths for batch in batches])
        return cls(
            np.concatenate([batch.input_ids for batch in batches]),
            np.concatenate([batch.token_type_ids for batch in batches]),
            np.concatenate([[0], np.cumsum(lengths)]),
        )

    def microbatches(self, tokens: int) -> Iterator[Batch]:
        """Neighbouring windows, at least one, as many as fit into so many tokens when padded.

        With 0 tokens: the windows one at a time.
        """
        first, longest = 0, 0
        for n, length in enumerate(self.lengths.tolist()):
            longest = max(longest, length)
            if n > first and (n + 1 - first) * longest > tokens:
                yield self._slice(first, n)
                first, longest = n, length
        yield self._slice(first, len(self))

    def _slice(self, first: int, last: int) -> Batch:
        begin, end = self.indptr[first], self.indptr[last]
        indptr = self.indptr[first : last + 1] - begin
        return Batch(self.input_ids[begin:end], self.token_type_ids[begin:end], indptr)

    def padded(self, pad_id: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Ids, attention mask (1 on tokens) and token types, each [B, L], padded on the right."""
        lengths = self.lengths
        mask = np.arange(int(lengths.max())) < lengths[:, None]
        ids = np.full(mask.shape, pad_id, np.int64)
        types = np.zeros_like(ids)
        ids[mask], types[mask] = self.input_ids, self.token_type_ids
        return ids, mask.astype(np.int64), types


@dataclass(frozen=True, slots=True)
class BoundaryLogits:
    """Class k: cut k characters off the front of the start token, off the back of the end token."""

    front: NDArray[np.float32]  # [T, BOUNDARY_CLASSES]
    back: NDArray[np.float32]  # [T, BOUNDARY_CLASSES]


@dataclass(frozen=True, slots=True)
class Logits:
    """Logits of T tokens, window after window as in the batch. ``boundary`` is None without that head."""

    start: NDArray[np.float32]  # [T]
    end: NDArray[np.float32]  # [T]
    boundary: BoundaryLogits | None = None

    @classmethod
    def of(cls, arrays: Sequence[NDArray[np.float32]]) -> Logits:
        """From (start, end) or (start, end, front, back)."""
        start, end, *boundary = arrays
        return cls(start, end, BoundaryLogits(*boundary) if boundary else None)

    @classmethod
    def concatenate(cls, parts: Sequence[Logits]) -> Logits:
        """The logits of several batches, in their order; all or none have boundary logits."""
        if len(parts) == 1:
            return parts[0]
        return cls.of([np.concatenate(arrays) for arrays in zip(*(p.arrays for p in parts), strict=True)])

    @property
    def arrays(self) -> tuple[NDArray[np.float32], ...]:
        """(start, end) or (start, end, front, back)."""
        if self.boundary is None:
            return self.start, self.end
        return self.start, self.end, self.boundary.front, self.boundary.back

    def empty_like(self, tokens: int) -> Logits:
        """Uninitialized logits of so many tokens, with boundary logits where these have them."""
        return Logits.of([np.empty((tokens, *values.shape[1:]), np.float32) for values in self.arrays])

    def check_finite(self, where: str) -> None:
        """Raise EngineError, with ``where`` in it, for values that are NaN, infinite or 1e34 and more."""
        for values in self.arrays:
            if not (np.abs(values) < _MAX_ABS_LOGIT).all():
                raise EngineError(
                    "the model gave logits that are not numbers, or far too large",
                    where=where,
                    fix="train the model again, or take the fp32 engine",
                )


class Engine(Protocol):
    """Runs a model. ``run`` may be called from any one thread at a time."""

    name: str  # "torch", "torch-bf16", "onnx", "onnx-int8", "openvino", "openvino-bf16"

    def run(self, batch: Batch) -> Logits:
        """Logits of a batch. Raises EngineError where the library fails."""
        ...
