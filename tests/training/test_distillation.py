"""Learning from teachers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.own_tokenizers import wordpiece_files
from support.tiny_data import some_questions
from support.tiny_model import tiny_model

from komrc.config import WindowConfig
from komrc.data import load_squad
from komrc.errors import ModelError
from komrc.modeling import SpanReader
from komrc.models import hub
from komrc.tokenization import load_tokenizer
from komrc.training.dataset import TrainingWindows
from komrc.training.distillation import compute_soft_targets
from komrc.training.losses import soft_boundary_loss, soft_span_loss, span_mask
from komrc.training.options import TrainingOptions
from komrc.training.train import train
from komrc.windows import build_windows


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("material")
    tiny_model(folder / "model")
    some_questions(hub.sample_data("train"), folder / "train.json", 16, one_each=True)
    return folder


def reader(material: Path, seed: int) -> SpanReader:
    torch.manual_seed(seed)
    return SpanReader.from_pretrained(material / "model", boundary=True)


def data(material: Path) -> TrainingWindows:
    tokenizer = load_tokenizer(material / "model")
    windows = build_windows(load_squad(material / "train.json"), tokenizer, WindowConfig(200), labels=True)
    return TrainingWindows([(windows, np.arange(len(windows)))], pad_id=tokenizer.pad_id, token_types=True)


def test_several_teachers_count_as_the_mean_of_their_probabilities(material: Path) -> None:
    teachers = [reader(material, seed) for seed in (1, 2)]
    windows = data(material)
    more: dict[str, Any] = {
        "temperature": 2.0, "device": torch.device("cpu"), "precision": "fp32", "token_budget": 600,
    }  # fmt: skip
    both = compute_soft_targets(teachers, windows, **more)
    each = [compute_soft_targets([teacher], windows, **more) for teacher in teachers]
    for name in ("start", "end", "front", "back"):
        mean = sum(getattr(one, name) for one in each) / 2
        np.testing.assert_allclose(getattr(both, name), mean, atol=1e-6)
    sums = np.add.reduceat(both.start, both.indptr[:-1])
    np.testing.assert_allclose(sums, 1, atol=1e-5)
    # The same as computed directly for one window.
    batch = windows.batch([3])
    with torch.inference_mode():
        start = teachers[0](batch["input_ids"], batch["attention_mask"], batch["token_type_ids"])[0]
    mask = span_mask(batch["context_start"], batch["context_length"], start.shape[1])
    wanted = (start / 2).masked_fill(~mask, -torch.inf).softmax(-1)[0].numpy()
    np.testing.assert_allclose(each[0].start[both.indptr[3] : both.indptr[4]], wanted, atol=1e-5)


def test_the_soft_losses_are_least_where_student_and_teacher_agree() -> None:
    torch.manual_seed(0)
    logits, mask = torch.randn(2, 6), torch.tensor([[True] * 6, [True, False, True, True, False, True]])
    wanted = (logits / 2).masked_fill(~mask, -torch.inf).softmax(-1)
    student = logits.clone().requires_grad_()
    soft_span_loss(student, student, (wanted, wanted), mask, 2.0).sum().backward()
    assert student.grad is not None and student.grad.abs().max() < 1e-6
    drops = torch.randn(2, 6, 8)
    at = torch.tensor([1, 2])
    probs = (drops[[0, 1], at] / 2).softmax(-1)
    student = drops.clone().requires_grad_()
    soft_boundary_loss(
        student, student, target_start=at, target_end=at, targets=(probs, probs), temperature=2.0
    ).sum().backward()
    assert student.grad is not None and student.grad.abs().max() < 1e-6


def options(material: Path, output: Path, **more: Any) -> TrainingOptions:
    values: dict[str, Any] = {
        "model": str(material / "model"), "train_file": (str(material / "train.json"),),
        "output_dir": str(output), "cache_dir": str(material / "cache"), "max_seq_length": 200,
        "num_train_epochs": 1, "learning_rate": 1e-3, "precision": "fp32", "no_cuda": True,
    }  # fmt: skip
    return TrainingOptions(**{**values, **more})


def test_a_student_ends_elsewhere_with_a_teacher_than_without(material: Path, tmp_path: Path) -> None:
    train(options(material, tmp_path / "teacher", num_train_epochs=3))
    train(options(material, tmp_path / "alone"))
    train(options(material, tmp_path / "taught", teacher=(str(tmp_path / "teacher"),)))
    alone, taught = (
        SpanReader.from_pretrained(tmp_path / name).weights()["boundary.end.weight"]
        for name in ("alone", "taught")
    )
    assert not torch.equal(alone, taught)


def test_teachers_that_can_not_teach_are_refused(material: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="never trained"):
        train(options(material, tmp_path / "a", teacher=(str(material / "model"),)))
    tokenizer = wordpiece_files(tmp_path / "tokenizer")
    encoder = tiny_model(tmp_path / "encoder", tokenizer=tokenizer)
    train(options(material, tmp_path / "other", model=str(encoder), max_steps=1))
    with pytest.raises(ModelError, match="another tokenizer"):
        train(options(material, tmp_path / "b", teacher=(str(tmp_path / "other"),)))
