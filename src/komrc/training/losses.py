"""What training minimises: where the answer starts and ends, and how much of its outer tokens it takes."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


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
    start: Tensor, end: Tensor, beliefs: tuple[Tensor, Tensor], mask: Tensor, temperature: float
) -> Tensor:
    """Cross-entropy with the teachers' probabilities [B, L], both at the temperature, per window: [B].

    Times the temperature squared, so that gradients keep their size (Hinton et al. 2015, section 2).
    """
    losses = []
    for logits, wanted in zip((start, end), beliefs, strict=True):
        scaled = (logits.float() / temperature).masked_fill(~mask, -torch.inf)
        said = scaled.log_softmax(-1).masked_fill(~mask, 0.0)
        losses.append(-(wanted * said).sum(-1))
    return temperature**2 * (losses[0] + losses[1]) / 2


def soft_boundary_loss(
    front: Tensor,
    back: Tensor,
    *,
    target_start: Tensor,
    target_end: Tensor,
    beliefs: tuple[Tensor, Tensor],
    temperature: float,
) -> Tensor:
    """The same at the answer's outer tokens, with probabilities [B, 8]: [B]; 0 where those are zeros."""
    row = torch.arange(len(target_start), device=target_start.device)
    losses = []
    for logits, at, wanted in zip((front, back), (target_start, target_end), beliefs, strict=True):
        said = (logits[row, at].float() / temperature).log_softmax(-1)
        losses.append(-(wanted * said).sum(-1))
    return temperature**2 * (losses[0] + losses[1]) / 2
