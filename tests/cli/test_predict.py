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
    from komrc.predicting.model_ref import _digest

    (tmp_path / "model").mkdir()
    weights = tmp_path / "model/model.safetensors"
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


@pytest.mark.parametrize(
    "name", ["answers.csv", "answers.TSV", "a.txt", "a.xlsx", "a.parquet", "a.json.gz", "-"]
)
def test_an_output_of_another_form_is_refused(
    name: str, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["predict", "--data", str(data), "--output", name]) == 2
    said = capsys.readouterr().err
    assert ".json" in said and ".jsonl" in said and "folder" in said
    assert [path.name for path in tmp_path.iterdir()] == ["data.json"]
    assert main(["predict", "--data", str(data), "--output", "p.json", "--nbest-output", name]) == 2


@pytest.mark.parametrize(
    "outputs",
    [
        ["--output", "data.json"],
        ["--output", "./../here/data.json"],
        ["--output", "link.json"],
        ["--output", "p.json", "--nbest-output", "data.json"],
        ["--output", "../here"],
        ["--output", "model/config.json", "--model", "model"],
        ["--output", "model", "--model", "model"],
    ],
)
def test_an_output_that_is_an_input_is_refused(
    outputs: list[str], data: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    here = data.parent / "here"
    (here / "model").mkdir(parents=True)
    (here / "model/config.json").write_text("{}")
    data = data.rename(here / "data.json")
    (here / "link.json").symlink_to(data)
    before = {path: path.read_bytes() for path in here.rglob("*") if path.is_file()}
    monkeypatch.chdir(here)
    assert main(["predict", "--data", "data.json", *outputs]) == 2
    assert "input" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in here.rglob("*") if path.is_file()} == before


def test_an_output_inside_the_data_folder_is_refused(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("answers.json", "answers"):
        assert main(["predict", "--data", str(data.parent), "--output", str(data.parent / name)]) == 2
        assert "next run" in capsys.readouterr().err
    assert [path.name for path in data.parent.iterdir()] == ["data.json"]


def test_predictions_may_be_written_into_the_model_folder_again(data: Path, tmp_path: Path) -> None:
    import shutil

    from komrc.models import hub

    model = Path(shutil.copytree(hub.embedded_model(), tmp_path / "model"))
    arguments = ["predict", "--model", str(model), "--data", str(data), "--output", str(model / "p.json")]
    assert main(arguments) == 0
    assert main(arguments) == 0
