"""What a user can hook into a training run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from komrc.modeling import SpanReader
from komrc.training.evaluator import Evaluation
from komrc.training.options import TrainingOptions
from komrc.training.state import TrainingState


class Callback:
    """Base class of callbacks: override the methods you need, pass an instance to ``train(callbacks=[…])``.

    With several processes every method runs in each of them, at the same point of the run;
    ``distributed.is_rank0()`` is true if this is the first one. An exception ends the run; its last
    checkpoint remains. A resumed run starts with new callbacks: what they must remember, they keep
    themselves.

    Example::

        class StopWhenGood(Callback):
            def on_evaluate(self, state, evaluation):
                state.stop_early = evaluation.scores["exact_match"] > 90
    """

    def on_start(self, state: TrainingState, model: SpanReader, options: TrainingOptions) -> None:
        """Before the first step; after a resume ``state.step`` is not 0."""

    def on_batch(self, state: TrainingState, batch: dict[str, Any]) -> None:
        """Before the forward pass of a batch (see ``dataset.WindowDataset``), on the CPU; several batches
        make a step where gradients are accumulated."""

    def on_step(self, state: TrainingState) -> None:
        """After an optimizer step, before it is logged, evaluated and saved."""

    def on_log(self, state: TrainingState, metrics: dict[str, float]) -> None:
        """After a log line or an evaluation; the names of ``metrics`` are those of ``state.history``."""

    def on_evaluate(self, state: TrainingState, evaluation: Evaluation) -> None:
        """After an evaluation. It is the best one so far where ``state.best_step == state.step``."""

    def on_save(self, state: TrainingState, folder: Path) -> None:
        """After a checkpoint is complete in ``folder``."""

    def on_end(self, state: TrainingState) -> None:
        """After the last step, a signal or an error."""
