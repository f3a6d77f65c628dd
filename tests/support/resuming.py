"""Whole, killed and resumed tiny runs, and how they are compared."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from support import tiny_run

# What each run trains with; every one has dropout and windows grouped by length.
CASES: dict[str, dict[str, Any]] = {
    "plain": {},
    "remainder": {"gradient_accumulation_steps": 4},
    "no accumulation": {"gradient_accumulation_steps": 1, "save_steps": 3},
    "token budget": {"tokens_per_batch": 700},
    "two workers": {"dataloader_workers": 2},
    "evaluation in between": {"eval_steps": 1},
    "bf16": {"precision": "bf16"},
    "layer decay and warmup": {"layer_decay": 0.8, "warmup_ratio": 0.2, "weight_decay": 0.1},
    "part of an epoch": {"max_steps": 3, "save_steps": 1},
    "every token's particles": {"particle_labels": True},
}


def whole(material: Path, output: Path, *, callbacks: Sequence[Any] = (), **more: Any) -> Any:
    """Train to the end (or on to it, with ``resume``)."""
    from komrc.training.train import train

    return train(tiny_run.options(material, output, **more), callbacks=callbacks)


def before_batch(action: Callable[[Any, dict[str, Any], int], None]) -> Any:
    """A callback that calls ``action`` with the state, the micro-batch and its number from 1."""
    from komrc.training.callbacks import Callback

    class BeforeBatch(Callback):
        count = 0

        def on_batch(self, state: Any, batch: dict[str, Any]) -> None:
            self.count += 1
            action(state, batch, self.count)

    return BeforeBatch()


def killed(material: Path, output: Path, kill_at: int, **more: Any) -> None:
    """Train and die by SIGKILL before the given micro-batch; 0: behind the last, before the model is written.

    Runs in a child of its own.
    """
    from komrc.training import calibrate

    def kill() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    if kill_at == 0:
        calibrate.tune_temperature = lambda *_: kill()  # type: ignore[assignment,func-returns-value]
    callback = before_batch(lambda _state, _batch, count: kill() if count == kill_at else None)
    whole(material, output, callbacks=[callback], **more)


def differences(first: Path, second: Path) -> list[str]:
    """Files of two finished runs that differ by a bit: the model, predictions and figures (where there are
    any) and the last checkpoint with its optimizer, schedule, random states and log."""
    from komrc.training import checkpoints

    names = [
        Path(name)
        for name in ("model.safetensors", "komrc.json", "predictions_.json", "nbest_predictions_.json",
                     "eval_result_model_256.txt")
    ]  # fmt: skip
    ends = [checkpoints.newest(folder) for folder in (first, second)]
    assert ends[0] is not None and ends[1] is not None and ends[0].step == ends[1].step
    last = Path(ends[0].folder.name)
    names = [name for name in names if any((folder / name).exists() for folder in (first, second))]
    names += [last / path.name for path in ends[0].folder.iterdir()]
    differ = [str(name) for name in names if (first / name).read_bytes() != (second / name).read_bytes()]
    written = [folder / "eval_results.json" for folder in (first, second)]
    figures = [json.loads(file.read_text()) if file.exists() else None for file in written]
    if figures[0] != figures[1]:
        differ.append("eval_results.json")
    return differ
