"""Windows behind one another in one row: the same logits and gradients as with padding."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForQuestionAnswering
from transformers.models.auto.modeling_auto import MODEL_FOR_QUESTION_ANSWERING_MAPPING

from komrc.modeling import SpanReader
from komrc.modeling.span_reader import FIXED_ATTENTION

SMALL: dict[str, Any] = {
    "vocab_size": 60, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
    "intermediate_size": 32, "max_position_embeddings": 40, "pad_token_id": 1,
    "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0,
}  # fmt: skip
DISTILBERT = {
    "dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 32, "max_position_embeddings": 40, "vocab_size": 60,
    "pad_token_id": 1, "dropout": 0.0, "attention_dropout": 0.0, "qa_dropout": 0.0,
}  # fmt: skip
PACK = ("bert", "distilbert", "electra", "roberta", "xlm-roberta", "camembert", "albert", "ernie")
DONT = ("deberta-v2", "mpnet", "modernbert", "convbert")


def reader(folder: Path, kind: str, **more: Any) -> SpanReader:
    torch.manual_seed(3)
    values = DISTILBERT if kind == "distilbert" else SMALL
    config = AutoConfig.for_model(kind, **{**values, **more})
    AutoModelForQuestionAnswering.from_config(config).save_pretrained(folder)
    model = SpanReader.from_pretrained(folder, boundary=True)
    assert model.boundary is not None
    torch.nn.init.normal_(model.boundary.end.weight)
    return model


def windows() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Three windows of 12, 5 and 9 tokens, padded; ids, mask, types."""
    torch.manual_seed(1)
    mask = (torch.arange(12) < torch.tensor([[12], [5], [9]])).long()
    ids = torch.where(mask == 1, torch.randint(5, 60, mask.shape), 1)
    return ids, mask, (torch.arange(12) > 3).long() * mask


def outputs(model: SpanReader, kernel: Any) -> list[torch.Tensor]:
    """What the model says at real tokens."""
    ids, mask, types = windows()
    model.attention = kernel
    return [values[mask.bool()] for values in model(ids, mask, types) if values is not None]


@pytest.mark.parametrize("kind", PACK)
def test_packed_windows_have_the_logits_and_gradients_of_padded_ones(kind: str, tmp_path: Path) -> None:
    model = reader(tmp_path, kind).train()
    found = {}
    for kernel in ("sdpa", "packed"):
        model.zero_grad()
        values = outputs(model, kernel)
        assert model.attention == kernel
        sum((value * value.detach().cos()).sum() for value in values).backward()  # type: ignore[union-attr]
        found[kernel] = values, {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
    (padded, with_padding), (packed, without) = found.values()
    assert len(packed) == 4
    for a, b in zip(padded, packed, strict=True):
        assert torch.allclose(a, b, atol=1e-6)
    assert with_padding.keys() == without.keys()
    for name, gradient in with_padding.items():
        assert torch.allclose(gradient, without[name], atol=1e-5), name


def test_no_window_sees_its_neighbours(tmp_path: Path) -> None:
    model = reader(tmp_path, "bert")
    model.attention = "packed"
    ids, mask, types = windows()
    before = model(ids, mask, types)[0]
    ids[1] = ids[1].flip(0).clamp(min=5)
    after = model(ids, mask, types)[0]
    assert torch.equal(before[[0, 2]], after[[0, 2]])
    assert not torch.equal(before[1], after[1])


def test_flat_windows_have_the_logits_of_padded_ones(tmp_path: Path) -> None:
    model = reader(tmp_path, "bert")
    model.attention = "packed"
    ids, mask, types = windows()
    real = mask.bool()
    indptr = torch.tensor([0, 12, 17, 26])
    flat = model.forward_flat(ids[real], types[real], indptr)
    for a, b in zip(flat, model(ids, mask, types), strict=True):
        assert a is not None and b is not None and torch.equal(a, b[real])


@pytest.mark.parametrize("kind", DONT)
def test_other_models_keep_their_attention(kind: str, tmp_path: Path) -> None:
    model = reader(tmp_path, kind)
    before = model.attention
    model.attention = "packed"
    assert model.attention == before


def test_models_whose_attention_is_fixed_are_named() -> None:
    """transformers has no public function for it, so the list is compared with its private one."""
    kinds = [
        k
        for value in MODEL_FOR_QUESTION_ANSWERING_MAPPING.values()
        for k in (value if isinstance(value, tuple) else (value,))
    ]
    fixed = {
        kind.config_class.model_type
        for kind in kinds
        if (kind._supports_sdpa or kind._supports_flash_attn) and not kind._can_set_attn_implementation()
    }
    assert fixed == set(FIXED_ATTENTION)


def test_a_model_with_a_fixed_attention_is_not_packed(tmp_path: Path) -> None:
    config = AutoConfig.for_model(
        "falcon", vocab_size=60, hidden_size=16, num_hidden_layers=1, num_attention_heads=2
    )
    model = SpanReader(AutoModelForQuestionAnswering.from_config(config), boundary=False).eval()
    model.attention = "packed"
    assert not model.packs and model.attention != "packed"
    ids, mask, _ = windows()
    assert torch.allclose(model(ids, mask)[0][1, :5], model(ids[1:2, :5], mask[1:2, :5])[0][0], atol=1e-5)


def test_another_kernel_is_used_inside_the_context_only(tmp_path: Path) -> None:
    from transformers import AttentionInterface

    calls = []

    def attend(*arguments: Any, **options: Any) -> Any:
        calls.append(arguments[0])
        return AttentionInterface()["sdpa"](*arguments, **options)

    AttentionInterface.register("komrc_test", attend)
    model = reader(tmp_path, "bert")
    expected = outputs(model, "sdpa")[0]
    with model.attending_by("komrc_test"):
        ids, mask, types = windows()
        model(ids[:1], mask[:1], types[:1])
    assert len(calls) == 2
    assert model.attention == "sdpa" and torch.equal(outputs(model, "sdpa")[0], expected)
    assert len(calls) == 2


def test_attention_dropout_needs_padding(tmp_path: Path) -> None:
    model = reader(tmp_path, "bert", attention_probs_dropout_prob=0.1)
    model.attention = "packed"
    assert model.attention == "sdpa"


def test_a_saved_model_doesnt_know_its_kernel(tmp_path: Path) -> None:
    model = reader(tmp_path / "base", "bert")
    written = []
    for kernel in ("sdpa", "packed"):
        model.attention = kernel  # type: ignore[assignment]
        (tmp_path / kernel).mkdir()
        model.save(tmp_path / kernel)
        written.append((tmp_path / kernel / "config.json").read_text())
    assert written[0] == written[1]
    assert "packed" not in written[0]
