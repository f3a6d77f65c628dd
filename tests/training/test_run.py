"""Whole training runs with a tiny random model: files, exact resume, clean ends."""

from __future__ import annotations

import json
import logging
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

import torch
from safetensors.torch import load_file
from tiny import some_questions, tiny_model

from komrc import storage
from komrc.errors import StorageError, TrainingError, UsageError
from komrc.reader import Reader
from komrc.training import checkpoints
from komrc.training.options import TrainingOptions
from komrc.training.run import train
from komrc.training.trainer import SpanTrainer

Options = Callable[..., TrainingOptions]


@pytest.fixture(scope="module")
def material(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model and two small data files."""
    folder = tmp_path_factory.mktemp("material")
    tiny_model(folder / "model", shared)
    source = shared / "data/korquad/KorQuAD_v1.0_prerelease-2018-09.json"
    some_questions(source, folder / "train.json", 26)
    some_questions(source, folder / "dev.json", 12, skip=26)
    return folder


@pytest.fixture
def options(material: Path, tmp_path: Path) -> Options:
    def make(output: str = "out", **more: Any) -> TrainingOptions:
        values: dict[str, Any] = {
            "model": str(material / "model"),
            "train_file": (str(material / "train.json"),),
            "predict_file": str(material / "dev.json"),
            "output_dir": str(tmp_path / output),
            "cache_dir": str(material / "cache"),
            "max_seq_length": 160,
            "per_gpu_train_batch_size": 4,
            "gradient_accumulation_steps": 3,
            "num_train_epochs": 2,
            "learning_rate": 1e-3,
            "precision": "fp32",
            "logging_steps": 2,
            "save_steps": 2,
            "no_cuda": True,
        }
        return TrainingOptions(**{**values, **more})

    return make


def die_at(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """Make training end as kill -9 would: nothing more is written after so many micro-batches."""
    true_step = SpanTrainer.training_step
    count = 0

    def training_step(self: SpanTrainer, *args: Any, **more: Any) -> torch.Tensor:
        nonlocal count
        count += 1
        if count > step:
            raise RuntimeError("killed")
        return true_step(self, *args, **more)

    monkeypatch.setattr(SpanTrainer, "training_step", training_step)


def history(folder: Path) -> list[dict[str, Any]]:
    last = checkpoints.newest(folder)
    assert last is not None
    return json.loads((last.folder / checkpoints.STATE).read_text())["log_history"]


@pytest.mark.parametrize("step", [7, 17, 33])
def test_a_killed_and_resumed_run_ends_bit_for_bit_like_one_that_was_not(
    options: Options, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    whole = train(options("whole"))
    with monkeypatch.context() as patch:
        die_at(patch, step)
        with pytest.raises(RuntimeError, match="killed"):
            train(options("cut"))
    assert not (tmp_path / "cut/model.safetensors").exists()
    resumed = train(options("cut", resume=True))
    assert resumed == whole
    assert history(tmp_path / "cut") == history(tmp_path / "whole")
    for name in ("model.safetensors", "optimizer.safetensors"):
        ends = [checkpoints.newest(tmp_path / run) for run in ("whole", "cut")]
        first, second = (load_file(end.folder / name) for end in ends if end)
        assert first.keys() == second.keys()
        assert all(torch.equal(first[key], second[key]) for key in first)
    for name in ("scheduler.json", "random.json", "optimizer.json"):
        first, second = ((end.folder / name).read_text() for end in ends if end)
        assert first == second
