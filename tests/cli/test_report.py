"""``komrc report`` from the command line."""

import json

import pytest

from komrc.cli import main
from komrc.models import hub

CONTEXT = "서울은 대한민국의 수도이다. 인구는 9백만 명이다."


@pytest.fixture
def files(tmp_path):
    qas = [
        {
            "id": name,
            "question": question,
            "answers": [{"text": answer, "answer_start": CONTEXT.index(answer)}],
        }
        for name, question, answer in (("a", "수도는?", "서울"), ("b", "인구는?", "9백만 명"))
    ]
    data = {"version": "x", "data": [{"title": "t", "paragraphs": [{"context": CONTEXT, "qas": qas}]}]}
    (tmp_path / "data.json").write_text(json.dumps(data), encoding="utf-8")
    (tmp_path / "old.json").write_text(json.dumps({"a": "서울은", "b": "9백만 명"}), encoding="utf-8")
    (tmp_path / "new.json").write_text(json.dumps({"a": "서울", "b": "9백만 명"}), encoding="utf-8")
    return tmp_path


def test_writes_page_and_numbers(files):
    pytest.importorskip("matplotlib")
    arguments = [str(files / "data.json"), str(files / "old.json"), "--compare", str(files / "new.json")]
    page, numbers = files / "r.html", files / "r.json"
    assert main(["report", *arguments, "--output", str(page), "--json", str(numbers)]) == 0
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")
    value = json.loads(numbers.read_text(encoding="utf-8"))
    assert value["exact_match"]["mean"] == 50.0
    assert value["comparison"]["won"] == 1


def test_trimming_is_compared_with_the_untrimmed(files):
    pytest.importorskip("kiwipiepy")
    numbers = files / "r.json"
    arguments = [str(files / "data.json"), str(files / "old.json"), "--trim-particles", "kiwi"]
    assert main(["report", *arguments, "--json", str(numbers)]) == 0
    comparison = json.loads(numbers.read_text(encoding="utf-8"))["comparison"]
    assert (comparison["won"], comparison["lost"]) == (1, 0)


def test_numbers_go_to_standard_output_when_asked(files, capsys):
    arguments = ["report", str(files / "data.json"), str(files / "old.json")]
    assert main([*arguments, "--json", str(files / "r.json")]) == 0
    capsys.readouterr()
    assert main([*arguments, "--json", "-"]) == 0
    written = json.loads((files / "r.json").read_text(encoding="utf-8"))
    assert json.loads(capsys.readouterr().out) == written


def test_nothing_to_write_is_a_mistake(files, capsys):
    assert main(["report", str(files / "data.json"), str(files / "old.json")]) == 2
    assert "--output" in capsys.readouterr().err


def test_with_the_tokenizer_of_a_model(files):
    numbers = files / "r.json"
    arguments = [str(files / "data.json"), str(files / "old.json"), "--model", str(hub.embedded_model())]
    assert main(["report", *arguments, "--json", str(numbers)]) == 0
    value = json.loads(numbers.read_text(encoding="utf-8"))
    assert 0 <= value["ceiling"]["exact_match"] <= 100
    assert {part["group"] for part in value["slices"]} >= {"tokens", "windows"}


@pytest.mark.parametrize("option", ["--output", "--json"])
@pytest.mark.parametrize("name", ["data.json", "old.json", "new.json", "link.html"])
def test_an_output_that_is_an_input_is_refused(files, capsys, option, name):
    pytest.importorskip("matplotlib")
    (files / "link.html").symlink_to(files / "data.json")
    before = {path.name: path.read_bytes() for path in files.iterdir()}
    arguments = [str(files / "data.json"), str(files / "old.json"), "--compare", str(files / "new.json")]
    assert main(["report", *arguments, option, str(files / name)]) == 2
    assert "input" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in files.iterdir()} == before


def test_a_device_is_not_replaced(files, capsys):
    arguments = [str(files / "data.json"), str(files / "old.json")]
    (files / "pipe").symlink_to("/dev/null")
    assert main(["report", *arguments, "--json", str(files / "pipe")]) == 6
    assert "device" in capsys.readouterr().err
    assert (files / "pipe").is_symlink()
