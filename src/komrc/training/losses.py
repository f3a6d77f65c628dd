"""What training minimises: where the answer starts and ends, and how much of its outer tokens it takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from komrc.modeling import SpanReader
from komrc.training.hardware import attention_kernel


@dataclass(frozen=True, slots=True)
class BatchLoss:
    """The forward pass and the loss of a batch.

    Args:
        reader: the model.
        precision: "bf16" computes under autocast.
        boundary_weight: of the boundary head's loss, beside 1 for the span loss.
        alpha: share of the loss that comes from teachers, 0 to 1.
        temperature: divides teachers' and student's logits.
    """

    reader: SpanReader
    precision: Literal["fp32", "bf16"]
    boundary_weight: float
    alpha: float
    temperature: float

    def __call__(self, model: nn.Module, batch: dict[str, Any]) -> Tensor:
        """Sum of the windows' losses over the number of windows that all processes have in the batch.

        Args:
            model: the reader, or the reader wrapped for several processes.
            batch: of ``dataset.WindowDataset``, on the model's device.
        """
        ids = batch["input_ids"]
        self.reader.attention = attention_kernel(ids.device, self.precision, ids.shape[1])
        with torch.autocast(ids.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            outputs = model(ids, batch["attention_mask"], batch.get("token_type_ids"))
        loss: Tensor = (self.of_windows(outputs, batch) * batch["weight"]).sum() / batch["count"]
        return loss

    def of_windows(
        self, outputs: tuple[Tensor, Tensor, Tensor | None, Tensor | None], batch: dict[str, Any]
    ) -> Tensor:
        """The loss of each window: what ``SpanReader.forward`` returned -> [B]."""
        start, end, front, back = outputs
        mask = span_mask(batch["context_start"], batch["context_length"], start.shape[1])
        outer = {"target_start": batch["start"], "target_end": batch["end"]}
        loss = span_loss(start, end, batch["start"], batch["end"], mask)
        if front is not None and back is not None:
            drops = {"drop_front": batch["drop_front"], "drop_back": batch["drop_back"]}
            boundary = boundary_loss(front, back, **outer, **drops)
            if "particle_drop" in batch:
                boundary = boundary + particle_loss(back, batch["particle_drop"])
            loss = loss + self.boundary_weight * boundary
        if "teacher_start" not in batch:
            return loss
        soft = soft_span_loss(
            start, end, (batch["teacher_start"], batch["teacher_end"]), mask, self.temperature
        )
        if front is not None and back is not None:
            soft = soft + self.boundary_weight * soft_boundary_loss(
                front,
                back,
                **outer,
                targets=(batch["teacher_front"], batch["teacher_back"]),
                temperature=self.temperature,
            )
        return (1 - self.alpha) * loss + self.alpha * soft


def span_mask(context_start: Tensor, context_length: Tensor, tokens: int) -> Tensor:
    """Where an answer may start or end: the context's tokens, and position 0 for "not here". [B, L] bool"""
    position = torch.arange(tokens, device=context_start.device)
    inside = (position >= context_start[:, None]) & (position < (context_start + context_length)[:, None])
    return inside | (position == 0)


def span_loss(start: Tensor, end: Tensor, target_start: Tensor, target_end: Tensor, mask: Tensor) -> Tensor:
    """Mean of the two cross-entropies over the allowed positions, per window: [B, L] logits -> [B]."""
    start, end = (logits.float().masked_fill(~mask, -torch.inf) for logits in (start, end))
    first = F.cross_entropy(start, target_start, reduction="none")
    return (first + F.cross_entropy(end, target_end, reduction="none")) / 2


def boundary_loss(
    front: Tensor,
    back: Tensor,
    *,
    target_start: Tensor,
    target_end: Tensor,
    drop_front: Tensor,
    drop_back: Tensor,
) -> Tensor:
    """Mean of the two cross-entropies at the answer's outer tokens, per window: [B, L, 8] logits -> [B].

    0 where a window has no such label (-1).
    """
    row = torch.arange(len(target_start), device=target_start.device)
    first = F.cross_entropy(front[row, target_start].float(), drop_front, ignore_index=-1, reduction="none")
    last = F.cross_entropy(back[row, target_end].float(), drop_back, ignore_index=-1, reduction="none")
    return (first + last) / 2


def particle_loss(back: Tensor, drop: Tensor) -> Tensor:
    """Mean cross-entropy over a window's labelled tokens: [B, L, 8] logits, [B, L] labels or -1 -> [B]."""
    each = F.cross_entropy(back.float().transpose(1, 2), drop, ignore_index=-1, reduction="none")
    return each.sum(1) / (drop >= 0).sum(1).clamp(min=1)


def soft_span_loss(
    start: Tensor, end: Tensor, targets: tuple[Tensor, Tensor], mask: Tensor, temperature: float
) -> Tensor:
    """Cross-entropy with the teachers' probabilities [B, L], both at the temperature, per window: [B].

    Times the temperature squared, so that gradients keep their size (Hinton et al. 2015, section 2).
    """
    losses = []
    for logits, target in zip((start, end), targets, strict=True):
        scaled = (logits.float() / temperature).masked_fill(~mask, -torch.inf)
        log_probs = scaled.log_softmax(-1).masked_fill(~mask, 0.0)
        losses.append(-(target * log_probs).sum(-1))
    return temperature**2 * (losses[0] + losses[1]) / 2


def soft_boundary_loss(
    front: Tensor,
    back: Tensor,
    *,
    target_start: Tensor,
    target_end: Tensor,
    targets: tuple[Tensor, Tensor],
    temperature: float,
) -> Tensor:
    """The same at the answer's outer tokens, with probabilities [B, 8]: [B]; 0 where those are zeros."""
    row = torch.arange(len(target_start), device=target_start.device)
    losses = []
    for logits, at, target in zip((front, back), (target_start, target_end), targets, strict=True):
        log_probs = (logits[row, at].float() / temperature).log_softmax(-1)
        losses.append(-(target * log_probs).sum(-1))
    return temperature**2 * (losses[0] + losses[1]) / 2
