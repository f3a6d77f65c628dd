"""The torch engine over a tiny real encoder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.batches import random_batch, tokens, window

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from komrc.engines.torch_engine import TorchEngine  # noqa: E402
from komrc.errors import EngineError  # noqa: E402
from komrc.modeling import SpanReader, onednn  # noqa: E402

SMALL = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64,
    "pad_token_id": 0,
}  # fmt: skip


@pytest.fixture(scope="module")
def model() -> SpanReader:
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=50, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=32,
    )  # fmt: skip
    return SpanReader(transformers.BertForQuestionAnswering(config), boundary=True)


def test_a_batch_does_not_change_logits_and_training_goes_on(model: SpanReader) -> None:
    model.train()
    engine = TorchEngine(model)
    given = random_batch(9, 5, vocab=50)
    both = engine.run(given)
    assert model.training
    alone = engine.run(window(given, 1))
    assert both.start.dtype == np.float32
    assert both.boundary is not None and both.boundary.front.shape == (14, 8)
    for a, b in zip(alone.arrays, both.arrays, strict=True):
        np.testing.assert_allclose(a, b[tokens(given, 1)], atol=1e-5)


def test_token_types_reach_the_model(model: SpanReader) -> None:
    engine = TorchEngine(model)
    given = random_batch(9, vocab=50)
    without = engine.run(replace(given, token_type_ids=np.zeros_like(given.token_type_ids)))
    assert not np.allclose(engine.run(given).start, without.start)


def test_bfloat16_is_near_and_comes_back_in_float32(model: SpanReader) -> None:
    given = random_batch(9, vocab=50)
    exact, near = TorchEngine(model).run(given), TorchEngine(model, precision="bf16").run(given)
    assert near.start.dtype == np.float32
    assert 0 < np.abs(exact.start - near.start).max() < 0.1


@pytest.mark.parametrize("kind", ["bert", "distilbert", "roberta", "deberta-v2"])
def test_a_model_loaded_for_bfloat16_is_near_one_loaded_for_float32(kind: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    small = {"dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 64} if kind == "distilbert" else SMALL
    config = transformers.AutoConfig.for_model(kind, vocab_size=50, max_position_embeddings=32, **small)
    model = SpanReader(transformers.AutoModelForQuestionAnswering.from_config(config), boundary=True)
    model.save(tmp_path)
    exact, near = TorchEngine.load(tmp_path), TorchEngine.load(tmp_path, "torch-bf16")
    assert (exact.name, near.name) == ("torch", "torch-bf16")
    converted = any(isinstance(module, onednn.BFloat16Linear) for module in near.model.modules())
    assert converted == (near.model.packs and onednn.available())
    given = random_batch(9, 4, 12, vocab=50)
    runs = TorchEngine(model).run(given), exact.run(given), near.run(given)
    assert len(runs[0].arrays) == 4
    for a, b, c in zip(*(logits.arrays for logits in runs), strict=True):
        np.testing.assert_allclose(b, a, atol=1e-5)
        assert c.dtype == np.float32
        assert 0 < np.abs(c - a).max() < 0.05


def test_what_torch_refuses_is_an_engine_error(model: SpanReader) -> None:
    given = random_batch(9, vocab=50)
    with pytest.raises(EngineError):
        TorchEngine(model).run(replace(given, input_ids=given.input_ids + 1000))
