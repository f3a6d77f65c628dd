"""In which layers of a reader a token's inside can still be seen.

For each layer a linear probe on frozen states says how many characters of a token are a particle, as
kiwipiepy's analysis has it; three quarters of the tokens teach it, the rest tell how well it does.

    python -m benchmarks.boundary_probe ../shared/data/korquad/KorQuAD_v1.0_prerelease-2018-09.json
"""

from __future__ import annotations

import argparse
import random
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from komrc import hub
from komrc.datasets import load_squad
from komrc.features import WindowConfig, build_windows
from komrc.modeling import SpanReader
from komrc.tokenization import load_tokenizer
from komrc.training.dataset import WindowDataset
from komrc.training.particle_labels import label_particles

BATCH = 8
CLASSES = 4  # none, 1, 2, 3 characters or more


def states(model: SpanReader, dataset: WindowDataset) -> tuple[list[Tensor], Tensor]:
    """States of the labelled tokens after each layer, the embeddings first: each [tokens, H]; labels."""
    found: list[list[Tensor]] = []
    labels = []
    for at in range(0, len(dataset), BATCH):
        batch = dataset.__getitems__(list(range(at, min(at + BATCH, len(dataset)))))
        types = {"token_type_ids": batch["token_type_ids"]} if model.uses_token_types else {}
        with torch.inference_mode():
            every = model.qa.base_model(
                batch["input_ids"], batch["attention_mask"], output_hidden_states=True, **types
            ).hidden_states
        labelled = batch["particle_drop"] >= 0
        labels.append(batch["particle_drop"][labelled].clamp(max=CLASSES - 1))
        found.append([state[labelled] for state in every])
    return [torch.cat(layer) for layer in zip(*found, strict=True)], torch.cat(labels)


def probe(state: Tensor, labels: Tensor, *, steps: int) -> tuple[float, float]:
    """Recall and precision of "so many characters" over the tokens that end in a particle."""
    torch.manual_seed(0)
    taught = len(labels) * 3 // 4
    state = (state - state[:taught].mean(0)) / state[:taught].std(0)
    linear = torch.nn.Linear(state.shape[1], CLASSES)
    optimizer = torch.optim.Adam(linear.parameters(), lr=5e-3, weight_decay=1e-4)
    for _ in range(steps):
        rows = torch.randint(0, taught, (4096,))
        loss = F.cross_entropy(linear(state[rows]), labels[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.inference_mode():
        said, true = linear(state[taught:]).argmax(1), labels[taught:]
    right = float(((said == true) & (true > 0)).sum())
    return right / float((true > 0).sum()), right / max(1.0, float((said > 0).sum()))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", help="folder or hub id (default: the embedded reader)")
    parser.add_argument("--passages", type=int, default=260)
    parser.add_argument("--steps", type=int, default=300)
    args = parser.parse_args()
    folder = hub.resolve(args.model)
    model, tokenizer = SpanReader.from_pretrained(folder), load_tokenizer(folder)
    examples = load_squad(args.data)
    random.Random(5).shuffle(examples)
    chosen = list({example.context: example for example in examples}.values())[: args.passages]
    windows = build_windows(chosen, tokenizer, WindowConfig(384, 384, 64), labels=True)
    dataset = WindowDataset(
        [(windows, np.arange(len(windows)))], pad_id=tokenizer.pad_id, token_types=model.uses_token_types
    )
    dataset.particles = label_particles(dataset, [chosen], advance=lambda _: None)
    layers, labels = states(model, dataset)
    print(f"{len(labels):,} tokens, {float((labels > 0).float().mean()):.1%} of them end in a particle")
    print("| layer | recall | precision |\n|---|---|---|")
    for number, state in enumerate(layers):
        recall, precision = probe(state, labels, steps=args.steps)
        print(f"| {number} | {recall:.2f} | {precision:.2f} |", flush=True)


if __name__ == "__main__":
    main()
