"""The 2020 command: the same arguments, the same JSON, and errors instead of tracebacks."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from komrc.models import hub

SCRIPT = Path(__file__).resolve().parents[1] / "evaluate_v1_0.py"


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    # -S -E: no installed package, no variables: the script stands on its own.
    command = [sys.executable, "-S", "-E", str(SCRIPT), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    qas = [
        {"id": "a", "question": "?", "answers": [{"text": "세종", "answer_start": 0}]},
        {
            "id": "b",
            "question": "?",
            "answers": [{"text": "한글날", "answer_start": 0}, {"text": "훈민정음", "answer_start": 0}],
        },
        {"id": "c", "question": "?", "answers": [{"text": "1446년", "answer_start": 99}]},
    ]
    path = tmp_path / "data.json"
    doc = {
        "version": "KorQuAD_v1.0_dev",
        "data": [{"title": "t", "paragraphs": [{"context": "c", "qas": qas}]}],
    }
    path.write_text(json.dumps(doc, ensure_ascii=False), encoding="utf-8")
    return path


def predictions(folder: Path, value: object) -> Path:
    path = folder / "predictions.json"
    path.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")
    return path


def test_the_official_figures(data: Path, tmp_path: Path) -> None:
    done = run(data, predictions(tmp_path, {"a": "《세종》", "b": "훈민정음은", "c": "1446년"}))
    assert (done.returncode, done.stderr) == (0, "")
    f1 = 1.0 + (2 * (4 / 5) * 1.0) / (4 / 5 + 1.0) + 1.0
    assert done.stdout == json.dumps({"exact_match": 100.0 * 2 / 3, "f1": 100.0 * f1 / 3}) + "\n"


def test_unanswered_questions_are_named(data: Path, tmp_path: Path) -> None:
    done = run(data, predictions(tmp_path, {"a": "세종", "elsewhere": "x"}))
    assert done.stderr.splitlines() == [
        "Unanswered question b will receive score 0.",
        "Unanswered question c will receive score 0.",
    ]
    assert json.loads(done.stdout) == {"exact_match": 100.0 / 3, "f1": 100.0 / 3}


@pytest.mark.parametrize(("version", "said"), [("1.1", ""), ("KorQuAD_v2.0_dev", "KorQuAD_v2.0")])
def test_another_version_is_said_and_scored(data: Path, tmp_path: Path, version: str, said: str) -> None:
    data.write_text(data.read_text(encoding="utf-8").replace("KorQuAD_v1.0_dev", version), encoding="utf-8")
    done = run(data, predictions(tmp_path, {"a": "세종", "b": "한글날", "c": "1446년"}))
    assert done.stderr == f"Evaluation expects KorQuAD_v1.0, but got dataset with {said}\n"
    assert json.loads(done.stdout) == {"exact_match": 100.0, "f1": 100.0}


BAD_PREDICTIONS = [
    "[]",
    '"a"',
    "",
    "{",
    '{"a": 3}',
    '{"a": null}',
    '{"a": ["세종"]}',
    '{"a": NaN}',
    '{"a": "x", "a": "y"}',
]
BAD_DATA = [
    "[]",
    "{}",
    '{"data": 3}',
    '{"data": []}',
    '{"data": [3]}',
    '{"data": [{"paragraphs": [{"qas": [{}]}]}]}',
    "<html>",
]


@pytest.mark.parametrize("text", BAD_PREDICTIONS)
def test_bad_predictions(data: Path, tmp_path: Path, text: str) -> None:
    path = tmp_path / "predictions.json"
    path.write_text(text, encoding="utf-8")
    refuse(run(data, path), str(path))


@pytest.mark.parametrize("text", BAD_DATA)
def test_bad_data(data: Path, tmp_path: Path, text: str) -> None:
    data.write_text(text, encoding="utf-8")
    refuse(run(data, predictions(tmp_path, {})), "")


def refuse(done: subprocess.CompletedProcess[str], where: str) -> None:
    assert done.returncode == 3
    assert done.stdout == ""
    assert "evaluate_v1_0.py: error: " in done.stderr
    assert where in done.stderr
    assert "Traceback" not in done.stderr


def test_the_two_files_in_the_wrong_order(data: Path, tmp_path: Path) -> None:
    done = run(predictions(tmp_path, {"a": "세종"}), data)
    refuse(done, "data file first")


def test_no_such_file(data: Path, tmp_path: Path) -> None:
    refuse(run(data, tmp_path / "none.json"), "no such file")


def test_all_golds_of_a_data_set(tmp_path: Path) -> None:
    doc = json.loads(hub.sample_data("train").read_text(encoding="utf-8")) | {"version": "KorQuAD_v1.0_dev"}
    sample = tmp_path / "sample.json"
    sample.write_text(json.dumps(doc, ensure_ascii=False), encoding="utf-8")
    golds = {
        qa["id"]: qa["answers"][0]["text"]
        for article in doc["data"]
        for paragraph in article["paragraphs"]
        for qa in paragraph["qas"]
    }
    done = run(sample, predictions(tmp_path, golds))
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == {"exact_match": 100.0, "f1": 100.0}
