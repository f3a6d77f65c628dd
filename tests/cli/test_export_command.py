"""``komrc export``: its report, and its errors."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from komrc import cli, exporting


def test_the_report_is_json_on_stdout_and_the_steps_are_on_stderr(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    scores = {"fp32": {"exact_match": 70.0, "f1": 80.0}, "int8": {"exact_match": 69.9, "f1": 80.1}}
    asked = {}

    def stand_in(model: str, output: Path, **options: object) -> exporting.Report:
        asked.update(options, model=model, output=output)
        options["say"]("quantizing")  # type: ignore[operator]
        return exporting.Report("model-int8.onnx", 20, 1e-5, 64, 66, scores)

    monkeypatch.setattr(exporting, "export", stand_in)
    code = cli.main(
        ["export", "--model", "m", "--output", str(tmp_path), "--quantize", "int8", "--max-em-drop", "0.2"]
    )
    assert code == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["scores"] == scores
    assert "quantizing" in err
    assert asked["model"] == "m"
    assert asked["quantize"] == "int8"
    assert asked["max_em_drop"] == 0.2


def test_a_model_that_is_not_there_is_one_message(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = cli.main(["export", "--model", str(tmp_path / "nothing"), "--output", str(tmp_path / "out")])
    assert code in (4, 5)
    assert "nothing" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_missing_package_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    assert cli.main(["export", "--output", str(tmp_path / "out")]) == 8
    assert "komrc[onnx]" in capsys.readouterr().err
