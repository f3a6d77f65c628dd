"""Learning from teachers: what they believe about each training window, computed once before training.

After Hinton et al. 2015, "Distilling the Knowledge in a Neural Network"; several teachers count as the mean
of their probabilities.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from komrc.engines import BOUNDARY_CLASSES
from komrc.errors import ModelError
from komrc.modeling import SpanReader
from komrc.training.dataset import Tensors, WindowDataset
from komrc.training.losses import span_mask
from komrc.windows import batches


@dataclass(frozen=True, slots=True)
class Beliefs:
    """Probabilities of the teachers at a temperature. N windows, T tokens in all.

    ``front`` and ``back`` belong to the labelled tokens; all zeros where a window has no label or the
    teachers have no boundary head.
    """

    start: NDArray[np.float32]  # [T]
    end: NDArray[np.float32]  # [T]
    front: NDArray[np.float32]  # [N, BOUNDARY_CLASSES]
    back: NDArray[np.float32]  # [N, BOUNDARY_CLASSES]
    indptr: NDArray[np.int64]  # [N+1]

    def add_to(self, batch: Tensors, indices: Sequence[int]) -> None:
        """Put the windows' rows into a batch: ``teacher_start``, ``teacher_end`` [B, L] and
        ``teacher_front``, ``teacher_back`` [B, BOUNDARY_CLASSES]."""
        shape = batch["input_ids"].shape
        for name, values in (("teacher_start", self.start), ("teacher_end", self.end)):
            rows = torch.zeros(shape)
            for row, n in enumerate(indices):
                part = values[self.indptr[n] : self.indptr[n + 1]]
                rows[row, : len(part)] = torch.from_numpy(part)
            batch[name] = rows
        batch["teacher_front"] = torch.from_numpy(self.front[list(indices)])
        batch["teacher_back"] = torch.from_numpy(self.back[list(indices)])


@torch.inference_mode()
def ask_teachers(
    teachers: Sequence[SpanReader],
    dataset: WindowDataset,
    *,
    temperature: float,
    device: torch.device,
    precision: Literal["fp32", "bf16"],
    token_budget: int,
    advance: Callable[[int], Any],
) -> Beliefs:
    """What the teachers, all with the student's tokenizer, say about every window of the data set.

    Args:
        temperature: divides their logits.
        token_budget: padded tokens of a batch at most.
        advance: is told of each batch's windows, once a teacher.
    """
    lengths = dataset.lengths
    indptr = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    made = Beliefs(
        start=np.zeros(indptr[-1], np.float32),
        end=np.zeros(indptr[-1], np.float32),
        front=np.zeros((len(lengths), BOUNDARY_CLASSES), np.float32),
        back=np.zeros((len(lengths), BOUNDARY_CLASSES), np.float32),
        indptr=indptr,
    )
    share = 1 / len(teachers)
    with_boundary = sum(teacher.boundary is not None for teacher in teachers)
    for teacher in teachers:
        teacher.to(device).eval()
        for indices in batches(lengths, token_budget=token_budget):
            batch = dataset.whole(indices.tolist())
            inputs = {k: v.to(device) for k, v in batch.items() if isinstance(v, Tensor)}
            half = precision == "bf16"
            with torch.autocast(device.type, dtype=torch.bfloat16) if half else nullcontext():
                start, end, front, back = teacher(
                    inputs["input_ids"], inputs["attention_mask"], inputs.get("token_type_ids")
                )
            mask = span_mask(inputs["context_start"], inputs["context_length"], start.shape[1])
            for flat, logits in ((made.start, start), (made.end, end)):
                masked = (logits.float() / temperature).masked_fill(~mask, -torch.inf)
                beliefs = masked.softmax(-1).cpu().numpy()
                for row, n in enumerate(indices):
                    flat[indptr[n] : indptr[n + 1]] += share * beliefs[row, : lengths[n]]
            if front is not None and back is not None:
                labelled = (inputs["drop_front"] >= 0) & (inputs["drop_back"] >= 0)
                rows = torch.arange(len(indices), device=device)
                for table, logits, at in ((made.front, front, "start"), (made.back, back, "end")):
                    beliefs = (logits[rows, inputs[at]].float() / temperature).softmax(-1)
                    table[indices] += (beliefs * labelled[:, None] / with_boundary).cpu().numpy()
            advance(len(indices))
        teacher.cpu()
    return made


def check_tokenizer(name: str, found: str, wanted: str) -> None:
    """Raises ModelError where a teacher reads other tokens than the student."""
    if found != wanted:
        raise ModelError(
            "the teacher has another tokenizer than the student, so their tokens can't be compared",
            where=name,
            fix="use a teacher with the student's tokenizer",
        )
