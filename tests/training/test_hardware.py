"""Which attention a device gets, and that training doesn't depend on it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from support.tiny_data import some_questions
from support.tiny_model import tiny_model

from komrc.models import hub
from komrc.training import checkpoints
from komrc.training import losses as training_losses
from komrc.training.hardware import attention_kernel
from komrc.training.options import TrainingOptions
from komrc.training.train import train


def test_gpus_read_windows_packed_where_their_kernel_can() -> None:
    assert attention_kernel(torch.device("cuda"), "bf16", 384) == "packed"
    assert attention_kernel(torch.device("cuda"), "fp32", 384) == "sdpa"
    assert attention_kernel(torch.device("cpu"), "bf16", 384) == "sdpa"
    assert attention_kernel(torch.device("cpu"), "bf16", 100) == "eager"


def test_training_on_packed_windows_goes_as_on_padded_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny_model(tmp_path / "model", dropout=0.0)
    data = some_questions(hub.sample_data("train"), tmp_path / "train.json", 24)
    losses: dict[str, list[float]] = {}
    kernels_seen = set()
    for kernel in ("sdpa", "packed"):

        def chosen(*_: Any, kernel: str = kernel) -> str:
            kernels_seen.add(kernel)
            return kernel

        monkeypatch.setattr(training_losses, "attention_kernel", chosen)
        output = tmp_path / kernel
        train(
            TrainingOptions(
                model=str(tmp_path / "model"), train_file=(str(data),), output_dir=str(output),
                cache_dir=str(tmp_path / "cache"), max_seq_length=160, num_train_epochs=2, learning_rate=1e-3,
                per_gpu_train_batch_size=6, precision="fp32", logging_steps=1, no_cuda=True,
            )
        )  # fmt: skip
        last = checkpoints.newest(output)
        assert last is not None
        log = json.loads((last.folder / checkpoints.STATE).read_text())["log_history"]
        losses[kernel] = [entry["loss"] for entry in log if "loss" in entry]
    assert kernels_seen == {"sdpa", "packed"}
    assert len(losses["packed"]) > 5
    assert losses["packed"] == pytest.approx(losses["sdpa"], abs=1e-4)
