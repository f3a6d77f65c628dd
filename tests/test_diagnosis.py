"""``komrc doctor``: what it finds, what it keeps to itself, and how it names what is wrong."""

from __future__ import annotations

import getpass
import json
import platform
import shutil
from importlib import metadata
from pathlib import Path

import pytest

from komrc import __version__, diagnosis, system
from komrc.cli import main
from komrc.models import hub


def test_it_finds_machine_packages_engine_and_an_answer(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["komrc"] == __version__
    assert found["processor"]["cores"] == system.cores()
    assert set(found["processor"]["features"]) == system.processor_features()
    assert found["packages"]["onnxruntime"] == metadata.version("onnxruntime")
    assert found["model"] == {
        "name": "embedded", "type": "bert", "layers": 12, "width": 384, "graphs": ["onnx-int8"],
    }  # fmt: skip
    assert found["engine"]["name"] == found["trial"]["engine"] == "onnx-int8"
    assert "only one in the folder" in found["engine"]["reason"]
    assert found["trial"]["answer"] == "세종"
    assert found["problems"] == []


def test_the_text_has_the_same_facts_and_nothing_private(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shutil.copytree(hub.embedded_model(), tmp_path / "secret-project" / "reader")
    assert main(["doctor", "--model", str(folder)]) == 0
    text = capsys.readouterr().out
    for part in (__version__, platform.python_version(), system.processor_name(), "reader: bert", "'세종'"):
        assert part in text
    assert "secret-project" not in text
    assert platform.node() not in text.split() and f"/{getpass.getuser()}/" not in text


def test_a_model_that_does_not_answer_is_a_problem_without_its_path(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shutil.copytree(hub.embedded_model(), tmp_path / "model")
    (folder / "manifest.json").unlink()
    (folder / "model-int8.onnx").write_bytes(b"not a graph")
    assert main(["doctor", "--model", str(folder)]) == 8
    text = capsys.readouterr().out
    assert "PROBLEM" in text and "ONNX Runtime can't load it" in text
    assert str(tmp_path) not in text
    assert "processor" in text  # all that can be found is shown all the same


def test_a_model_that_is_not_there_is_the_usual_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--model", "./nowhere"]) != 0
    assert "komrc: error" in capsys.readouterr().err


def test_missing_and_old_packages_are_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = metadata.version

    def version(name: str) -> str:
        if name == "openvino":
            raise metadata.PackageNotFoundError(name)
        return "1.0" if name == "onnxruntime" else real(name)

    lines = ["numpy>=2.0", "onnxruntime>=1.22", 'openvino>=2025.0; extra == "openvino"']
    lines += ['komrc[openvino]; extra == "both"', 'numpy>=1; extra == "both"']
    monkeypatch.setattr(metadata, "requires", lambda name: lines)
    monkeypatch.setattr(metadata, "version", version)
    monkeypatch.setattr(diagnosis, "_provided_extras", lambda: ["openvino", "both"])
    assert main(["doctor", "--json"]) == 8
    found = json.loads(capsys.readouterr().out)
    assert found["extras"] == {
        "openvino": {"missing": ["openvino"], "install": "pip install 'komrc[openvino]'"},
        "both": {"missing": ["openvino"], "install": "pip install 'komrc[both]'"},
    }
    assert found["problems"] == [
        "onnxruntime 1.0 is installed, KoMRC needs >=1.22; run pip install 'onnxruntime>=1.22'"
    ]


@pytest.mark.parametrize(
    ("torch", "engine", "advice"),
    [
        (None, "onnx-int8", "komrc[train]"),
        ("2.13.0+cpu", "onnx-int8", "can't use the GPU"),
        ("2.13.0", "onnx-int8", "--engine torch"),
        ("2.13.0", "torch", None),
    ],
)
def test_a_gpu_that_is_not_used_is_named(torch: str | None, engine: str, advice: str | None) -> None:
    found = diagnosis._gpu_advice(["NVIDIA H100, 80 GB"], torch, engine)
    assert found is None if advice is None else advice in str(found)
    assert diagnosis._gpu_advice([], torch, engine) is None
