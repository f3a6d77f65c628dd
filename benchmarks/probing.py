"""Linear probes on a frozen reader: what can still be seen in its states."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from komrc.modeling import SpanReader
from komrc.training.dataset import WindowDataset

_WINDOWS = 8  # at once


def frozen_states(
    model: SpanReader, dataset: WindowDataset
) -> Iterator[tuple[dict[str, Tensor], tuple[Tensor, ...]]]:
    """Batches of B windows, and each one's states after each layer, the embeddings first: [B, L, H]."""
    for at in range(0, len(dataset), _WINDOWS):
        batch = dataset.__getitems__(list(range(at, min(at + _WINDOWS, len(dataset)))))
        types = {"token_type_ids": batch["token_type_ids"]} if model.uses_token_types else {}
        with torch.inference_mode():
            found = model.qa.base_model(
                batch["input_ids"], batch["attention_mask"], output_hidden_states=True, **types
            )
        yield batch, found.hidden_states


def probe(
    state: Tensor, labels: Tensor, taught: Tensor, *, classes: int, steps: int, rows: int, rate: float,
    weight_decay: float,
) -> Tensor:  # fmt: skip
    """What a linear layer says of N states [N, H], as classes [N], after ``steps`` of learning.

    Each step takes ``rows`` of the ``taught`` [N] states and their labels [N] at random.
    """
    torch.manual_seed(0)
    state = (state - state[taught].mean(0)) / state[taught].std(0)
    linear = torch.nn.Linear(state.shape[1], classes)
    optimizer = torch.optim.Adam(linear.parameters(), lr=rate, weight_decay=weight_decay)
    (known,) = torch.nonzero(taught, as_tuple=True)
    for _ in range(steps):
        chosen = known[torch.randint(0, len(known), (rows,))]
        loss = F.cross_entropy(linear(state[chosen]), labels[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.inference_mode():
        said: Tensor = linear(state).argmax(1)
    return said
