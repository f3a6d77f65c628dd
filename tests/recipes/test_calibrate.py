"""The threshold and the temperature of a finished model, chosen on development data."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from komrc.config import ReaderConfig
from komrc.models import hub

SCRIPT = Path(__file__).resolve().parents[2] / "recipes/komrc-small/calibrate.py"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Twenty questions of the sample; and each of them beside another passage, where it has no answer."""
    folder = tmp_path_factory.mktemp("data")
    articles: list[dict[str, Any]] = json.loads(hub.sample_data("dev").read_text(encoding="utf-8"))["data"]
    paragraphs = [paragraph for article in articles for paragraph in article["paragraphs"]][:10]
    pairs = [(paragraph["context"], qa) for paragraph in paragraphs for qa in paragraph["qas"][:2]]

    def write(name: str, rows: list[tuple[str, dict[str, Any]]]) -> Path:
        written = [{"title": "", "paragraphs": [{"context": context, "qas": [qa]}]} for context, qa in rows]
        path = folder / name
        path.write_text(json.dumps({"version": name, "data": written}, ensure_ascii=False), encoding="utf-8")
        return path

    others = [context for context, _ in pairs[4:] + pairs[:4]]
    without = [
        (context, {"id": f"no-{qa['id']}", "question": qa["question"], "answers": [], "is_impossible": True})
        for context, (_, qa) in zip(others, pairs, strict=True)
    ]
    return write("with.json", pairs), write("without.json", without)


def calibrate(folder: Path, data: tuple[Path, Path], *more: str) -> ReaderConfig:
    shutil.copytree(hub.embedded_model(), folder)
    config = ReaderConfig.load(folder)
    provenance = json.loads((folder / "komrc.json").read_text(encoding="utf-8"))
    (folder / "manifest.json").unlink()
    changed = {**provenance, "null_score_diff_threshold": 50.0, "temperature": 9.0}
    (folder / "komrc.json").write_text(json.dumps(changed), encoding="utf-8")
    ended = subprocess.run(
        [sys.executable, SCRIPT, "--model", folder, "--data", *data, "--cost-on", data[0], *more],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    after = ReaderConfig.load(folder)
    assert after.windows == config.windows
    return after


def test_the_threshold_separates_and_the_scores_are_probabilities(
    tmp_path: Path, data: tuple[Path, Path]
) -> None:
    chosen = calibrate(tmp_path / "model", data)
    assert -12 <= chosen.decoding.null_threshold < 4
    assert 0.5 < chosen.decoding.temperature < 5


def test_no_threshold_may_cost_more_than_allowed(tmp_path: Path, data: tuple[Path, Path]) -> None:
    """A lower threshold refuses more; what it may cost bounds it from below."""
    nothing = calibrate(tmp_path / "nothing", data, "--cost", "0").decoding.null_threshold
    anything = calibrate(tmp_path / "anything", data, "--cost", "100").decoding.null_threshold
    assert anything <= nothing
