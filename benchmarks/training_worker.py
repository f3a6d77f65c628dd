"""Training as a process: reads a number, takes that many steps, prints seconds and real tokens.

python -m benchmarks.training_worker komrc|2020|gpu MODEL_FOLDER DATA.json WORK_FOLDER

"gpu" is komrc with batches that keep a large GPU busy.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import torch

LENGTH = 512  # as in the commands of 2020
GPU_TOKENS = 32_768  # in a batch


class Meter:
    """Called before each step; waits for orders between two of them."""

    def __init__(self) -> None:
        self.left = self.asked = 0
        self.began = 0.0
        self.tokens_before = 0
        print(json.dumps({"ready": True}), flush=True)

    def before_step(self, tokens: int) -> None:
        if self.left == 0:
            if self.asked:
                if torch.cuda.is_available():
                    torch.cuda.synchronize()
                seconds = time.perf_counter() - self.began
                reply = {"seconds": seconds, "answers": self.asked, "tokens": tokens - self.tokens_before}
                print(json.dumps(reply), flush=True)
            line = sys.stdin.readline()
            if not line:
                raise SystemExit(0)
            self.left = self.asked = int(line)
            self.tokens_before = tokens
            self.began = time.perf_counter()
        self.left -= 1


def with_komrc(folder: str, data: str, work: Path, tokens: int | None) -> None:
    from komrc.training.callbacks import Callback
    from komrc.training.options import TrainingOptions
    from komrc.training.state import TrainingState
    from komrc.training.train import train

    class BeforeBatch(Callback):
        meter: Meter | None = None

        def on_batch(self, state: TrainingState, batch: dict[str, Any]) -> None:  # noqa: ARG002
            self.meter = self.meter or Meter()
            self.meter.before_step(state.tokens_seen)

    train(
        TrainingOptions(
            model=folder, model_type="kobert", train_file=(data,), output_dir=str(work / "training"),
            cache_dir=str(work / "cache"), overwrite_output_dir=True, max_seq_length=LENGTH, max_steps=10_000,
            save_steps=-1, eval_steps=-1, logging_steps=10_000, tokens_per_batch=tokens,
        ),
        callbacks=[BeforeBatch()],
    )  # fmt: skip


def as_in_2020(folder: str, data: str) -> None:
    from benchmarks.recipe2020 import features, training_steps
    from komrc import load_squad
    from komrc.tokenization import load_tokenizer

    backend = load_tokenizer(folder).backend
    rows = features(
        load_squad(data)[:400],
        lambda text: list(backend.encode(text, add_special_tokens=False).ids),
        length=LENGTH,
        stride=128,
        query=64,
    )
    step = training_steps(folder, rows)
    meter, tokens = Meter(), 0
    while True:
        meter.before_step(tokens)
        tokens += step()


def main() -> None:
    kind, folder, data, work = sys.argv[1:]
    if kind == "2020":
        as_in_2020(folder, data)
    else:
        with_komrc(folder, data, Path(work), GPU_TOKENS if kind == "gpu" else None)


if __name__ == "__main__":
    main()
