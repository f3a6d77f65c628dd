"""A training run of seconds on the sample set of the package: a tiny random BERT, a few questions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from komrc.models import hub
from komrc.training.options import TrainingOptions
from support.tiny_data import some_questions
from support.tiny_model import tiny_model


def material(folder: Path, *, train: int = 24, dev: int = 8) -> Path:
    """A folder with a model and two data files."""
    tiny_model(folder / "model", hidden_size=16, layers=1)
    some_questions(hub.sample_data("train"), folder / "train.json", train)
    some_questions(hub.sample_data("dev"), folder / "dev.json", dev)
    return folder


def options(material: Path, output: Path, **more: Any) -> TrainingOptions:
    """Two epochs of six batches, three of which make a step; a checkpoint at every second step."""
    values: dict[str, Any] = {
        "model": str(material / "model"),
        "train_file": (str(material / "train.json"),),
        "predict_file": str(material / "dev.json"),
        "output_dir": str(output),
        "cache_dir": str(material / "cache"),
        "max_seq_length": 256,
        "per_gpu_train_batch_size": 4,
        "gradient_accumulation_steps": 3,
        "num_train_epochs": 2,
        "learning_rate": 1e-3,
        "precision": "fp32",
        "logging_steps": 1,
        "eval_steps": -1,
        "save_steps": 2,
        "boundary_head": True,
        "particle_labels": False,
        "no_cuda": True,
    }
    return TrainingOptions(**{**values, **more})
