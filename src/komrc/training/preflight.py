"""What a run is about to do and need, said before its first step."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch

from komrc.errors import StorageError
from komrc.modeling import SpanReader
from komrc.training import checkpoints
from komrc.unreachable import Unreachable

logger = logging.getLogger(__name__)

_TRIAL_TOKENS = 1024  # enough to see the speed, a matter of a second


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


def seconds_per_token(model: SpanReader, step: Callable[[int], int]) -> float:
    """Time a forward and backward pass over about ``_TRIAL_TOKENS`` tokens; nothing is learnt from it.

    ``step`` runs one over at most so many tokens, and returns how many there were.
    """
    state = checkpoints.random_state()
    model.train()
    step(_TRIAL_TOKENS // 4)  # the first pass pays for set-up
    model.zero_grad(set_to_none=True)
    begin = time.monotonic()
    tokens = step(_TRIAL_TOKENS)
    if next(model.parameters()).device.type == "cuda":
        torch.cuda.synchronize()
    spent = time.monotonic() - begin
    model.zero_grad(set_to_none=True)
    checkpoints.restore_random_state(state)
    return spent / max(tokens, 1)


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


def report(found: Preflight) -> None:
    """Say it all in the log."""
    for line in found.lines():
        logger.info("%s", line)
    for name, counts in found.unreachable.items():
        for warning in counts.warnings():
            logger.warning("%s: %s", name, warning)
    if found.memory_needed > found.memory_free:
        logger.warning("memory may not suffice: lower --per-gpu-train-batch-size or --tokens-per-batch")
