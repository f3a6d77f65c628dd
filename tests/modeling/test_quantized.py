"""The int8 weights file: what torch reads back, and what a damaged one does."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from safetensors.numpy import load_file, save_file

from komrc.errors import ModelError
from komrc.modeling import SpanReader
from komrc.modeling.quantized import (
    dequantize,
    is_quantized,
    load_quantized,
    quantize,
    save_quantized,
)
from komrc.models import hub

weights = hnp.arrays(
    np.float32,
    hnp.array_shapes(min_dims=2, max_dims=2, max_side=9),
    elements=st.floats(-1e4, 1e4, width=32, allow_subnormal=False),
)


@settings(max_examples=60, deadline=None)
@given(weights, st.sampled_from(["bert.embeddings.word_embeddings.weight", "bert.layer.0.dense.weight"]))
def test_no_weight_moves_by_more_than_half_a_step_of_its_row(weight: np.ndarray, name: str) -> None:
    back = dequantize(quantize({name: weight}))[name]
    assert back.shape == weight.shape
    step = np.abs(weight).max(axis=1, keepdims=True) / 127
    assert (np.abs(back - weight) <= step * 0.501 + 1e-30).all()


@settings(max_examples=30, deadline=None)
@given(weights)
def test_quantizing_twice_changes_nothing_more(weight: np.ndarray) -> None:
    once = dequantize(quantize({"layer.weight": weight}))
    twice = dequantize(quantize(once))
    assert np.allclose(once["layer.weight"], twice["layer.weight"], rtol=1e-5)


def test_linear_weights_lie_as_onnx_multiplies_by_them(tmp_path: Path) -> None:
    weight = np.arange(6, dtype=np.float32).reshape(2, 3)  # [out, in]
    save_quantized({"layer.weight": weight}, tmp_path / "model.safetensors")
    stored = load_file(tmp_path / "model.safetensors")
    assert stored["layer.weight"].dtype == np.int8
    assert stored["layer.weight"].shape == (3, 2)
    assert stored["layer.weight.scale"].shape == (2,)


def test_heads_and_biases_keep_their_precision() -> None:
    rows = np.random.default_rng(0).normal(size=(8, 4)).astype(np.float16)
    state = {"boundary.start.weight": rows, "qa_outputs.weight": rows[:2], "layer.bias": rows[0]}
    back = dequantize(quantize(state))
    for name, value in state.items():
        assert back[name].dtype == np.float32
        assert (back[name] == value).all()


def test_a_plain_file_is_no_int8_file(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_file({"a.weight": np.zeros((2, 2), np.float32)}, path)
    assert not is_quantized(path)
    with pytest.raises(ModelError, match="not an int8 weights file"):
        load_quantized(path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"abc",
        struct.pack("<Q", 1 << 60) + b"{}",
        struct.pack("<Q", 4) + b"nope",
        struct.pack("<Q", 2) + b"[]",
        struct.pack("<Q", 4) + b"\xff\xfe\xff\xfe",
    ],
    ids=["empty", "short", "endless header", "no JSON", "no table", "no text"],
)
def test_a_damaged_file_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"model\.safetensors"):
        is_quantized(path)


def test_a_file_cut_short_is_named(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_quantized({"layer.weight": np.ones((64, 64), np.float32)}, path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ModelError, match="does not fit into the file"):
        load_quantized(path)


def test_the_embedded_model_loads_for_torch_and_stays_small() -> None:
    folder = hub.embedded_model()
    assert (folder / "model.safetensors").stat().st_size <= 32_000_000
    model = SpanReader.from_pretrained(folder)
    assert model.untrained == ()
    assert all(value.dtype == torch.float32 for value in model.weights().values())
    card = json.loads((folder / "komrc.json").read_text(encoding="utf-8"))
    assert card["boundary_head"] == (model.boundary is not None)
