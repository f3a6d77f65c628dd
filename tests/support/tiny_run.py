"""A training run of seconds on the sample set of the package: a tiny random BERT, a few questions."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from komrc.models import hub
from komrc.training.options import TrainingOptions


def material(folder: Path, *, train: int = 24, dev: int = 8) -> Path:
    """A model folder and two data files."""
    import torch
    from transformers import BertConfig, BertModel

    torch.manual_seed(0)
    embedded = hub.embedded_model()
    pieces = json.loads((embedded / "config.json").read_text())["vocab_size"]
    model = BertModel(
        BertConfig(
            vocab_size=pieces, hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
            intermediate_size=32, max_position_embeddings=512, hidden_dropout_prob=0.1,
        )
    )  # fmt: skip
    (folder / "model").mkdir(parents=True)
    model.save_pretrained(folder / "model")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(embedded / name, folder / "model" / name)
    questions(hub.sample_data("train"), folder / "train.json", train)
    questions(hub.sample_data("dev"), folder / "dev.json", dev)
    return folder


def questions(source: Path, target: Path, count: int) -> None:
    """The first questions of a data file, in a file of the same form."""
    document = json.loads(source.read_text(encoding="utf-8"))
    left = count
    for article in document["data"]:
        for paragraph in article["paragraphs"]:
            paragraph["qas"] = paragraph["qas"][:left]
            left -= len(paragraph["qas"])
        article["paragraphs"] = [p for p in article["paragraphs"] if p["qas"]]
    assert left == 0
    document["data"] = [article for article in document["data"] if article["paragraphs"]]
    target.write_text(json.dumps(document, ensure_ascii=False), encoding="utf-8")


def without_dropout(material: Path) -> Path:
    """The same model, every dropout off."""
    folder = material / "no-dropout"
    if not folder.exists():
        shutil.copytree(material / "model", folder)
        config = json.loads((folder / "config.json").read_text())
        changed = {name: 0.0 for name in config if name.endswith("_dropout_prob")}
        (folder / "config.json").write_text(json.dumps({**config, **changed}))
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
