"""``komrc train``: help, mistakes, and that it trains."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from support.own_tokenizers import kobert_files
from support.tiny_data import some_questions
from support.tiny_model import tiny_model

from komrc.cli import main
from komrc.models import hub


def test_help_has_examples_and_says_what_attention_dropout_is(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["train", "--help"])
    said = capsys.readouterr().out
    assert end.value.code == 0
    assert "examples:" in said and "--resume" in said and "--attention-dropout" in said


def test_a_recipe_and_the_command_line_train_a_model(tmp_path: Path) -> None:
    data = some_questions(hub.sample_data("train"), tmp_path / "data.json", 12)
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        "tokens_per_batch: 1024\nnum_train_epochs: 1\nmodel_type: distilkobert\nno_cuda: true\n"
    )
    tokenizer = kobert_files(tmp_path / "tokenizer")
    model = tiny_model(tmp_path / "model", tokenizer=tokenizer, architecture="distilbert")
    out = tmp_path / "out"
    given = ["--train-file", data, data, "--output-dir", out, "--model", model, "--no-boundary-head"]
    given += ["--cache-dir", tmp_path / "cache", "--config", recipe, "--negative-windows", "0.5"]
    assert main(["train", *map(str, given)]) == 0
    assert json.loads((out / "komrc.json").read_text())["boundary_head"] is False
    assert not (out / "predictions_.json").exists()  # there was nothing to predict


@pytest.mark.parametrize(
    ("given", "code", "what"),
    [
        (["--output-dir", "o"], 2, "nothing to train on"),
        (["--train-file", "none.json", "--output-dir", "o"], 3, "none.json"),
        (["--train-file", "none.json"], 2, "output folder"),
        (["--train-file", "a.json", "--output-dir", "o", "--learning-rate", "-1"], 2, "too small"),
    ],
)
def test_mistakes_end_with_a_message(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    given: list[str],
    code: int,
    what: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["train", *given]) == code
    assert what in capsys.readouterr().err


def test_without_torch_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    assert main(["train", "--train-file", "a.json", "--output-dir", str(tmp_path)]) == 8
    said = capsys.readouterr().err
    assert "training needs torch" in said and "pip install" in said
