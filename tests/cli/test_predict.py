"""komrc predict over the embedded model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from komrc.cli import main

CONTEXT = "훈민정음은 1443년 세종이 창제하여 1446년에 반포하였다."


@pytest.fixture
def data(tmp_path: Path) -> Path:
    qas = [
        {
            "id": "1",
            "question": "훈민정음은 언제 반포되었나?",
            "answers": [{"text": "1446년", "answer_start": 21}],
        },
        {
            "id": "2",
            "question": "훈민정음은 누가 창제하였나?",
            "answers": [{"text": "세종", "answer_start": 12}],
        },
    ]
    value = {"version": "v", "data": [{"title": "t", "paragraphs": [{"context": CONTEXT, "qas": qas}]}]}
    path = tmp_path / "data.json"
    path.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")
    return path


def test_official_form_and_nbest(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output, nbest = tmp_path / "p.json", tmp_path / "n.json"
    arguments = ["predict", "--data", str(data), "--output", str(output), "--nbest-output", str(nbest)]
    assert main(arguments) == 0
    out, err = capsys.readouterr()
    assert out == "" and "2 answers" in err
    texts = json.loads(output.read_text(encoding="utf-8"))
    assert "1446" in texts["1"] and "세종" in texts["2"]
    ranked = json.loads(nbest.read_text(encoding="utf-8"))
    assert ranked["1"][0]["text"] == texts["1"]
    assert ranked["1"][0]["probability"] > ranked["1"][1]["probability"]


def test_a_model_trained_again_is_another_model(data: Path, tmp_path: Path) -> None:
    from komrc.predicting.model import _digest

    (tmp_path / "model").mkdir()
    weights = tmp_path / "model/w"
    weights.write_bytes(b"1")
    before = _digest(tmp_path / "model")
    assert before == _digest(tmp_path / "model")
    weights.write_bytes(b"22")
    assert before != _digest(tmp_path / "model")


@pytest.mark.parametrize(
    ("change", "code", "said"),
    [
        ({"--data": "nowhere.json"}, 3, "nowhere.json"),
        ({"--top-k": "2"}, 2, ".jsonl"),
        ({"--model": "no/such/folder/here"}, 4, "no/such"),
        ({"--output": "/proc/nowhere/p.json"}, 6, "/proc/nowhere"),
    ],
)
def test_errors_are_one_message(
    change: dict[str, str],
    code: int,
    said: str,
    data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    options = {"--data": str(data), "--output": str(tmp_path / "p.json"), **change}
    assert main(["predict", *(part for pair in options.items() for part in pair)]) == code
    err = capsys.readouterr().err
    assert said in err and "Traceback" not in err
    assert not (tmp_path / "p.json").exists()


def test_damaged_questions_stop_it_or_are_left_out(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    value = json.loads(data.read_text(encoding="utf-8"))
    value["data"][0]["paragraphs"][0]["qas"][0]["question"] = " "
    data.write_text(json.dumps(value), encoding="utf-8")
    output = tmp_path / "p.json"
    command = ["predict", "--data", str(data), "--output", str(output)]
    assert main(command) == 3
    assert "--skip-invalid" in capsys.readouterr().err
    assert main([*command, "--skip-invalid"]) == 0
    assert list(json.loads(output.read_text(encoding="utf-8"))) == ["2"]
    assert "left out 1 of 2 questions: 1 " in caplog.text


@pytest.mark.parametrize("name", ["answers.csv", "answers.TXT", "answers.xlsx", "answers.parquet", "-"])
def test_outputs_in_forms_that_are_not_written_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["predict", "--data", "q.jsonl", "--output", name]) == 2
    err = capsys.readouterr().err
    assert ".jsonl" in err and "folder" in err
    assert not list(tmp_path.iterdir())
