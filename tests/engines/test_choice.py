"""The rule of "auto": which engine for which folder, installation and processor."""

from __future__ import annotations

from pathlib import Path

import pytest

from komrc import system
from komrc.engines import choice
from komrc.engines.choice import Circumstances, choose, faster

VNNI = frozenset({"avx2", "avx512", "vnni"})
BF16 = VNNI | {"avx512_bf16"}
AMX = BF16 | {"amx"}
OLD = frozenset({"avx2"})
BOTH = frozenset({"onnx", "onnx-int8"})
FP32 = frozenset({"onnx"})
INT8 = frozenset({"onnx-int8"})
OPENVINO = frozenset({"openvino"})
NOTHING = frozenset[str]()


@pytest.mark.parametrize(
    ("graphs", "packages", "features", "engine"),
    [
        (NOTHING, OPENVINO, AMX, "torch"),
        (INT8, OPENVINO, AMX, "onnx-int8"),
        (INT8, NOTHING, OLD, "onnx-int8"),
        (FP32, NOTHING, AMX, "onnx"),
        (FP32, OPENVINO, OLD, "onnx"),
        (FP32, OPENVINO, VNNI, "onnx"),  # OpenVINO would compute in float32
        (FP32, OPENVINO, BF16, "openvino-bf16"),
        (FP32, OPENVINO, AMX, "openvino-bf16"),
        (BOTH, OPENVINO, AMX, "openvino-bf16"),  # 13.5 questions a second against 10.6
        (BOTH, OPENVINO, BF16, "onnx-int8"),  # 7.1 against 5.1
        (BOTH, NOTHING, AMX, "onnx-int8"),
        (BOTH, NOTHING, OLD, "onnx"),  # exact int8 products are slow without VNNI
        (FP32, NOTHING, NOTHING, "onnx"),
    ],
)
def test_the_rule(
    graphs: frozenset[str], packages: frozenset[str], features: frozenset[str], engine: str
) -> None:
    chosen = choose(Circumstances(graphs, packages, features))
    assert chosen.engine == engine
    assert chosen.reason


def test_what_would_be_faster_is_named_with_all_that_it_needs() -> None:
    around = Circumstances(FP32, NOTHING, AMX)
    found = {other.engine: other for other in faster(around, "onnx")}
    assert list(found) == ["openvino-bf16", "torch-bf16", "onnx-int8"]  # the fastest first
    assert found["openvino-bf16"].times == pytest.approx(3.8)
    assert found["openvino-bf16"].steps == ("pip install 'komrc[openvino]'",)
    assert found["torch-bf16"].steps == ("pip install 'komrc[train]'",)
    assert found["onnx-int8"].steps == ("pip install 'komrc[onnx]'; komrc export --quantize int8",)
    everything = Circumstances(BOTH, frozenset({"torch", "transformers", "openvino"}), AMX)
    assert all(not other.steps for other in faster(everything, "onnx"))
    assert faster(everything, "openvino-bf16") == []


@pytest.mark.parametrize("features", [OLD, NOTHING])
def test_nothing_is_promised_that_the_processor_lacks(features: frozenset[str]) -> None:
    assert {other.engine for other in faster(Circumstances(FP32, OPENVINO, features), "onnx")} == set()


def test_circumstances_are_read_from_the_folder_and_the_installation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "model.onnx").touch()
    (tmp_path / "model.safetensors").touch()
    monkeypatch.setattr(choice, "find_spec", lambda name: object() if name == "openvino" else None)
    monkeypatch.setattr(system, "processor_features", lambda: AMX)
    assert Circumstances.of(tmp_path) == Circumstances(FP32, OPENVINO, AMX, weights=True)
    assert choose(Circumstances.of(tmp_path)).engine == "openvino-bf16"


def test_a_graph_alone_can_not_be_read_by_torch() -> None:
    around = Circumstances(FP32, frozenset({"torch", "transformers"}), AMX, weights=False)
    assert not around.has("torch-bf16")
