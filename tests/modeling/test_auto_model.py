"""The span reader as a model of transformers: the logits of the torch engine, by the Auto classes too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.batches import random_batch
from transformers import AutoModel, AutoModelForQuestionAnswering, BertConfig, BertForQuestionAnswering

from komrc import SpanReaderConfig, SpanReaderForQuestionAnswering
from komrc.engines.torch_engine import TorchEngine
from komrc.errors import ModelError, UsageError
from komrc.models.hub import embedded_model

LENGTHS = (12, 30, 5)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model without a boundary head."""
    folder = tmp_path_factory.mktemp("plain")
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    BertForQuestionAnswering(BertConfig(vocab_size=60, **sizes)).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def embedded() -> SpanReaderForQuestionAnswering:
    return SpanReaderForQuestionAnswering.from_pretrained(embedded_model())


def logits(model: Any) -> list[np.ndarray]:
    """The model's logits of the tokens of a batch, one window after the other."""
    ids, mask, types = (torch.from_numpy(array) for array in random_batch(*LENGTHS).padded(0))
    with torch.inference_mode():
        output = model(input_ids=ids, attention_mask=mask, token_type_ids=types)
    names = ("start_logits", "end_logits", "trim_start_logits", "trim_end_logits")
    return [output[name][mask.bool()].numpy() for name in names if output.get(name) is not None]


def of_engine(folder: Path) -> list[np.ndarray]:
    return list(TorchEngine.load(folder).run(random_batch(*LENGTHS)).arrays)


def same(one: list[np.ndarray], other: list[np.ndarray], tolerance: float = 1e-4) -> bool:
    return len(one) == len(other) and all(
        np.allclose(a, b, atol=tolerance, rtol=tolerance) for a, b in zip(one, other, strict=True)
    )


def test_the_boundary_head_is_there(embedded: SpanReaderForQuestionAnswering) -> None:
    assert len(logits(embedded)) == 4
    assert same(logits(embedded), of_engine(embedded_model()))


def test_without_a_boundary_head(plain: Path) -> None:
    model = SpanReaderForQuestionAnswering.from_pretrained(plain)
    assert len(logits(model)) == 2
    assert same(logits(model), of_engine(plain))
    assert same(logits(model), logits(AutoModelForQuestionAnswering.from_pretrained(plain)))


@pytest.mark.parametrize("auto", [AutoModelForQuestionAnswering, AutoModel])
def test_the_auto_classes(auto: Any, embedded: SpanReaderForQuestionAnswering) -> None:
    config = SpanReaderConfig.from_pretrained(embedded_model())
    assert config.boundary_head and config.encoder["model_type"] == "bert"
    model = auto.from_pretrained(embedded_model(), config=config)
    assert type(model) is SpanReaderForQuestionAnswering
    assert same(logits(model), logits(embedded), 0)


def test_other_bert_models_stay_transformers_own(plain: Path) -> None:
    assert type(AutoModelForQuestionAnswering.from_pretrained(plain)) is BertForQuestionAnswering


def test_what_is_saved_is_a_komrc_folder(embedded: SpanReaderForQuestionAnswering, tmp_path: Path) -> None:
    embedded.save_pretrained(tmp_path / "copy")
    assert same(of_engine(tmp_path / "copy"), of_engine(embedded_model()))
    assert same(
        logits(SpanReaderForQuestionAnswering.from_pretrained(tmp_path / "copy")), logits(embedded), 0
    )


def test_a_new_model_of_a_configuration_learns() -> None:
    config = SpanReaderConfig.from_pretrained(embedded_model())
    config.encoder |= {"num_hidden_layers": 1, "hidden_size": 24, "intermediate_size": 8}
    model = AutoModelForQuestionAnswering.from_config(config)
    ids = torch.arange(5, 25)[None].repeat(2, 1)
    positions = {"start_positions": torch.tensor([3, 99]), "end_positions": torch.tensor([5, 99])}
    output = model(ids, **positions)
    expected = torch.nn.functional.cross_entropy(output.start_logits[:1], torch.tensor([3]))
    expected = (expected + torch.nn.functional.cross_entropy(output.end_logits[:1], torch.tensor([5]))) / 2
    assert torch.isclose(output.loss, expected)
    output.loss.backward()
    assert len(model(ids, return_dict=False)) == 4


def test_a_precision(plain: Path) -> None:
    for dtype in ("bfloat16", torch.bfloat16):
        model = SpanReaderForQuestionAnswering.from_pretrained(plain, dtype=dtype)
        assert next(model.parameters()).dtype == torch.bfloat16


def test_what_is_refused(plain: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="'device_map'"):
        SpanReaderForQuestionAnswering.from_pretrained(plain, device_map="auto")
    with pytest.raises(ModelError, match=r"config\.json"):
        SpanReaderForQuestionAnswering.from_pretrained(tmp_path)
