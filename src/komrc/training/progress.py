"""What a run shows while it works: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from transformers import TrainerCallback

from komrc.training import processes

if TYPE_CHECKING:
    from transformers import TrainerControl, TrainerState, TrainingArguments

    from komrc.training.trainer import SpanTrainer

logger = logging.getLogger(__name__)


class _Bars(Progress):
    """Bars with the log above them: handlers made before hold the bare stderr and would write into a bar."""

    _moved: Sequence[tuple[logging.StreamHandler[TextIO], TextIO]] = ()

    def start(self) -> None:
        bare = sys.stderr
        super().start()
        handlers = [h for h in logging.getLogger().handlers if isinstance(h, logging.StreamHandler)]
        self._moved = [(handler, bare) for handler in handlers if handler.stream is bare]
        for handler, _ in self._moved:
            handler.setStream(sys.stderr)

    def stop(self) -> None:
        for handler, bare in self._moved:
            handler.setStream(bare)
        super().stop()


class Display:
    """One progress display on stderr for a whole run; silent where stderr is no terminal."""

    def __init__(self) -> None:
        self.console = Console(stderr=True)
        self.live = sys.stderr.isatty() and processes.is_first()
        self.progress = _Bars(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=self.console,
            disable=not self.live,
        )

    def __enter__(self) -> Display:
        self.progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.progress.stop()

    def add(self, description: str, total: int, done: int = 0) -> TaskID:
        """A new bar."""
        return self.progress.add_task(description, total=total, completed=done, note="")


# The Trainer calls with keywords, so unused arguments keep their names.
# ruff: noqa: ARG002
class ProgressReport(TrainerCallback):
    """Shows step, loss, real tokens a second and the last EM/F1."""

    def __init__(self, trainer: SpanTrainer, display: Display) -> None:
        self._trainer = trainer
        self._display = display
        self._task: TaskID | None = None
        self._note: dict[str, str] = {}
        self._clock = (0.0, 0)  # when the last log was, and tokens seen by then

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        self._task = self._display.add("training", state.max_steps, state.global_step)
        self._clock = (time.monotonic(), self._trainer.tokens_seen)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        if self._task is not None:
            note = " ".join(self._note.values())
            self._display.progress.update(self._task, completed=state.global_step, note=note)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **_: Any,
    ) -> None:
        logs = logs or {}
        if "loss" in logs:
            now, tokens = time.monotonic(), self._trainer.tokens_seen
            speed = (tokens - self._clock[1]) / max(now - self._clock[0], 1e-9)
            self._clock = (now, tokens)
            self._note |= {"loss": f"loss {logs['loss']:.3f}", "speed": f"{speed:,.0f} tokens/s"}
            if not self._display.live:
                text = "step %d of %d: loss %.4f, %.0f tokens/s, learning rate %.2e"
                logger.info(
                    text, state.global_step, state.max_steps, logs["loss"], speed, logs["learning_rate"]
                )
        if "eval_exact_match" in logs:
            em, f1 = logs["eval_exact_match"], logs["eval_f1"]
            self._note["eval"] = f"EM {em:.2f} F1 {f1:.2f}"
            # The time an evaluation took is not the training's.
            self._clock = (time.monotonic(), self._trainer.tokens_seen)
