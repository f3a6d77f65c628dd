"""The torch engine over a tiny real encoder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from komrc.engines import Batch  # noqa: E402
from komrc.engines.torch import TorchEngine  # noqa: E402
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


def batch(lengths: tuple[int, ...]) -> Batch:
    ids = np.random.default_rng(0).integers(5, 50, (len(lengths), max(lengths)))
    mask = (np.arange(max(lengths)) < np.array(lengths)[:, None]).astype(np.int64)
    return Batch(ids * mask, mask, np.ones_like(ids))


def test_padding_does_not_change_logits_and_training_goes_on(model: SpanReader) -> None:
    model.train()
    engine = TorchEngine(model)
    both = engine.run(batch((9, 5)))
    assert model.training
    given = batch((9, 5))
    assert given.token_type_ids is not None
    alone = engine.run(
        Batch(given.input_ids[1:, :5], given.attention_mask[1:, :5], given.token_type_ids[1:, :5])
    )
    assert both.start.dtype == np.float32
    np.testing.assert_allclose(alone.start[0], both.start[1, :5], atol=1e-5)
    np.testing.assert_allclose(alone.drop_back[0], both.drop_back[1, :5], atol=1e-5)
    assert both.drop_front is not None and both.drop_front.shape == (2, 9, 8)


def test_token_types_reach_the_model(model: SpanReader) -> None:
    engine = TorchEngine(model)
    given = batch((9,))
    without = engine.run(Batch(given.input_ids, given.attention_mask, None))
    assert not np.allclose(engine.run(given).start, without.start)


def test_bfloat16_is_near_and_comes_back_in_float32(model: SpanReader) -> None:
    exact, near = TorchEngine(model).run(batch((9,))), TorchEngine(model, precision="bf16").run(batch((9,)))
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
    given = batch((9, 4, 12))
    mask = given.attention_mask.astype(bool)
    plain, wanted, found = TorchEngine(model).run(given), exact.run(given), near.run(given)
    for name in ("start", "end", "drop_front", "drop_back"):
        a, b, c = (getattr(x, name)[mask] for x in (plain, wanted, found))
        np.testing.assert_allclose(b, a, atol=1e-5)
        assert c.dtype == np.float32
        assert 0 < np.abs(c - a).max() < 0.05


def test_what_torch_refuses_is_an_engine_error(model: SpanReader) -> None:
    given = batch((9,))
    with pytest.raises(EngineError):
        TorchEngine(model).run(Batch(given.input_ids + 1000, given.attention_mask, None))
