"""The training loop: steps, and after each of them what is due: log, evaluate, save, stop."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, nullcontext
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import send_to_device, set_seed
from torch.optim.lr_scheduler import LRScheduler
from torch.utils.data import DataLoader

from komrc.errors import TrainingError
from komrc.modeling import SpanReader
from komrc.training import checkpoints, distributed
from komrc.training.callbacks import Callback
from komrc.training.dataset import Tensors, WindowDataset
from komrc.training.evaluator import Evaluation, Evaluator
from komrc.training.losses import BatchLoss
from komrc.training.options import TrainingOptions
from komrc.training.sampler import LengthGroupedBatchSampler
from komrc.training.signals import StopRequest, StopTraining
from komrc.training.state import TrainingState

logger = logging.getLogger(__name__)


class TrainingLoop:
    """Trains a model from the state's step on.

    Args:
        options: of the run.
        model: to train, on its device.
        dataset, sampler: windows, and which of them form each batch.
        loss: of a batch.
        optimizer, scheduler: of the model's parameters.
        state: where the run is.
        evaluator: None: there is nothing to evaluate on.
        stop: a signal to end early.
        callbacks: called at each point of the run, in this order.
        save_model: writes model, tokenizer and settings into a folder.
        run_settings: what a resumed run must agree with; kept in run.json.

    Attributes:
        best: the best evaluation, if it was made in this process.
    """

    def __init__(
        self,
        options: TrainingOptions,
        model: SpanReader,
        *,
        dataset: WindowDataset,
        sampler: LengthGroupedBatchSampler,
        loss: BatchLoss,
        optimizer: torch.optim.Optimizer,
        scheduler: LRScheduler,
        state: TrainingState,
        evaluator: Evaluator | None,
        stop: StopRequest,
        callbacks: Sequence[Callback],
        save_model: Callable[[Path], None],
        run_settings: dict[str, Any],
    ) -> None:
        self.options = options
        self.model = model
        self.device = next(model.parameters()).device
        self.sampler = sampler
        self.loader = DataLoader(
            dataset,
            batch_sampler=sampler,
            collate_fn=_unchanged,
            num_workers=options.dataloader_workers,
            pin_memory=self.device.type == "cuda",
            # Its own generator: what the loader draws must not change the generator of dropout.
            generator=torch.Generator().manual_seed(options.seed),
        )
        self.loss = loss
        self.optimizer = optimizer
        self.scheduler = scheduler
        self.state = state
        self.evaluator = evaluator
        self.stop = stop
        self.callbacks = callbacks
        self.save_model = save_model
        self.run_settings = run_settings
        self.best: Evaluation | None = None
        self.wrapped = distributed.wrap(model)
        self.loss_since_log = torch.tensor(0.0, device=self.device)

    def run(self, checkpoint: Path | None) -> None:
        """Take the steps that are left; a signal ends it after a step, with a checkpoint.

        Args:
            checkpoint: whose optimizer, schedule and random generators are restored; the model and the state
                have been restored.

        Raises TrainingError for a loss or gradient that is not finite.
        """
        with ExitStack() as ends:
            for callback in self.callbacks:
                ends.callback(callback.on_end, self.state)
                callback.on_start(self.state, self.model, self.options)
            self._run(checkpoint)

    def _run(self, checkpoint: Path | None) -> None:
        if distributed.rank():  # otherwise all processes would draw the same dropout
            set_seed(self.options.seed + distributed.rank())
        if checkpoint:
            self._restore(checkpoint)
        if self.state.pending_evaluation and self.evaluator:
            if self._evaluate():
                self._save()
            if self.state.pending_evaluation:  # another signal: the checkpoint still has it
                return
        self.model.train()
        for batches in self._steps():
            self._step(batches)
            if not self._after_step():
                break

    # --- steps ---

    def _steps(self) -> Iterator[list[Tensors]]:
        """The batches of each step that is left."""
        state, accumulation = self.state, self.options.gradient_accumulation_steps
        while state.step < state.total_steps:
            epoch, steps_done = divmod(state.step, state.steps_per_epoch)
            self.sampler.set_position(epoch, steps_done * accumulation)
            loaded = iter(self.loader)
            while state.step < state.total_steps and (batches := list(islice(loaded, accumulation))):
                yield batches

    def _step(self, batches: Sequence[Tensors]) -> None:
        """Forward and backward pass of each batch, then one step of the optimizer."""
        state = self.state
        for n, batch in enumerate(batches, 1):
            for callback in self.callbacks:
                callback.on_batch(state, batch)
            state.tokens_seen += batch["tokens"]
            last = n == len(batches)
            with nullcontext() if last else distributed.no_sync(self.wrapped):
                # The gradients of the processes are averaged; the factor turns the average into a sum.
                loss = (
                    self.loss(self.wrapped, send_to_device(batch, self.device))
                    * distributed.world_size()
                    / len(batches)
                )
                loss.backward()  # type: ignore[no-untyped-call]
            self.loss_since_log += loss.detach()
        self.gradient_norm = torch.nn.utils.clip_grad_norm_(
            self.wrapped.parameters(), self.options.max_grad_norm or math.inf
        )
        self.learning_rate = float(self.scheduler.get_last_lr()[0])
        self.optimizer.step()
        self.scheduler.step()
        self.optimizer.zero_grad()
        steps_done = state.step % state.steps_per_epoch
        batches_done = steps_done * self.options.gradient_accumulation_steps + len(batches)
        state.advance(batches_done / len(self.sampler))

    def _after_step(self) -> bool:
        """Do what is due after a step; whether the training continues."""
        state, options = self.state, self.options
        stopped = self.stop.any_rank_stopped()
        for callback in self.callbacks:
            callback.on_step(state)
        log_due, save_due = state.due(options.logging_steps), state.due(options.save_steps)
        evaluate_due = self.evaluator is not None and state.due(options.eval_steps)
        # On a GPU reading the loss waits for the device, so it is read only when something depends on it.
        if log_due or evaluate_due or save_due or stopped or self.loss_since_log.device.type == "cpu":
            self._require_finite()
        if log_due:
            self._log()
        improved = False
        if evaluate_due and stopped:
            state.pending_evaluation = True
        elif evaluate_due:
            improved = self._evaluate()
        ends = stopped or state.pending_evaluation or state.is_last_step
        if save_due or improved or ends:
            self._save()
        return not ends

    def _require_finite(self) -> None:
        """Raises TrainingError before anything that a bad step damaged is written."""
        for name, value in (("loss", self.loss_since_log), ("gradient", self.gradient_norm)):
            if not math.isfinite(float(value)):
                raise TrainingError(
                    f"the {name} is no longer a number (step {self.state.step})",
                    where=self.options.output_dir,
                    fix="the last checkpoint is untouched; lower --learning-rate or use --precision fp32, "
                    "then --resume",
                )

    def _log(self) -> None:
        """Log the mean loss since the last log line."""
        state = self.state
        loss = distributed.mean(self.loss_since_log.item())
        self.loss_since_log.zero_()
        metrics = {
            "loss": loss / (state.step - state.last_logged_step),
            "grad_norm": float(self.gradient_norm),
            "learning_rate": self.learning_rate,
        }
        state.last_logged_step = state.step
        self._record(metrics)

    def _record(self, metrics: dict[str, float]) -> None:
        self.state.record(metrics)
        for callback in self.callbacks:
            callback.on_log(self.state, metrics)

    # --- evaluation ---

    def _evaluate(self) -> bool:
        """Evaluate the model; whether it is the best one so far. False if a signal interrupted it: a resumed
        run then repeats it."""
        assert self.evaluator is not None
        try:
            evaluation = self.evaluator(self.model)
        except StopTraining:
            self.state.pending_evaluation = True
            return False
        finally:
            self.model.train()
        self.state.pending_evaluation = False
        self._record({f"eval_{name}": value for name, value in evaluation.scores.items()})
        for callback in self.callbacks:
            callback.on_evaluate(self.state, evaluation)
        improved = self.state.best_step == self.state.step
        if improved:
            self.best = evaluation
        return improved

    # --- checkpoints ---

    def _save(self) -> None:
        """Write a checkpoint, and remove old ones; the best one is kept."""
        output = Path(self.options.output_dir).expanduser()
        states = distributed.gather_json(
            {"random": checkpoints.random_state(), "loss": self.loss_since_log.item()}
        )

        def write() -> None:
            checkpoints.write(output, self.state.step, lambda folder: self._fill(folder, states))
            checkpoints.rotate(
                output, keep=self.options.save_total_limit or None, best_step=self.state.best_step
            )

        distributed.on_rank0(write)
        for callback in self.callbacks:
            callback.on_save(self.state, output / f"checkpoint-{self.state.step}")

    def _fill(self, folder: Path, states: list[dict[str, Any]]) -> None:
        """Write a checkpoint's files; ``states`` contains what differs between processes."""
        self.save_model(folder)
        checkpoints.save_optimizer(self.optimizer, folder)
        checkpoints.save_scheduler(self.scheduler, folder)
        checkpoints.save_random([state["random"] for state in states], folder)
        progress = {**self.state.save(folder), "loss_since_log": [state["loss"] for state in states]}
        checkpoints.write_json(
            folder / checkpoints.RUN, {"settings": self.run_settings, "progress": progress}
        )

    def _restore(self, folder: Path) -> None:
        """Take over a checkpoint's optimizer, schedule, loss and random generators."""
        checkpoints.load_optimizer(self.optimizer, folder)
        checkpoints.load_scheduler(self.scheduler, folder)
        losses: list[float] = checkpoints.read_json(folder / checkpoints.RUN)["progress"]["loss_since_log"]
        if distributed.rank() < len(losses):
            self.loss_since_log += losses[distributed.rank()]
        checkpoints.load_random(folder, distributed.rank())


def _unchanged(batch: Any) -> Any:
    return batch  # WindowDataset gives whole batches
