"""The losses, against a plain loop."""

from __future__ import annotations

import math

import torch

from komrc.training.losses import boundary_loss, span_loss, span_mask


def plain(logits: list[float], target: int, allowed: list[int]) -> float:
    return -math.log(math.exp(logits[target]) / sum(math.exp(logits[i]) for i in allowed))


def test_only_the_context_and_the_first_position_compete() -> None:
    torch.manual_seed(0)
    start, end = torch.randn(2, 7), torch.randn(2, 7)
    mask = span_mask(torch.tensor([3, 2]), torch.tensor([3, 4]), 7)
    assert mask.int().tolist() == [[1, 0, 0, 1, 1, 1, 0], [1, 0, 1, 1, 1, 1, 0]]
    found = span_loss(start, end, torch.tensor([4, 0]), torch.tensor([5, 0]), mask)
    for row, (first, last) in enumerate([(4, 5), (0, 0)]):
        allowed = mask[row].nonzero().flatten().tolist()
        wanted = plain(start[row].tolist(), first, allowed) + plain(end[row].tolist(), last, allowed)
        assert math.isclose(found[row].item(), wanted / 2, rel_tol=1e-5)


def test_a_window_without_a_boundary_label_costs_nothing_there() -> None:
    torch.manual_seed(0)
    front, back = torch.randn(2, 5, 8), torch.randn(2, 5, 8)
    found = boundary_loss(
        front,
        back,
        target_start=torch.tensor([2, 0]),
        target_end=torch.tensor([3, 0]),
        drop_front=torch.tensor([1, -1]),
        drop_back=torch.tensor([7, -1]),
    )
    every = list(range(8))
    wanted = (plain(front[0, 2].tolist(), 1, every) + plain(back[0, 3].tolist(), 7, every)) / 2
    assert math.isclose(found[0].item(), wanted, rel_tol=1e-5)
    assert found[1].item() == 0.0
