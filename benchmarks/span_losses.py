"""Train as ``komrc train`` does, with another loss over the start and end logits.

    python -m benchmarks.span_losses joint train --model work/cut --train-file … --output-dir …

``separate``: what komrc train uses, the mean of one softmax over starts and one over ends.
``joint``: one softmax over all spans of up to 30 tokens, which is what decoding ranks by.
``smoothed``: separate, with a tenth of each target spread over all tokens that the answer covers.
"""

from __future__ import annotations

import sys

import torch
import torch.nn.functional as F
from torch import Tensor

from komrc.cli import main
from komrc.training import trainer
from komrc.training.losses import span_loss

LONGEST = 30  # tokens of an answer in decoding
SPREAD = 0.1


def joint(start: Tensor, end: Tensor, target_start: Tensor, target_end: Tensor, mask: Tensor) -> Tensor:
    """Half of the cross-entropy over spans (so that it has the others' size): [B, L] logits -> [B]."""
    start, end = (logits.float().masked_fill(~mask, -torch.inf) for logits in (start, end))
    longest = max(LONGEST, int((target_end - target_start).max()) + 1)
    ahead = F.pad(end, (0, longest - 1), value=-torch.inf).unfold(1, longest, 1)
    spans = start[:, :, None] + ahead
    spans[:, 0, 1:] = -torch.inf  # position 0 is "not here", alone
    rows = torch.arange(len(start), device=start.device)
    right = start[rows, target_start] + end[rows, target_end]
    return (spans.flatten(1).logsumexp(1) - right) / 2


def smoothed(start: Tensor, end: Tensor, target_start: Tensor, target_end: Tensor, mask: Tensor) -> Tensor:
    """Cross-entropies with targets of 0.9 at the right token and 0.1 over the answer's: [B, L] -> [B]."""
    sharp = span_loss(start, end, target_start, target_end, mask)
    position = torch.arange(start.shape[1], device=start.device)
    covered = (position >= target_start[:, None]) & (position <= target_end[:, None])
    wanted = covered / covered.sum(1, keepdim=True)
    said = [
        logits.float().masked_fill(~mask, -torch.inf).log_softmax(1).masked_fill(~mask, 0.0)
        for logits in (start, end)
    ]
    return (1 - SPREAD) * sharp - SPREAD * (wanted * (said[0] + said[1])).sum(1) / 2


LOSSES = {"separate": span_loss, "joint": joint, "smoothed": smoothed}

if __name__ == "__main__":
    name, *rest = sys.argv[1:] or [""]
    if name not in LOSSES:
        sys.exit(f"{__doc__}\nname one of {', '.join(LOSSES)} first")
    trainer.span_loss = LOSSES[name]
    sys.exit(main(rest))
