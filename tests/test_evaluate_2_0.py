"""The command of KorQuAD 2: its arguments, the official JSON to the last bit, and no tracebacks."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from komrc.cli import main
from komrc.metrics import korquad2

SCRIPT = Path(__file__).resolve().parents[1] / "evaluate-2.0.py"


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False)


def article(name: str | int, text: str) -> dict[str, object]:
    context = f"<html><body><p>{text}</p></body></html>"
    answer = {"text": text, "answer_start": context.index(text)}
    return {"title": "t", "context": context, "qas": [{"id": name, "question": "?", "answer": answer}]}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "dev"
    folder.mkdir()
    texts = {"a": "<b>494km</b>", "b": "북한강 남한강", "c": "<li>북한강</li>", 4: "삼총사"}
    for i, (name, text) in enumerate(texts.items()):
        document = {"version": "KorQuAD_2.1_dev", "data": [article(name, text)]}
        (folder / f"{9 - i}.json").write_text(json.dumps(document, ensure_ascii=False), encoding="utf-8")
    (folder / "notes.txt").write_text("no data", encoding="utf-8")
    return folder


def predictions(folder: Path, value: object) -> Path:
    path = folder / "predictions.json"
    path.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")
    return path


def test_script_and_command_print_the_official_json(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = predictions(tmp_path, {"a": "494 km", "b": "<td>남한강", "4": "《삼총사》"})
    done = run(data, answers)
    half = 2 * 1.0 * 0.5 / 1.5
    expected = json.dumps({"exact_match": 100.0 * 2 / 4, "f1": 100.0 * (1.0 + half + 1.0) / 4}) + "\n"
    assert (done.returncode, done.stdout) == (0, expected)
    assert done.stderr == "Unanswered question c will receive score 0.\n"
    assert main(["evaluate", str(data), str(answers), "--korquad2"]) == 0
    assert main(["evaluate", str(data), str(answers), "--metric", "korquad2"]) == 0
    out, err = capsys.readouterr()
    assert (out, err) == (expected * 2, done.stderr * 2)


def test_sums_in_the_order_in_which_the_system_lists_the_folder(tmp_path: Path) -> None:
    random.seed(5)
    folder = tmp_path / "many"
    folder.mkdir()
    answers, f1_of = {}, {}
    for i in range(60):
        gold = "".join(random.choices("가나다라마바사아자차", k=random.randrange(1, 40)))
        answers[str(i)] = "".join(random.choices("가나다라마바사아자차", k=random.randrange(1, 40)))
        f1_of[f"{i}.json"] = korquad2.f1(answers[str(i)], gold)
        document = {"data": [article(i, gold)]}
        (folder / f"{i}.json").write_text(json.dumps(document, ensure_ascii=False), encoding="utf-8")
    total = 0.0
    for name in os.listdir(folder):  # noqa: PTH208
        total += f1_of[name]
    done = run(folder, predictions(tmp_path, answers))
    assert json.loads(done.stdout)["f1"] == 100.0 * total / 60


def test_one_file_or_a_zip_file(data: Path, tmp_path: Path) -> None:
    answers = predictions(tmp_path, {"a": "494km", "b": "x"})
    done = run(data / "9.json", answers)
    assert json.loads(done.stdout) == {"exact_match": 100.0, "f1": 100.0}
    with zipfile.ZipFile(tmp_path / "dev.zip", "w") as archive:
        archive.write(data / "9.json", "korquad2.1_dev_00.json")
        archive.write(data / "8.json", "korquad2.1_dev_01.json")
    assert json.loads(run(tmp_path / "dev.zip", answers).stdout) == {"exact_match": 50.0, "f1": 50.0}


@pytest.mark.parametrize("text", ["[]", "", "{", '{"a": 3}', '{"a": null}'])
def test_bad_predictions(data: Path, tmp_path: Path, text: str) -> None:
    path = tmp_path / "predictions.json"
    path.write_text(text, encoding="utf-8")
    refuse(run(data, path))


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "{}",
        '{"data": 3}',
        '{"data": []}',
        '{"data": [3]}',
        '{"data": [{"qas": [{"id": "a"}]}]}',
        "<html>",
    ],
)
def test_bad_data(tmp_path: Path, text: str) -> None:
    (tmp_path / "data.json").write_text(text, encoding="utf-8")
    refuse(run(tmp_path / "data.json", predictions(tmp_path, {"a": "x"})))


def refuse(done: subprocess.CompletedProcess[str]) -> None:
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith("evaluate-2.0.py: error: ")
    assert "Traceback" not in done.stderr


def test_other_options_of_evaluate(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answers = predictions(tmp_path, {"a": "494km"})
    assert main(["evaluate", str(data), str(answers), "--korquad2", "--trim-particles", "kiwi"]) == 2
    assert main(["evaluate", str(data), str(predictions(tmp_path, {"x": "1"})), "--korquad2"]) == 3
    assert "no id of PREDICTIONS is in DATA" in capsys.readouterr().err
