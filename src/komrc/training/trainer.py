"""The Hugging Face Trainer with span windows, exact resume and checkpoints that are whole or not there."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Literal

import torch
from torch.utils.data import DataLoader
from transformers import (
    PrinterCallback,
    ProgressCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
    set_seed,
)

from komrc.errors import TrainingError
from komrc.modeling import SpanReader
from komrc.training import checkpoints, processes
from komrc.training.batching import LengthGrouped
from komrc.training.dataset import Tensors, WindowDataset
from komrc.training.losses import (
    boundary_loss,
    particle_loss,
    soft_boundary_loss,
    soft_span_loss,
    span_loss,
    span_mask,
)
from komrc.training.machine import attention_kernel
from komrc.training.stopping import Stopped, StopRequest

logger = logging.getLogger(__name__)

Metrics = dict[str, float]


def _as_it_is(batch: Any) -> Any:
    return batch  # WindowDataset hands over whole batches


class _Batches(DataLoader[Tensors]):
    """A loader whose order follows the epoch."""

    def set_epoch(self, epoch: int) -> None:
        sampler = self.batch_sampler
        assert isinstance(sampler, LengthGrouped)
        sampler.set_epoch(epoch)


class SpanTrainer(Trainer):
    """Trains a SpanReader.

    Args:
        model: what to train; its best weights are in the best checkpoint afterwards.
        args: the Trainer's own; its strategies for logging, evaluating and saving must be "no": this class
            decides about them by step number.
        dataset: labelled windows.
        sampler: batches of them.
        precision: "bf16" computes under autocast.
        boundary_weight: of the boundary head's loss.
        boundary_learning_rate: highest learning rate of the boundary head.
        layer_decay: learning rate of a layer relative to the one above.
        teaching: the share of the loss that comes from teachers, and their temperature.
        schedule: steps between logs, evaluations and checkpoints.
        evaluate_model: evaluates at a step and returns figures, among them ``exact_match``; may raise
            Stopped. None: there is nothing to evaluate on.
        fill_checkpoint: writes model, tokenizer and settings into a folder.
        run_record: what a resumed run must agree with; kept in run.json.
        keep: checkpoints to keep beside the best; None for all.
        stop: tells when to end early.
    """

    def __init__(
        self,
        model: SpanReader,
        args: TrainingArguments,
        *,
        dataset: WindowDataset,
        sampler: LengthGrouped,
        precision: Literal["fp32", "bf16"],
        boundary_weight: float,
        boundary_learning_rate: float,
        layer_decay: float,
        teaching: tuple[float, float],
        schedule: Schedule,
        evaluate_model: Callable[[int], Metrics] | None,
        fill_checkpoint: Callable[[Path], None],
        run_record: dict[str, Any],
        keep: int | None,
        stop: StopRequest,
    ) -> None:
        self._reader = model
        self._dataset = dataset
        self._sampler = sampler
        self._precision = precision
        self._boundary_weight = boundary_weight
        self._boundary_learning_rate = boundary_learning_rate
        self._layer_decay = layer_decay
        self._teaching = teaching
        self._evaluate_model = evaluate_model
        self._fill_checkpoint = fill_checkpoint
        self.run_record = run_record
        self.schedule = schedule
        self._keep = keep
        self._stop = stop
        self.pending_evaluation = False
        self.tokens_seen = 0
        self._resumed: dict[str, Any] = {}
        # A constant added to all logits changes no softmax, so the true gradient is zero. What is computed is
        # rounding, and Adam would make steps of it, other ones in every number of processes.
        layer = model.span_layer
        if layer is not None and layer.bias is not None:
            layer.bias.register_hook(torch.zeros_like)  # type: ignore[no-untyped-call]
        super().__init__(model=model, args=args, train_dataset=dataset)
        for callback in (ProgressCallback, PrinterCallback):
            self.remove_callback(callback)
        # First of all, so that the others see what it decided.
        self.callback_handler.callbacks.insert(0, _Flow(self, schedule, stop))

    # --- data ---

    def get_train_dataloader(self) -> DataLoader[Tensors]:
        """Batches in the sampler's order; the sampler knows where a resumed run stands."""
        return _Batches(
            self._dataset,
            batch_sampler=self._sampler,
            collate_fn=_as_it_is,
            num_workers=self.args.dataloader_num_workers,
            pin_memory=self.args.device.type == "cuda",
            # A generator of its own: what the loader draws must not move the dropout's generator.
            generator=torch.Generator().manual_seed(self.args.seed),
        )

    # --- loss ---

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: Tensors,
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        """Sum of the windows' losses over the number of windows in the whole batch of all processes."""
        device = inputs["input_ids"].device
        self.tokens_seen += inputs["tokens"]
        self._reader.attention = attention_kernel(device, self._precision, inputs["input_ids"].shape[1])
        half = self._precision == "bf16"
        with torch.autocast(device.type, dtype=torch.bfloat16) if half else nullcontext():
            outputs = model(inputs["input_ids"], inputs["attention_mask"], inputs.get("token_type_ids"))
        start, end, front, back = outputs
        mask = span_mask(inputs["context_start"], inputs["context_length"], start.shape[1])
        loss = span_loss(start, end, inputs["start"], inputs["end"], mask)
        outer = {"target_start": inputs["start"], "target_end": inputs["end"]}
        if front is not None and back is not None:
            drops = {"drop_front": inputs["drop_front"], "drop_back": inputs["drop_back"]}
            cut = boundary_loss(front, back, **outer, **drops)
            if "particle_drop" in inputs:
                cut = cut + particle_loss(back, inputs["particle_drop"])
            loss = loss + self._boundary_weight * cut
        if "teacher_start" in inputs:
            share, heat = self._teaching
            beliefs = (inputs["teacher_start"], inputs["teacher_end"])
            soft = soft_span_loss(start, end, beliefs, mask, heat)
            if front is not None and back is not None:
                beliefs = (inputs["teacher_front"], inputs["teacher_back"])
                soft = soft + self._boundary_weight * soft_boundary_loss(
                    front, back, **outer, beliefs=beliefs, temperature=heat
                )
            loss = (1 - share) * loss + share * soft
        # DistributedDataParallel takes the mean over processes; the factor makes it the sum.
        total = (loss * inputs["weight"]).sum() / inputs["count"] * self.args.world_size
        return (total, outputs) if return_outputs else total

    def trial_step(self, tokens: int) -> int:
        """Forward and backward over windows of middling length, ``tokens`` of them or a little more.

        Several processes share them out as they do any batch.
        """
        lengths = self._dataset.lengths
        middle = int(lengths.argsort()[len(lengths) // 2])
        windows = processes.count() * max(1, tokens // int(lengths[middle]))
        batch = self._dataset.__getitems__([middle] * windows)
        seen = self.tokens_seen
        self.compute_loss(self._reader, self._prepare_inputs(batch)).backward()
        self.tokens_seen = seen
        return int(batch["tokens"])

    def _require_finite(self, loss: torch.Tensor, norm: torch.Tensor | float | None) -> None:
        """Raises TrainingError before anything that a bad step spoiled is written."""
        for name, value in (("loss", loss), ("gradient", norm)):
            if value is not None and not math.isfinite(float(value)):
                raise TrainingError(
                    f"the {name} is no longer a number (step {self.state.global_step})",
                    where=str(self.args.output_dir),
                    fix="the last checkpoint is untouched; lower --learning-rate or use --precision fp32, "
                    "then --resume",
                )

    # --- optimizer ---

    def create_optimizer(self, model: torch.nn.Module | None = None) -> torch.optim.Optimizer:
        """Fused AdamW; no decay on biases and norms; lower layers learn slower under layer decay."""
        if self.optimizer is None:
            target = self._reader if model is None else model
            decayed = set(self.get_decay_parameter_names(target))
            groups: dict[tuple[float, float], list[torch.nn.Parameter]] = {}
            depth = _depths(target)
            for name, parameter in target.named_parameters():
                if parameter.requires_grad:
                    rate = self._boundary_learning_rate
                    if not name.startswith("boundary."):
                        rate = self.args.learning_rate * self._layer_decay ** depth[name]
                    decay = self.args.weight_decay if name in decayed else 0.0
                    groups.setdefault((rate, decay), []).append(parameter)
            self.optimizer = torch.optim.AdamW(
                [{"params": p, "lr": rate, "weight_decay": decay} for (rate, decay), p in groups.items()],
                lr=self.args.learning_rate,
                betas=(self.args.adam_beta1, self.args.adam_beta2),
                eps=self.args.adam_epsilon,
                fused=True,
            )
        optimizer: torch.optim.Optimizer = self.optimizer
        return optimizer

    # --- evaluation ---

    def _evaluate(self, *_: Any, **__: Any) -> Metrics:
        """Figures as ``eval_…``; empty where a signal broke the evaluation off (it is made up on resume)."""
        assert self._evaluate_model is not None
        self.control.should_evaluate = False
        self._reader.attention = "sdpa"
        try:
            figures = self._evaluate_model(self.state.global_step)
        except Stopped:
            self.pending_evaluation = True
            self.control.should_training_stop = self.control.should_save = True
            return {}
        finally:
            self._reader.train()
        self.pending_evaluation = False
        metrics = {f"eval_{name}": value for name, value in figures.items()}
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def _determine_best_metric(self, metrics: Metrics, trial: Any) -> bool:
        """A new best EM, or of equal ones the best F1, is saved at once, so that it is always on the disk."""
        value = metrics.get("eval_exact_match")
        if value is None:
            return False
        if self.state.best_metric is not None:
            best = self.state.best_metric, self._f1_at(self.state.best_global_step)
            if (value, metrics.get("eval_f1", 0.0)) <= best:
                return False
        self.state.best_metric = value
        self.state.best_global_step = self.state.global_step
        self.control.should_save = True
        return True

    def _f1_at(self, step: int | None) -> float:
        logged = (e["eval_f1"] for e in self.state.log_history if e["step"] == step and "eval_f1" in e)
        return next(logged, 0.0)

    def evaluate_pending(self) -> None:
        """Make up for an evaluation that a signal broke off."""
        if self._determine_best_metric(self._evaluate(), None):
            self._save_checkpoint(self.model, None)
            self.control.should_save = False

    # --- checkpoints ---

    def _maybe_log_save_evaluate(
        self, tr_loss: torch.Tensor, grad_norm: Any, *rest: Any, **more: Any
    ) -> None:
        # A look at the loss waits for a GPU, so there it is taken only when something depends on it.
        due = self.control.should_log or self.control.should_save or self.control.should_evaluate
        if due or tr_loss.device.type == "cpu":
            self._require_finite(tr_loss, grad_norm)
        super()._maybe_log_save_evaluate(tr_loss, grad_norm, *rest, **more)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        output = Path(str(self.args.output_dir))
        states = processes.gather({"random": checkpoints.random_state(), "loss": self._tr_loss.item()})

        def write() -> None:
            checkpoints.write(output, self.state.global_step, lambda folder: self._fill(folder, states))
            checkpoints.rotate(output, keep=self._keep, best_step=self.state.best_global_step)

        processes.first_does(write)

    def _fill(self, folder: Path, states: list[dict[str, Any]]) -> None:
        """Write a checkpoint's files; ``states`` holds what differs between processes."""
        self._fill_checkpoint(folder)
        assert self.optimizer is not None and self.lr_scheduler is not None
        checkpoints.save_optimizer(self.optimizer, folder)
        checkpoints.save_scheduler(self.lr_scheduler, folder)
        checkpoints.save_random([state["random"] for state in states], folder)
        self.state.save_to_json(str(folder / checkpoints.STATE))
        progress = {
            "loss_since_log": [state["loss"] for state in states],
            "loss_total": self._total_loss_scalar,
            "last_log": self._globalstep_last_logged,
            "pending_evaluation": self.pending_evaluation,
            "tokens_seen": self.tokens_seen,
        }
        checkpoints.write_json(folder / checkpoints.RUN, {"settings": self.run_record, "progress": progress})

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        self._reader.load_weights(checkpoints.read_weights(Path(resume_from_checkpoint)))
        self._resumed = checkpoints.read_json(Path(resume_from_checkpoint) / checkpoints.RUN)["progress"]

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if checkpoint is not None:
            assert self.optimizer is not None and self.lr_scheduler is not None
            checkpoints.load_optimizer(self.optimizer, Path(checkpoint))
            checkpoints.load_scheduler(self.lr_scheduler, Path(checkpoint))

    def _load_rng_state(self, checkpoint: str | None) -> None:
        if checkpoint is not None:
            checkpoints.load_random(Path(checkpoint), self.args.process_index)

    def restore_progress(self) -> None:
        """After the Trainer reset them: the sums that the next log is made of."""
        if self._resumed:
            since: list[float] = self._resumed["loss_since_log"]
            self._tr_loss += [*since, 0.0][min(processes.rank(), len(since))]  # 0 in a process that is new
            self._total_loss_scalar = self._resumed["loss_total"]
            self._globalstep_last_logged = self._resumed["last_log"]
            self._initial_global_step = 0
            self.tokens_seen = self._resumed["tokens_seen"]
            self.pending_evaluation = self._resumed["pending_evaluation"]

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """The Trainer's own way pickles its arguments; models are written by ``fill_checkpoint`` alone."""
        raise NotImplementedError


class Schedule:
    """At which steps to log, evaluate and save. 0 steps: at the end of every epoch; -1: only at the end."""

    def __init__(
        self, *, logging_steps: int, eval_steps: int, save_steps: int, steps_per_epoch: int, total: int
    ) -> None:
        self._logging = logging_steps
        self._eval = eval_steps
        self._save = save_steps
        self.steps_per_epoch = steps_per_epoch
        self.total = total

    def _due(self, step: int, every: int) -> bool:
        return step == self.total or (every >= 0 and step % (every or self.steps_per_epoch) == 0)

    def log(self, step: int) -> bool:
        """Whether a line is due after this step."""
        return self._due(step, self._logging)

    def evaluate(self, step: int) -> bool:
        """Whether an evaluation is due after this step."""
        return self._due(step, self._eval)

    def save(self, step: int) -> bool:
        """Whether a checkpoint is due after this step."""
        return self._due(step, self._save)


# The Trainer calls with keywords, so unused arguments keep their names.
# ruff: noqa: ARG002
class _Flow(TrainerCallback):
    """Decides after each step what happens, and puts a resumed run's sums back."""

    def __init__(self, trainer: SpanTrainer, schedule: Schedule, stop: StopRequest) -> None:
        self._trainer = trainer
        self._schedule = schedule
        self._stop = stop

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        if processes.rank():  # else all would draw the same dropout
            set_seed(args.seed + processes.rank())
        self._trainer.restore_progress()
        if self._trainer.pending_evaluation and self._trainer._evaluate_model is not None:
            self._trainer.evaluate_pending()

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> TrainerControl:
        step = state.global_step
        stopped = self._stop.agreed()
        can_evaluate = self._trainer._evaluate_model is not None
        control.should_log = self._schedule.log(step)
        control.should_evaluate = can_evaluate and self._schedule.evaluate(step)
        control.should_save = self._schedule.save(step)
        if stopped:
            self._trainer.pending_evaluation = control.should_evaluate
            control.should_evaluate = False
            control.should_save = control.should_training_stop = True
        return control


def _depths(model: torch.nn.Module) -> dict[str, int]:
    """How many layers above each parameter: 0 for the heads, 1 for the last layer, and so on."""
    layer = {name: re.search(r"\.(?:layers?|h|block)\.(\d+)\.", name) for name, _ in model.named_parameters()}
    count = 1 + max((int(m[1]) for m in layer.values() if m), default=-1)
    depths = {}
    for name, match in layer.items():
        if match:
            depths[name] = count - int(match[1])
        else:
            depths[name] = count + 1 if "embeddings" in name else 0
    return depths
