"""Progress of a run on stderr: a bar on a terminal, log lines elsewhere."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from komrc.modeling import SpanReader
from komrc.progress import Bars
from komrc.training.callbacks import Callback
from komrc.training.evaluator import Evaluation
from komrc.training.options import TrainingOptions
from komrc.training.state import TrainingState

if TYPE_CHECKING:
    from rich.progress import TaskID

logger = logging.getLogger(__name__)
# Callbacks need not use every argument.
# ruff: noqa: ARG002


class ProgressCallback(Callback):
    """Shows step, loss, real tokens a second and the last EM and F1."""

    def __init__(self, bars: Bars) -> None:
        self._bars = bars
        self._task: TaskID | None = None
        self._note: dict[str, str] = {}
        self._last_log = (0.0, 0)  # when it was, and tokens seen by then

    def on_start(self, state: TrainingState, model: SpanReader, options: TrainingOptions) -> None:
        """Show the bar."""
        self._task = self._bars.add("training", state.total_steps, state.step)
        self._last_log = (time.monotonic(), state.tokens_seen)

    def on_step(self, state: TrainingState) -> None:
        """Move the bar."""
        if self._task is not None:
            self._bars.update(self._task, state.step, " ".join(self._note.values()))

    def on_log(self, state: TrainingState, metrics: dict[str, float]) -> None:
        """Show loss and speed, in the log where there is no terminal."""
        if "loss" not in metrics:
            return
        now, (then, tokens) = time.monotonic(), self._last_log
        speed = (state.tokens_seen - tokens) / max(now - then, 1e-9)
        self._last_log = (now, state.tokens_seen)
        self._note |= {"loss": f"loss {metrics['loss']:.3f}", "speed": f"{speed:,.0f} tokens/s"}
        if not self._bars.live:
            text = "step %d of %d: loss %.4f, %.0f tokens/s, learning rate %.2e"
            rate = metrics["learning_rate"]
            logger.info(text, state.step, state.total_steps, metrics["loss"], speed, rate)

    def on_evaluate(self, state: TrainingState, evaluation: Evaluation) -> None:
        """Show EM and F1."""
        em, f1 = evaluation.scores["exact_match"], evaluation.scores["f1"]
        self._note["eval"] = f"EM {em:.2f} F1 {f1:.2f}"
        logger.info("step %d: EM %.2f, F1 %.2f (%.0f s)", state.step, em, f1, evaluation.seconds)
        self._last_log = (time.monotonic(), state.tokens_seen)  # the evaluation's time is not the training's
