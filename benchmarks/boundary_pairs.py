"""What the boundary head still gets wrong, and whether the answer's other end would help it.

The tokens that cover each answer are given, as if start and end had been found. Then: how often the reader's
own head cuts the answer out of them exactly; and how often linear probes on frozen states do, one that sees
the token to be cut, as the head does, and one that sees the states of both outer tokens. Every fourth article
tells how well the probes do, the others teach them.

    python -m benchmarks.boundary_pairs ../shared/data/korquad/KorQuAD_v1.0_dev.json
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.probing import frozen_states, probe
from komrc.datasets import load_squad
from komrc.features import WindowConfig, build_windows
from komrc.modeling import SpanReader
from komrc.modeling.span_reader import boundary_layer
from komrc.models import hub
from komrc.tokenization import load_tokenizer
from komrc.training.dataset import WindowDataset
from komrc.types import BOUNDARY_CLASSES


def outer_states(model: SpanReader, dataset: WindowDataset) -> tuple[Tensor, Tensor, Tensor]:
    """Of N windows: the outer tokens' states [N, 2, H], characters to drop [N, 2], the head's [N, 2]."""
    assert model.boundary is not None
    layer = boundary_layer(int(model.config.num_hidden_layers))
    states, labels, said = [], [], []
    for batch, every in frozen_states(model, dataset):
        rows = torch.arange(len(batch["start"]))
        outer = torch.stack([every[layer][rows, batch["start"]], every[layer][rows, batch["end"]]], 1)
        states.append(outer)
        with torch.inference_mode():
            said.append(torch.stack([model.boundary(outer)[n][:, n].argmax(-1) for n in (0, 1)], 1))
        labels.append(torch.stack([batch["drop_front"], batch["drop_back"]], 1))
    return torch.cat(states), torch.cat(labels), torch.cat(said)


def cuts(states: tuple[Tensor, Tensor], labels: Tensor, taught: Tensor, *, steps: int) -> Tensor:
    """What probes say is to be dropped at both ends [untaught, 2], from a state for each end: [N, H]."""
    said = [
        probe(
            state, labels[:, n], taught, classes=BOUNDARY_CLASSES, steps=steps, rows=1024, rate=2e-3,
            weight_decay=1e-3,
        )[~taught]
        for n, state in enumerate(states)
    ]  # fmt: skip
    return torch.stack(said, 1)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument(
        "--model", help="folder or hub id of a reader with a boundary head (default: embedded)"
    )
    parser.add_argument("--steps", type=int, default=400)
    args = parser.parse_args()
    folder = hub.resolve(args.model)
    model, tokenizer = SpanReader.from_pretrained(folder), load_tokenizer(folder)
    examples = load_squad(args.data)
    windows = build_windows(examples, tokenizer, WindowConfig(384, 128, 64), labels=True)
    (holds,) = np.nonzero(windows.drop_back >= 0)
    _, first = np.unique(windows.example[holds], return_index=True)
    chosen = holds[first]  # of each question the first window that holds the answer
    dataset = WindowDataset([(windows, chosen)], pad_id=tokenizer.pad_id, token_types=model.uses_token_types)
    states, labels, said = outer_states(model, dataset)
    number = {title: n for n, title in enumerate(dict.fromkeys(example.title for example in examples))}
    taught = torch.tensor([number[examples[windows.example[n]].title] % 4 > 0 for n in chosen])
    inside = (labels > 0).any(1)[~taught]
    both = states.flatten(1)
    rows = {
        "the reader's head": said[~taught],
        "probe of the token": cuts((states[:, 0], states[:, 1]), labels, taught, steps=args.steps),
        "probe of both outer tokens": cuts((both, both), labels, taught, steps=args.steps),
    }
    print(f"{len(inside):,} answers, {int(inside.sum()):,} of them begin or end inside a token")
    print("| cut by | exact | of those inside a token | of the others |\n|---|---|---|---|")
    for name, cut in rows.items():
        right = (cut == labels[~taught]).all(1).float()
        shares = [float(part.mean()) for part in (right, right[inside], right[~inside])]
        print(f"| {name} | " + " | ".join(f"{100 * share:.1f}" for share in shares) + " |")


if __name__ == "__main__":
    main()
