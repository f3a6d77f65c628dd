"""The mean of two readers: its weights, and what can't be averaged."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from komrc.config import Provenance, ReaderConfig
from komrc.modeling import SpanReader
from komrc.models import hub
from komrc.reader import Reader

SCRIPT = Path(__file__).resolve().parents[2] / "recipes/komrc-small/average.py"


def reader(folder: Path, factor: float) -> Path:
    """The embedded model in float32, all its weights multiplied."""
    source = hub.embedded_model()
    folder.mkdir()
    weights = {n: v.numpy() * factor for n, v in SpanReader.from_pretrained(source).weights().items()}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        (folder / name).write_bytes((source / name).read_bytes())
    ReaderConfig.load(source).changed(temperature=1.0).save(folder, Provenance.load(source))
    return folder


def average(*models: Path, output: Path) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        SCRIPT,
        "--models",
        *models,
        "--data",
        hub.sample_data("dev"),
        "--output",
        output,
    ]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_mean_reads_and_has_a_temperature_of_its_own(tmp_path: Path) -> None:
    one, other, mean = reader(tmp_path / "a", 0.9), reader(tmp_path / "b", 1.1), tmp_path / "mean"
    done = average(one, other, output=mean)
    assert done.returncode == 0, done.stderr
    weights = [load_file(folder / "model.safetensors") for folder in (one, other, mean)]
    assert weights[0].keys() == weights[2].keys()
    for name, value in weights[2].items():
        np.testing.assert_allclose(value, (weights[0][name] + weights[1][name]) / 2, rtol=0, atol=1e-6)
    answer = Reader.load(mean).read("세종이 무엇을 만들었나?", "세종은 1443년에 훈민정음을 만들었다.")[0]
    assert answer.text == "훈민정음"
    settings = [json.loads((folder / "komrc.json").read_text()) for folder in (one, mean)]
    assert settings[0].pop("temperature") == 1 < settings[1].pop("temperature")
    assert settings[0] == settings[1]


def test_readers_with_other_tokenizers_are_refused(tmp_path: Path) -> None:
    one, other = reader(tmp_path / "a", 1), reader(tmp_path / "b", 1)
    text = (other / "tokenizer.json").read_text(encoding="utf-8")
    (other / "tokenizer.json").write_text(text.replace('"▁세"', '"▁쇼오"'), encoding="utf-8")
    done = average(one, other, output=tmp_path / "mean")
    assert done.returncode == 4
    assert str(other) in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "mean").exists()
