"""The data steps of recipes/no-answer, on the bundled sample."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from komrc.data import load_squad
from komrc.models import hub

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the steps before the training write, from the sample twice."""
    folder = tmp_path_factory.mktemp("work")
    recipe = yaml.safe_load((ROOT / "recipes/no-answer/steps.yaml").read_text(encoding="utf-8"))
    recipe["steps"] = [step for step in recipe["steps"] if "run" in step]
    steps = folder / "steps.yaml"
    steps.write_text(yaml.safe_dump(recipe))
    sample = hub.sample_data("train")
    subprocess.run(
        [sys.executable, ROOT / "recipes/run.py", steps, "--set", f"work={folder}"]
        + [f"{name}={sample}" for name in ("korquad", "klue")],
        cwd=ROOT,
        check=True,
    )
    return folder / "data"


def contexts(path: Path) -> set[str]:
    data: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["data"]
    return {paragraph["context"] for article in data for paragraph in article["paragraphs"]}


def test_every_file_loads_and_ids_are_unique(work: Path) -> None:
    examples = [e for name in ("korean", "everyday", "negatives") for e in load_squad(work / f"{name}.json")]
    assert len({example.id for example in examples}) == len(examples)
    assert all(example.answers for example in load_squad(work / "korean.json"))
    assert not any(example.answers for example in load_squad(work / "negatives.json"))


def test_the_development_file_has_both_kinds(work: Path) -> None:
    kinds = {bool(example.answers) for example in load_squad(work / "development.json")}
    assert kinds == {True, False}


def test_negatives_hold_no_reference_answer(work: Path) -> None:
    gold = {e.id: e.answers for e in load_squad(work / "korean.json")}
    for example in load_squad(work / "negatives.json"):
        for answer in gold[example.id.removeprefix("no-")]:
            assert answer.text not in example.context


def test_another_file_is_refused(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.json"
    wrong.write_text("[]")
    ended = subprocess.run(
        [sys.executable, ROOT / "recipes/no-answer/data.py", "--data", wrong, "--output", tmp_path],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 2 and "can't be read as a SQuAD file" in ended.stderr
