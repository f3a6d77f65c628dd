"""The OpenVINO engine gives ONNX Runtime's logits of the same graph."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.batches import random_batch, tokens, window

pytest.importorskip("openvino")
torch = pytest.importorskip("torch")

from transformers import AutoConfig, AutoModelForQuestionAnswering  # noqa: E402

from komrc.engines import Logits  # noqa: E402
from komrc.engines.loading import load_engine  # noqa: E402
from komrc.engines.onnx_engine import OnnxEngine  # noqa: E402
from komrc.engines.openvino_engine import OpenVinoEngine  # noqa: E402
from komrc.errors import EngineError  # noqa: E402
from komrc.exporting.trace import optimize, write_graph  # noqa: E402
from komrc.modeling import SpanReader  # noqa: E402

SMALL: dict[str, Any] = {
    "vocab_size": 60, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
    "intermediate_size": 64, "max_position_embeddings": 72, "pad_token_id": 1, "initializer_range": 0.2,
}  # fmt: skip


def graph(folder: Path, kind: str, *, boundary: bool = True) -> Path:
    torch.manual_seed(3)
    small = {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 64} if kind == "distilbert" else SMALL
    config = AutoConfig.for_model(kind, **{**small, "vocab_size": 60, "max_position_embeddings": 72})
    model = SpanReader(AutoModelForQuestionAnswering.from_config(config), boundary=boundary).eval()
    (folder / "config.json").write_text(json.dumps(config.to_dict()), encoding="utf-8")
    write_graph(model, folder / "model.onnx")
    optimize(folder / "model.onnx", heads=4, hidden=32)
    return folder / "model.onnx"


def engine(path: Path, **more: Any) -> OpenVinoEngine:
    return OpenVinoEngine(path, config=json.loads((path.parent / "config.json").read_text()), **more)


def apart(a: Logits, b: Logits) -> float:
    """The largest difference; both have the same heads."""
    return max(float(np.abs(x - y).max()) for x, y in zip(a.arrays, b.arrays, strict=True))


@pytest.mark.parametrize(
    ("kind", "boundary"), [("bert", True), ("bert", False), ("distilbert", True), ("roberta", True)]
)
def test_the_logits_are_those_of_onnx_runtime(kind: str, boundary: bool, tmp_path: Path) -> None:
    path = graph(tmp_path, kind, boundary=boundary)
    given = random_batch(40, 7, 33, 64, 1)
    wanted, found = OnnxEngine(path).run(given), engine(path).run(given)
    assert found.start.dtype == np.float32 and found.start.shape == given.input_ids.shape
    assert (found.boundary is not None) is boundary
    assert apart(wanted, found) < 1e-4


def test_a_window_has_the_same_logits_alone_and_in_any_batch_on_any_number_of_cores(tmp_path: Path) -> None:
    path = graph(tmp_path, "bert")
    given = random_batch(12, 30, 7, 30)
    one, three = engine(path, threads=1).run(given), engine(path, threads=3).run(given)
    assert apart(one, three) == 0
    alone = engine(path, threads=1).run(window(given, 2))
    assert (alone.start == one.start[tokens(given, 2)]).all()


def test_bfloat16_is_near(tmp_path: Path) -> None:
    path = graph(tmp_path, "bert")
    given = random_batch(40, 20)
    exact, near = engine(path).run(given), engine(path, name="openvino-bf16").run(given)
    assert apart(exact, near) < 0.05 * float(exact.start.std() + exact.end.std())


def test_a_model_without_a_graph_or_with_a_broken_one_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"has no model\.onnx.*komrc export"):
        OpenVinoEngine.load(tmp_path, "openvino")
    (tmp_path / "model.onnx").write_bytes(b"\x08\x07not a graph")
    with pytest.raises(EngineError, match=r"OpenVINO can't load it"):
        OpenVinoEngine.load(tmp_path, "openvino")


def test_weights_in_other_files_are_not_read(tmp_path: Path) -> None:
    import onnx

    path = graph(tmp_path, "bert")
    onnx.save_model(onnx.load(path), path, save_as_external_data=True, location="other.bin", size_threshold=0)
    with pytest.raises(EngineError, match=r"OpenVINO can't load it"):
        OpenVinoEngine.load(tmp_path, "openvino")


def test_what_the_models_tables_do_not_hold_is_an_error_and_not_zeros(tmp_path: Path) -> None:
    running = engine(graph(tmp_path, "bert"))
    with pytest.raises(EngineError, match=r"a window of 90 tokens.*72 or less"):
        running.run(random_batch(90))
    given = random_batch(9)
    with pytest.raises(EngineError, match="of the tokenizer"):
        running.run(replace(given, input_ids=given.input_ids + 60))
    assert np.isfinite(running.run(given).start).all()  # and goes on


def test_without_openvino_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    from komrc.models import hub

    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(EngineError, match=r"komrc\[openvino\]"):
        load_engine(hub.embedded_model(), "openvino")
