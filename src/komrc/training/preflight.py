"""What a run will do and need, estimated and logged before its first step."""

from __future__ import annotations

import logging
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch
from accelerate.utils import send_to_device

from komrc.errors import StorageError
from komrc.modeling import SpanReader
from komrc.training import checkpoints, distributed
from komrc.training.dataset import TrainingWindows, WindowDataset
from komrc.training.losses import BatchLoss
from komrc.training.options import TrainingOptions
from komrc.training.setup import DataSet, Setup
from komrc.training.state import TrainingState
from komrc.unreachable import Unreachable, count_unreachable
from komrc.windows import Windows

logger = logging.getLogger(__name__)

_TRIAL_TOKENS = 1024  # enough to measure the speed, in about a second


@dataclass(frozen=True, slots=True)
class Preflight:
    """Figures of the run ahead. Bytes, seconds."""

    questions: dict[str, int]  # data file -> questions
    windows: int
    windows_without_answer: int
    tokens: int  # in all windows
    steps: int
    steps_per_epoch: int
    batch: str  # what one step learns from
    parameters: int
    device: str
    precision: str
    disk_free: int
    disk_needed: int
    memory_free: int
    memory_needed: int
    seconds: float
    unreachable: dict[str, Unreachable]  # data file -> questions that can't be answered right

    def lines(self) -> list[str]:
        """For people."""
        data = ", ".join(f"{name} {count:,}" for name, count in self.questions.items())
        empty = (
            f", {self.windows_without_answer:,} windows lack their answer"
            if self.windows_without_answer
            else ""
        )
        return [
            f"questions: {data}",
            f"windows:   {self.windows:,} ({self.tokens:,} tokens{empty})",
            f"steps:     {self.steps:,} ({self.steps_per_epoch:,} an epoch)",
            f"batch:     {self.batch}",
            f"model:     {self.parameters / 1e6:.1f} M parameters on {self.device} in {self.precision}",
            f"disk:      {_gb(self.disk_free)} free, about {_gb(self.disk_needed)} needed",
            f"memory:    {_gb(self.memory_free)} free, about {_gb(self.memory_needed)} needed",
            f"time:      about {_duration(self.seconds)} of training, evaluations not counted",
        ]


def _gb(count: float) -> str:
    return f"{count / 1e9:.1f} GB"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 90 else f"{minutes / 60:.1f} h"


def device_name(device: torch.device) -> str:
    """The GPU's name, or the CPU with its threads."""
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    return f"CPU ({torch.get_num_threads()} threads)"


def estimate(setup: Setup, loss: BatchLoss, state: TrainingState) -> Preflight:
    """The figures of a run, whose model is on its device.

    Raises StorageError where the disk of the output folder has no room for the run.
    """
    options, model, windows = setup.options, setup.model, setup.windows
    output, device = Path(options.output_dir).expanduser(), next(model.parameters()).device
    parameters = sum(p.numel() for p in model.parameters())
    checkpoint = 12 * parameters  # bytes: float32 weights and AdamW's two moments
    final = 4 * parameters
    limit = options.save_total_limit
    saves = limit + 2 if limit else state.total_steps // (options.save_steps or state.total_steps) + 1
    layers = getattr(model.config, "num_hidden_layers", 12)
    hidden = getattr(model.config, "hidden_size", 768)
    batch_tokens = options.tokens_per_batch or options.per_gpu_train_batch_size * int(windows.lengths.max())
    # 34 bytes a token, unit and layer in 16 bits (Korthikanti et al. 2022, without attention scores).
    activations = batch_tokens * layers * hidden * (34 if loss.precision == "bf16" else 68)
    tokens = int(windows.lengths.sum())
    epochs = state.total_steps / state.steps_per_epoch
    data: dict[str, tuple[DataSet, Windows | None]] = {
        Path(data_set.name).name: (data_set, part)
        for data_set, (part, _) in zip(setup.train, windows.parts, strict=True)
    }
    if setup.dev:
        data[f"{Path(setup.dev.name).name} (to evaluate)"] = (setup.dev, None)
    return Preflight(
        questions={name: len(data_set.examples) for name, (data_set, _) in data.items()},
        windows=len(windows),
        windows_without_answer=windows.without_answer,
        tokens=tokens,
        steps=state.total_steps,
        steps_per_epoch=state.steps_per_epoch,
        batch=_global_batch(options),
        parameters=parameters,
        device=device_name(device),
        precision=loss.precision,
        disk_free=check_room(output, checkpoint + final),
        disk_needed=saves * checkpoint + final,
        memory_free=free_memory(device),
        memory_needed=12 * parameters + activations,  # gradients and moments; weights are in memory already
        seconds=tokens * epochs * seconds_per_token(model, windows, loss),
        unreachable={
            name: count_unreachable(data_set.examples, part, setup.config)
            for name, (data_set, part) in data.items()
        },
    )


def _global_batch(options: TrainingOptions) -> str:
    """What one step learns from, over all processes."""
    size, unit = options.per_gpu_train_batch_size, "windows"
    if options.tokens_per_batch:
        size, unit = options.tokens_per_batch, "tokens"
    processes, accumulation = distributed.world_size(), options.gradient_accumulation_steps
    total = f"up to {size * processes * accumulation:,} {unit} a step"
    factors = [f"{processes} processes"] * (processes > 1) + [f"{accumulation} batches"] * (accumulation > 1)
    return total + (f" ({' x '.join([f'{size:,} {unit}', *factors])})" if factors else "")


def seconds_per_token(model: SpanReader, windows: TrainingWindows, loss: BatchLoss) -> float:
    """Time a forward and backward pass over about 1,024 tokens; weights and random generators stay as they
    are."""
    device = next(model.parameters()).device
    middle = int(windows.lengths.argsort()[len(windows) // 2])  # a window of median length
    dataset = WindowDataset(windows)

    def trial_step(tokens: int) -> int:
        batch = dataset.__getitems__([middle] * max(1, tokens // int(windows.lengths[middle])))
        loss(model, send_to_device(batch, device)).backward()  # type: ignore[no-untyped-call]
        return int(batch["tokens"])

    state = checkpoints.random_state()
    model.train()
    trial_step(_TRIAL_TOKENS // 4)  # the first pass pays for set-up
    model.zero_grad(set_to_none=True)
    begin = time.monotonic()
    tokens = trial_step(_TRIAL_TOKENS)
    if device.type == "cuda":
        torch.cuda.synchronize()
    seconds = time.monotonic() - begin
    model.zero_grad(set_to_none=True)
    checkpoints.restore_random_state(state)
    return seconds / max(tokens, 1) / distributed.world_size()


def free_memory(device: torch.device) -> int:
    """Bytes free where the model runs."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return int(psutil.virtual_memory().available)


def check_room(output: Path, needed: int) -> int:
    """Free bytes on the disk of the output folder. Raises StorageError where the run can't fit."""
    free = shutil.disk_usage(output).free
    if free < needed:
        raise StorageError(
            f"the run needs about {_gb(needed)} on the disk, {_gb(free)} are free",
            where=str(output),
            fix="free some, choose another --output-dir, or lower --save-total-limit",
        )
    return free


def report(preflight: Preflight) -> None:
    """Log the report."""
    for line in preflight.lines():
        logger.info("%s", line)
    for name, counts in preflight.unreachable.items():
        for warning in counts.warnings():
            logger.warning("%s: %s", name, warning)
    if preflight.memory_needed > preflight.memory_free:
        logger.warning("memory may not suffice: lower --per-gpu-train-batch-size or --tokens-per-batch")
