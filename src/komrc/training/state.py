"""How far a run is: its step and epoch, everything it logged, and which evaluation is the best."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from komrc.training import checkpoints
from komrc.training.options import TrainingOptions


@dataclass
class TrainingState:
    """The position of a run. Callbacks read it; only ``stop_early`` is theirs to set.

    Attributes:
        total_steps: optimizer steps of the whole run.
        steps_per_epoch: optimizer steps of one epoch.
        step: optimizer steps done.
        epoch: passes over the data done, a fraction inside an epoch.
        tokens_seen: real tokens (no padding) in the batches of all processes so far.
        history: one entry for each log line and each evaluation, with ``step`` and ``epoch``. Log lines have
            ``loss``, ``grad_norm`` and ``learning_rate``; evaluations have ``eval_exact_match`` and
            ``eval_f1`` (0 to 100).
        last_logged_step: the step of the last log line.
        pending_evaluation: a signal interrupted the evaluation at ``step``; a resumed run does it first.
        stop_early: set it to True to end the training after this step, as if it were the last one. Every
            process must set it at the same step.
    """

    total_steps: int
    steps_per_epoch: int
    step: int = 0
    epoch: float = 0.0
    tokens_seen: int = 0
    history: list[dict[str, float]] = field(default_factory=list)
    last_logged_step: int = 0
    pending_evaluation: bool = False
    stop_early: bool = False

    @classmethod
    def new(cls, options: TrainingOptions, *, batches_per_epoch: int) -> TrainingState:
        """The state before the first step."""
        steps_per_epoch = math.ceil(batches_per_epoch / options.gradient_accumulation_steps)
        total = math.ceil(steps_per_epoch * options.num_train_epochs)
        return cls(options.max_steps if options.max_steps > 0 else total, steps_per_epoch)

    @property
    def is_last_step(self) -> bool:
        """Whether no step comes after this one."""
        return self.stop_early or self.step >= self.total_steps

    def due(self, every: int) -> bool:
        """Whether something is due after this step that happens at every ``every``-th one.

        0: at the end of every epoch; -1: only at the end of the run, when everything is due.
        """
        return self.is_last_step or (every >= 0 and self.step % (every or self.steps_per_epoch) == 0)

    def record(self, metrics: dict[str, float]) -> None:
        """Add an entry to the history."""
        self.history.append({**metrics, "epoch": self.epoch, "step": self.step})

    def advance(self, progress_in_epoch: float) -> None:
        """Count a step; ``progress_in_epoch``: which share of the epoch is done after it, 0 to 1."""
        self.epoch = self.step // self.steps_per_epoch + progress_in_epoch
        self.step += 1

    def evaluations(self) -> list[dict[str, float]]:
        """``step``, ``exact_match`` and ``f1`` of each evaluation, in order."""
        return [
            {"step": entry["step"], "exact_match": entry["eval_exact_match"], "f1": entry["eval_f1"]}
            for entry in self.history
            if "eval_exact_match" in entry
        ]

    @property
    def best_step(self) -> int | None:
        """The step of the best evaluation: the highest EM, then the highest F1, then the earliest."""
        evaluations = self.evaluations()
        if not evaluations:
            return None
        best = max(evaluations, key=lambda entry: (entry["exact_match"], entry["f1"], -entry["step"]))
        return int(best["step"])

    def save(self, folder: Path) -> dict[str, Any]:
        """Write trainer_state.json, under the names that transformers' Trainer uses; return the rest, which
        run.json contains."""
        checkpoints.write_json(
            folder / checkpoints.STATE,
            {
                "global_step": self.step,
                "max_steps": self.total_steps,
                "epoch": self.epoch,
                "best_global_step": self.best_step,
                "log_history": self.history,
            },
        )
        return {
            "last_log": self.last_logged_step,
            "pending_evaluation": self.pending_evaluation,
            "tokens_seen": self.tokens_seen,
        }

    def restore(self, folder: Path) -> None:
        """Take over what ``save`` wrote. Raises TrainingError where a file is missing or damaged."""
        saved = checkpoints.read_json(folder / checkpoints.STATE)
        progress = checkpoints.read_json(folder / checkpoints.RUN)["progress"]
        self.step, self.epoch, self.history = saved["global_step"], saved["epoch"], saved["log_history"]
        self.last_logged_step = progress["last_log"]
        self.pending_evaluation = progress["pending_evaluation"]
        self.tokens_seen = progress["tokens_seen"]
