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
from torch import Tensor

from benchmarks.probing import frozen_states, probe
from komrc.datasets import load_squad
from komrc.features import WindowConfig, build_windows
from komrc.modeling import SpanReader
from komrc.models import hub
from komrc.tokenization import load_tokenizer
from komrc.training.dataset import WindowDataset
from komrc.training.particle_labels import label_particles

CLASSES = 4  # none, 1, 2, 3 characters or more


def labelled_states(model: SpanReader, dataset: WindowDataset) -> tuple[list[Tensor], Tensor]:
    """States of the labelled tokens after each layer, the embeddings first: each [tokens, H]; labels."""
    found: list[list[Tensor]] = []
    labels = []
    for batch, every in frozen_states(model, dataset):
        labelled = batch["particle_drop"] >= 0
        labels.append(batch["particle_drop"][labelled].clamp(max=CLASSES - 1))
        found.append([state[labelled] for state in every])
    return [torch.cat(layer) for layer in zip(*found, strict=True)], torch.cat(labels)


def recall_and_precision(state: Tensor, labels: Tensor, *, steps: int) -> tuple[float, float]:
    """Of a probe's "so many characters", over the tokens that end in a particle."""
    taught = torch.arange(len(labels)) < len(labels) * 3 // 4
    said = probe(
        state, labels, taught, classes=CLASSES, steps=steps, rows=4096, rate=5e-3, weight_decay=1e-4
    )[~taught]
    true = labels[~taught]
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
    layers, labels = labelled_states(model, dataset)
    print(f"{len(labels):,} tokens, {float((labels > 0).float().mean()):.1%} of them end in a particle")
    print("| layer | recall | precision |\n|---|---|---|")
    for number, state in enumerate(layers):
        recall, precision = recall_and_precision(state, labels, steps=args.steps)
        print(f"| {number} | {recall:.2f} | {precision:.2f} |", flush=True)


if __name__ == "__main__":
    main()
