"""Metrics to TensorBoard, Weights & Biases or MLflow, through accelerate's trackers."""

from __future__ import annotations

import dataclasses
import platform
import time
from importlib.util import find_spec
from pathlib import Path

from accelerate import PartialState
from accelerate.tracking import GeneralTracker, MLflowTracker, TensorBoardTracker, WandBTracker

from komrc.errors import require
from komrc.modeling import SpanReader
from komrc.training import distributed
from komrc.training.callbacks import Callback
from komrc.training.options import TrainingOptions
from komrc.training.state import TrainingState

# Callbacks need not use every argument.
# ruff: noqa: ARG002
_PROJECT = "komrc"  # of W&B; the experiment of MLflow


class TrackerCallback(Callback):
    """Sends options and metrics to any of accelerate's trackers; only rank 0 sends.

    Example::

        train(options, callbacks=[TrackerCallback(WandBTracker("my-project", name="run 1"))])
    """

    def __init__(self, tracker: GeneralTracker) -> None:
        self._tracker = tracker
        self._started = False

    def on_start(self, state: TrainingState, model: SpanReader, options: TrainingOptions) -> None:
        """Start the tracker and send the options."""
        if not distributed.is_rank0():
            return
        PartialState()  # WandBTracker logs as it starts, and accelerate's logger fails without this state
        self._tracker.start()
        self._started = True
        values = dataclasses.asdict(options)
        self._tracker.store_init_configuration(
            {k: v if isinstance(v, int | float | str) else str(v) for k, v in values.items()}
        )

    def on_log(self, state: TrainingState, metrics: dict[str, float]) -> None:
        """Send ``train/loss``, ``eval/f1`` and so on, and the epoch."""
        if not self._started:
            return
        named = {
            f"eval/{name.removeprefix('eval_')}" if name.startswith("eval_") else f"train/{name}": value
            for name, value in {**metrics, "epoch": state.epoch}.items()
        }
        self._tracker.log(named, step=state.step)

    def on_end(self, state: TrainingState) -> None:
        """Close the tracker."""
        if self._started:
            self._tracker.finish()


def build_trackers(options: TrainingOptions, output: Path) -> list[TrackerCallback]:
    """The tracker that ``options.report_to`` names; "auto": TensorBoard where it is installed.

    TensorBoard's files are in ``output/runs``. Raises MissingPackageError.
    """
    name = options.report_to
    if name == "auto":
        name = "tensorboard" if find_spec("tensorboard") else "none"
    if name == "none":
        return []
    require(
        name,
        extra="train" if name == "tensorboard" else name,
        purpose=f"--report-to {name}",
        instead="choose --report-to none",
    )
    if name == "wandb":
        return [TrackerCallback(WandBTracker(_PROJECT, name=output.name, dir=str(output)))]
    if name == "mlflow":
        return [TrackerCallback(MLflowTracker(_PROJECT, run_name=output.name))]
    started = f"{time.strftime('%b%d_%H-%M-%S')}_{platform.node()}"
    return [TrackerCallback(TensorBoardTracker(started, output / "runs"))]
