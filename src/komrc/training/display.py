"""Progress of a run on stderr: a bar on a terminal, log lines elsewhere."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from komrc.modeling import SpanReader
from komrc.training import distributed
from komrc.training.callbacks import Callback
from komrc.training.evaluator import Evaluation
from komrc.training.options import TrainingOptions
from komrc.training.state import TrainingState

logger = logging.getLogger(__name__)
# Callbacks need not use every argument.
# ruff: noqa: ARG002


class _Bars(Progress):
    """Bars with the log above them: earlier log handlers hold the real stderr and would write into a bar."""

    _moved: Sequence[tuple[logging.StreamHandler[TextIO], TextIO]] = ()

    def start(self) -> None:
        stream = sys.stderr
        super().start()
        handlers = [h for h in logging.getLogger().handlers if isinstance(h, logging.StreamHandler)]
        self._moved = [(handler, stream) for handler in handlers if handler.stream is stream]
        for handler, _ in self._moved:
            handler.setStream(sys.stderr)

    def stop(self) -> None:
        for handler, stream in self._moved:
            handler.setStream(stream)
        super().stop()


class Display:
    """One progress display on stderr for a whole run; silent where stderr is no terminal."""

    def __init__(self) -> None:
        self.console = Console(stderr=True)
        self.live = sys.stderr.isatty() and distributed.is_rank0()
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

    @contextmanager
    def bar(self, description: str, total: int) -> Iterator[Callable[[int], None]]:
        """A bar for a part of the work; gives a function that takes how many more items are done."""
        task = self.add(description, total)
        try:
            yield lambda count: self.progress.advance(task, count)
        finally:
            self.progress.remove_task(task)


class ProgressCallback(Callback):
    """Shows step, loss, real tokens a second and the last EM and F1."""

    def __init__(self, display: Display) -> None:
        self._display = display
        self._task: TaskID | None = None
        self._note: dict[str, str] = {}
        self._last_log = (0.0, 0)  # when it was, and tokens seen by then

    def on_start(self, state: TrainingState, model: SpanReader, options: TrainingOptions) -> None:
        """Show the bar."""
        self._task = self._display.add("training", state.total_steps, state.step)
        self._last_log = (time.monotonic(), state.tokens_seen)

    def on_step(self, state: TrainingState) -> None:
        """Move the bar."""
        if self._task is not None:
            self._display.progress.update(
                self._task, completed=state.step, note=" ".join(self._note.values())
            )

    def on_log(self, state: TrainingState, metrics: dict[str, float]) -> None:
        """Show loss and speed, in the log where there is no terminal."""
        if "loss" not in metrics:
            return
        now, (then, tokens) = time.monotonic(), self._last_log
        speed = (state.tokens_seen - tokens) / max(now - then, 1e-9)
        self._last_log = (now, state.tokens_seen)
        self._note |= {"loss": f"loss {metrics['loss']:.3f}", "speed": f"{speed:,.0f} tokens/s"}
        if not self._display.live:
            text = "step %d of %d: loss %.4f, %.0f tokens/s, learning rate %.2e"
            rate = metrics["learning_rate"]
            logger.info(text, state.step, state.total_steps, metrics["loss"], speed, rate)

    def on_evaluate(self, state: TrainingState, evaluation: Evaluation) -> None:
        """Show EM and F1."""
        em, f1 = evaluation.scores["exact_match"], evaluation.scores["f1"]
        self._note["eval"] = f"EM {em:.2f} F1 {f1:.2f}"
        logger.info("step %d: EM %.2f, F1 %.2f (%.0f s)", state.step, em, f1, evaluation.seconds)
        self._last_log = (time.monotonic(), state.tokens_seen)  # the evaluation's time is not the training's
