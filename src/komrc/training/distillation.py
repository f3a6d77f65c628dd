"""Soft targets from teachers: their probabilities for each training window, computed once before training.

After Hinton et al. 2015, "Distilling the Knowledge in a Neural Network"; of several teachers the mean of
their probabilities is used.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from komrc.engines import BOUNDARY_CLASSES
from komrc.errors import ModelError
from komrc.modeling import SpanReader
from komrc.training.dataset import Tensors, TrainingWindows
from komrc.training.losses import span_mask
from komrc.windows import batches


@dataclass(frozen=True, slots=True)
class SoftTargets:
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
        ``teacher_front``, ``teacher_back`` [B, BOUNDARY_CLASSES], all float32."""
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
def compute_soft_targets(
    teachers: Sequence[SpanReader],
    windows: TrainingWindows,
    *,
    temperature: float,
    device: torch.device,
    precision: Literal["fp32", "bf16"],
    token_budget: int,
    advance: Callable[[int], Any] = lambda _: None,
) -> SoftTargets:
    """Teacher probabilities for every window.

    Args:
        teachers: with the student's tokenizer.
        temperature: divides their logits.
        token_budget: padded tokens of a batch at most.
        advance: progress callback: windows done, counted once for each teacher.
    """
    lengths = windows.lengths
    indptr = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    targets = SoftTargets(
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
            batch = windows.batch(indices.tolist())
            inputs = {k: v.to(device) for k, v in batch.items() if isinstance(v, Tensor)}
            with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
                start, end, front, back = teacher(
                    inputs["input_ids"], inputs["attention_mask"], inputs.get("token_type_ids")
                )
            mask = span_mask(inputs["context_start"], inputs["context_length"], start.shape[1])
            for flat, logits in ((targets.start, start), (targets.end, end)):
                masked = (logits.float() / temperature).masked_fill(~mask, -torch.inf)
                probs = masked.softmax(-1).cpu().numpy()
                for row, n in enumerate(indices):
                    flat[indptr[n] : indptr[n + 1]] += share * probs[row, : lengths[n]]
            if front is not None and back is not None:
                labelled = (inputs["drop_front"] >= 0) & (inputs["drop_back"] >= 0)
                rows = torch.arange(len(indices), device=device)
                for table, logits, at in ((targets.front, front, "start"), (targets.back, back, "end")):
                    probs = (logits[rows, inputs[at]].float() / temperature).softmax(-1)
                    table[indices] += (probs * labelled[:, None] / with_boundary).cpu().numpy()
            advance(len(indices))
        teacher.cpu()
    return targets


def check_tokenizer(teacher: str, fingerprint: str, student_fingerprint: str) -> None:
    """Raises ModelError where a teacher has another tokenizer than the student."""
    if fingerprint != student_fingerprint:
        raise ModelError(
            "the teacher has another tokenizer than the student, so their tokens can't be compared",
            where=teacher,
            fix="use a teacher with the student's tokenizer",
        )
