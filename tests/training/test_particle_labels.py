"""Labels of every token's particles."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from support.own_tokenizers import EVERYDAY
from support.tiny_data import some_questions
from support.tiny_model import tiny_model

from komrc.config import WindowConfig
from komrc.data import load_squad
from komrc.models import hub
from komrc.text.particles import trim_tokens
from komrc.tokenization import load_tokenizer
from komrc.training.dataset import TrainingWindows, WindowDataset
from komrc.training.losses import particle_loss
from komrc.training.options import TrainingOptions
from komrc.training.particle_labels import label_particles
from komrc.training.train import train
from komrc.windows import build_windows

pytest.importorskip("kiwipiepy")


def words_of(text: str) -> np.ndarray:
    spans, at = [], 0
    for word in text.split():
        at = text.index(word, at)
        spans.append((at, at + len(word)))
    return np.array(spans, np.int32).reshape(-1, 2)


def test_a_token_that_ends_in_a_particle_would_end_before_it() -> None:
    texts = ["서울은 대한민국의 수도이다. 그는 7명의 형제와 부산에서 살았다.", "", "이이는 학자이다."]
    told: list[int] = []
    found = trim_tokens(texts, [words_of(text) for text in texts], advance=told.append)
    cut = [
        [text[start:end] for (start, _), end in zip(words_of(text).tolist(), ends.tolist(), strict=True)]
        for text, ends in zip(texts, found, strict=True)
    ]
    assert cut[0][:3] == ["서울", "대한민국", "수도"]
    assert cut[0][4:7] == ["7명", "형제", "부산"]
    assert cut[1:] == [[], ["이이", "학자"]]
    assert sum(told) == 3


def test_labels_agree_with_the_answers_of_people() -> None:
    examples = [example for example in load_squad(EVERYDAY / "dev.json") if example.answers][:400]
    tokenizer = load_tokenizer(None)
    windows = build_windows(examples, tokenizer, WindowConfig(512), labels=True)
    every = TrainingWindows([(windows, np.arange(len(windows)))], pad_id=1, token_types=True)
    made = label_particles(every, [examples])
    (held,) = np.nonzero((windows.start_position > 0) & (windows.drop_back >= 0))
    said = made.drop[made.indptr[held] + windows.end_position[held]]
    wanted = windows.drop_back[held]
    assert (said == wanted).mean() > 0.95  # 96.3 %
    inside = wanted > 0
    assert inside.sum() > 50 and (said == wanted)[inside].mean() > 0.9
    # Question and special tokens have none.
    assert made.drop[made.indptr[held]].max() == -1


def test_the_loss_is_the_mean_over_a_windows_labelled_tokens() -> None:
    torch.manual_seed(0)
    back = torch.randn(2, 4, 8)
    found = particle_loss(back, torch.tensor([[-1, 2, 0, -1], [-1, -1, -1, -1]]))
    said = back.log_softmax(-1)
    assert torch.isclose(found[0], -(said[0, 1, 2] + said[0, 2, 0]) / 2)
    assert found[1] == 0


def test_a_run_learns_from_them(tmp_path: Path) -> None:
    tiny_model(tmp_path / "model")
    some_questions(hub.sample_data("train"), tmp_path / "train.json", 12, one_each=True)

    def cuts(*, labels: bool) -> float:
        """Mean probability that the trained head gives to cutting something, over tokens that end in a
        particle."""
        from komrc.modeling import SpanReader

        output = tmp_path / f"run-{labels}"
        options = TrainingOptions(
            model=str(tmp_path / "model"), train_file=(str(tmp_path / "train.json"),), output_dir=str(output),
            max_steps=100, save_steps=-1, max_seq_length=128, learning_rate=5e-3, boundary_learning_rate=3e-2,
            boundary_loss_weight=1.0, precision="fp32", particle_labels=labels, no_cuda=True,
            cache_dir=str(tmp_path / "cache"),
        )  # fmt: skip
        assert train(options).exit_code == 0
        examples = load_squad(tmp_path / "train.json")
        tokenizer = load_tokenizer(output)
        windows = build_windows(examples, tokenizer, WindowConfig(128), labels=True)
        every = TrainingWindows(
            [(windows, np.arange(len(windows)))], pad_id=tokenizer.pad_id, token_types=True
        )
        batch = WindowDataset(every, [label_particles(every, [examples])]).__getitems__(list(range(8)))
        model = SpanReader.from_pretrained(output)
        with torch.inference_mode():
            back = model(batch["input_ids"], batch["attention_mask"], batch["token_type_ids"])[3]
        assert back is not None
        return float(1 - back.softmax(-1)[batch["particle_drop"] > 0][:, 0].mean())

    with_labels, without = cuts(labels=True), cuts(labels=False)
    assert with_labels > 2 * without, (with_labels, without)
