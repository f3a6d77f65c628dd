"""SpanReader: the same logits as Hugging Face's model, and clear words for what is no model."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForQuestionAnswering

from komrc.engines.loading import load_engine
from komrc.errors import ModelError
from komrc.modeling import SpanReader

SMALL: dict[str, Any] = {
    "vocab_size": 60, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
    "intermediate_size": 32, "max_position_embeddings": 40, "pad_token_id": 1,
}  # fmt: skip
KINDS: dict[str, dict[str, Any]] = {
    "bert": {},
    "distilbert": {
        "dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 32, "max_position_embeddings": 40,
        "vocab_size": 60, "pad_token_id": 1,
    },
    "electra": {"embedding_size": 8},
    "roberta": {},
    "xlm-roberta": {},
    "camembert": {},
    "albert": {"embedding_size": 8},
    "deberta-v2": {},
    "convbert": {"embedding_size": 8},
    "mpnet": {},
    "modernbert": {"num_hidden_layers": 3},
    "ernie": {},
}  # fmt: skip


def saved(folder: Path, kind: str = "bert", **more: Any) -> Path:
    torch.manual_seed(3)
    values = KINDS[kind] if kind == "distilbert" else {**SMALL, **KINDS[kind]}
    config = AutoConfig.for_model(kind, **{**values, **more})
    AutoModelForQuestionAnswering.from_config(config).save_pretrained(folder)
    return folder


def pair(length: int = 12) -> tuple[Any, Any]:
    ids = torch.arange(5, 5 + length)[None].repeat(2, 1) % 55 + 5
    mask = torch.ones_like(ids)
    mask[1, length // 2 :] = 0
    return torch.where(mask == 1, ids, 1), mask


@pytest.mark.parametrize("kind", KINDS)
def test_every_architecture_gives_hugging_faces_logits(kind: str, tmp_path: Path) -> None:
    folder = saved(tmp_path / kind, kind)
    model = SpanReader.from_pretrained(folder, model_type=kind, boundary=True)
    theirs = AutoModelForQuestionAnswering.from_pretrained(folder).eval()
    ids, mask = pair()
    types = torch.zeros_like(ids)
    types[:, 4:] = 1
    more = {"token_type_ids": types} if model.uses_token_types else {}
    with torch.inference_mode():
        start, end, front, back = model(ids, mask, types)
        wanted = theirs(input_ids=ids, attention_mask=mask, **more)
    real = mask.bool()
    assert torch.allclose(start[real], wanted.start_logits[real], atol=1e-6)
    assert torch.allclose(end[real], wanted.end_logits[real], atol=1e-6)
    assert front.shape == back.shape == (2, 12, 8)
    assert front.argmax(-1).eq(0).all() and back.argmax(-1).eq(0).all()  # an untrained head cuts nothing


@pytest.mark.parametrize("kind", ["bert", "roberta", "distilbert"])
def test_windows_up_to_the_limit_are_read_and_longer_ones_refused_with_it(kind: str, tmp_path: Path) -> None:
    model = SpanReader.from_pretrained(saved(tmp_path / kind, kind))
    limit = 38 if kind == "roberta" else 40  # RoBERTa counts positions from the padding id on
    assert model.max_positions == limit
    with torch.inference_mode():
        model(*pair(limit))
        with pytest.raises(ModelError, match=str(limit)):
            model(*pair(limit + 1))


@pytest.mark.parametrize("boundary", [True, False])
def test_what_is_saved_loads_with_the_same_logits_here_and_in_transformers(
    tmp_path: Path, boundary: bool
) -> None:
    model = SpanReader.from_pretrained(saved(tmp_path / "base"), boundary=boundary)
    if model.boundary is not None:
        torch.nn.init.normal_(model.boundary.end.weight)
    (tmp_path / "out").mkdir()
    model.save(tmp_path / "out")
    again = SpanReader.from_pretrained(tmp_path / "out")
    theirs = AutoModelForQuestionAnswering.from_pretrained(tmp_path / "out").eval()
    ids, mask = pair()
    with torch.inference_mode():
        first, second = model.eval()(ids, mask), again(ids, mask)
        wanted = theirs(input_ids=ids, attention_mask=mask)
    assert again.untrained == ()
    assert (again.boundary is not None) == boundary
    assert all((a is None and b is None) or torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert torch.equal(wanted.start_logits, second[0])


def test_half_precision_weights_are_computed_with_in_float32(tmp_path: Path) -> None:
    folder = saved(tmp_path)
    file = folder / "model.safetensors"
    save_file({name: tensor.half() for name, tensor in load_file(file).items()}, file)
    model = SpanReader.from_pretrained(folder)
    assert {p.dtype for p in model.parameters()} == {torch.float32}


def test_an_encoder_alone_gets_a_new_head_and_says_so(tmp_path: Path) -> None:
    from transformers import AutoModel

    AutoModel.from_config(AutoConfig.for_model("bert", **SMALL)).save_pretrained(tmp_path)
    assert SpanReader.from_pretrained(tmp_path, boundary=True).untrained == ("span head", "boundary head")


def test_a_classifier_of_three_classes_serves_as_an_encoder(tmp_path: Path) -> None:
    from transformers import AutoModelForSequenceClassification

    config = AutoConfig.for_model("bert", num_labels=3, **SMALL)
    AutoModelForSequenceClassification.from_config(config).save_pretrained(tmp_path)
    assert SpanReader.from_pretrained(tmp_path).untrained == ("span head",)


def test_what_was_never_trained_to_mark_answers_gives_none(tmp_path: Path) -> None:
    from transformers import AutoModel

    AutoModel.from_config(AutoConfig.for_model("bert", **SMALL)).save_pretrained(tmp_path)
    with pytest.raises(ModelError, match=r"never trained to mark answers.*komrc train --model"):
        SpanReader.trained(tmp_path)
    with pytest.raises(ModelError, match="never trained"):
        load_engine(tmp_path, "torch")


def as_pickle(folder: Path, content: Any) -> Path:
    (folder / "model.safetensors").unlink()
    torch.save(content, folder / "pytorch_model.bin")
    return folder


@pytest.mark.parametrize("wrapper", ["module.", "model.", "module.model."])
@pytest.mark.parametrize("kind", ["bert", "modernbert"])
def test_what_a_wrapper_put_before_the_names_is_taken_off(wrapper: str, kind: str, tmp_path: Path) -> None:
    folder = saved(tmp_path, kind)
    wanted = SpanReader.trained(folder).weights()
    as_pickle(folder, {wrapper + name: tensor for name, tensor in wanted.items()})
    found = SpanReader.trained(folder).weights()
    assert all(torch.equal(found[name], tensor) for name, tensor in wanted.items())


def test_the_weights_in_a_trainers_checkpoint_are_found(tmp_path: Path) -> None:
    folder = saved(tmp_path)
    state = SpanReader.trained(folder).weights()
    as_pickle(folder, {"model": state, "optimizer": {"state": {}, "param_groups": []}, "epoch": 3})
    assert torch.equal(SpanReader.trained(folder).weights()["qa_outputs.bias"], state["qa_outputs.bias"])
    torch.save({"model": state, "ema": state}, folder / "pytorch_model.bin")
    with pytest.raises(ModelError, match=r"2 tables of tensors.*save_pretrained"):
        SpanReader.trained(folder)


def test_weights_of_tensorflow_are_named(tmp_path: Path) -> None:
    folder = saved(tmp_path)
    (folder / "model.safetensors").rename(folder / "tf_model.h5")
    with pytest.raises(ModelError, match=r"tf_model\.h5 only.*Convert"):
        SpanReader.trained(folder)


def test_the_boundary_head_reads_a_third_of_the_way_up(tmp_path: Path) -> None:
    folder = saved(tmp_path / "six", num_hidden_layers=6)
    torch.manual_seed(1)
    model = SpanReader.from_pretrained(folder, boundary=True)
    before = model(*pair())
    torch.nn.init.normal_(model.qa.bert.encoder.layer[2].output.dense.weight)
    above = model(*pair())
    assert not torch.allclose(before[0], above[0])
    assert torch.equal(before[3], above[3])
    torch.nn.init.normal_(model.qa.bert.encoder.layer[1].output.dense.weight)
    assert not torch.allclose(before[3], model(*pair())[3])


def test_attention_dropout_is_taken_from_the_caller(tmp_path: Path) -> None:
    model = SpanReader.from_pretrained(saved(tmp_path), attention_dropout=0.0)
    attention = [m for name, m in model.named_modules() if name.endswith("attention.self")]
    assert attention and all(m.dropout.p == 0.0 for m in attention)


def test_kobert_is_a_bert_and_distilkobert_a_distilbert(tmp_path: Path) -> None:
    SpanReader.from_pretrained(saved(tmp_path / "a", "bert"), model_type="kobert")
    SpanReader.from_pretrained(saved(tmp_path / "b", "distilbert"), model_type="distilkobert")
    with pytest.raises(ModelError, match=r"of type bert, not distilkobert.*kobert"):
        SpanReader.from_pretrained(tmp_path / "a", model_type="distilkobert")


def test_an_unknown_type_is_met_with_what_is_possible(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"Did you mean electra\?.*kobert, distilkobert.*modernbert"):
        SpanReader.from_pretrained(saved(tmp_path), model_type="elektra")


@pytest.mark.parametrize("kind", ["bert", "distilbert", "electra", "roberta", "albert"])
def test_a_config_without_a_type_is_known_by_its_class_or_its_weights(kind: str, tmp_path: Path) -> None:
    folder = saved(tmp_path, kind)
    edit(folder, model_type=None)
    assert SpanReader.trained(folder).config.model_type == kind
    edit(folder, architectures=None)
    assert SpanReader.trained(folder).config.model_type == kind


def test_a_config_without_a_type_that_nothing_tells_takes_the_callers(tmp_path: Path) -> None:
    folder = saved(tmp_path, "deberta-v2")
    edit(folder, model_type=None, architectures=None)
    with pytest.raises(ModelError, match=r"--model-type.*\"model_type\""):
        SpanReader.from_pretrained(folder)
    SpanReader.from_pretrained(folder, model_type="deberta-v2")


def edit(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    values = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({k: v for k, v in values.items() if v is not None}))


@pytest.mark.parametrize(
    "changes",
    [
        {"hidden_size": 10**9},
        {"vocab_size": 10**12},
        {"num_hidden_layers": 10**6},
        {"max_position_embeddings": 10**11},
        {"hidden_size": 17},
        {"hidden_size": 0},
        {"num_attention_heads": 0},
        {"vocab_size": "many"},
        {"num_hidden_layers": -1},
        {"hidden_act": "no such function"},
        {"vocab_size": 61},
        {"model_type": "t5"},
        {"model_type": ["bert"]},
    ],
)
def test_a_configuration_that_does_not_fit_is_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    folder = saved(tmp_path)
    edit(folder, **changes)
    with pytest.raises(ModelError):
        SpanReader.from_pretrained(folder)


def test_code_that_a_folder_names_is_not_run(tmp_path: Path) -> None:
    folder = saved(tmp_path)
    (folder / "evil.py").write_text("raise SystemExit('ran')")
    edit(folder, auto_map={"AutoModelForQuestionAnswering": "evil.Model", "AutoConfig": "evil.Config"})
    # What that code would have built is another model than the same weights in transformers' own.
    with pytest.raises(ModelError, match="auto_map"):
        SpanReader.from_pretrained(folder)


def test_tensors_of_an_old_file_are_read_and_that_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = saved(tmp_path)
    tensors = load_file(folder / "model.safetensors")
    torch.save(tensors, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    model = SpanReader.from_pretrained(folder)
    assert torch.equal(model.qa.qa_outputs.weight, tensors["qa_outputs.weight"])
    assert "weights_only" in caplog.text


def test_a_pickle_with_anything_else_is_refused_unrun(tmp_path: Path) -> None:
    class Canary:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(tmp_path / "ran"),)

    folder = saved(tmp_path / "model")
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps({"a": Canary()}, protocol=2))
    with pytest.raises(ModelError, match="other than tensors"):
        SpanReader.from_pretrained(folder)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("damage", ["cut", "flip header", "empty", "gone", "no config", "config cut"])
def test_damaged_folders_are_refused(tmp_path: Path, damage: str) -> None:
    folder = saved(tmp_path)
    weights, config = folder / "model.safetensors", folder / "config.json"
    data = weights.read_bytes()
    match damage:
        case "cut":
            weights.write_bytes(data[: len(data) // 2])
        case "flip header":
            weights.write_bytes(b"\xff" * 8 + data[8:])
        case "empty":
            weights.write_bytes(b"")
        case "gone":
            weights.unlink()
        case "no config":
            config.unlink()
        case "config cut":
            config.write_bytes(config.read_bytes()[:100])
    with pytest.raises(ModelError):
        SpanReader.from_pretrained(folder)


def test_weights_of_another_model_are_refused(tmp_path: Path) -> None:
    folder = saved(tmp_path / "a", "bert")
    other = saved(tmp_path / "b", "electra")
    (folder / "model.safetensors").write_bytes((other / "model.safetensors").read_bytes())
    with pytest.raises(ModelError, match="encoder are missing"):
        SpanReader.from_pretrained(folder)


def test_shards_are_read_but_not_from_outside(tmp_path: Path) -> None:
    folder = saved(tmp_path)
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(tensors)
    parts = {"model-00001-of-00002.safetensors": names[::2], "model-00002-of-00002.safetensors": names[1::2]}
    for part, keys in parts.items():
        save_file({key: tensors[key] for key in keys}, folder / part)
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {key: part for part, keys in parts.items() for key in keys}}))
    model = SpanReader.from_pretrained(folder)
    assert torch.equal(model.qa.qa_outputs.bias, tensors["qa_outputs.bias"])
    index.write_text(json.dumps({"weight_map": {names[0]: "../outside.safetensors"}}))
    with pytest.raises(ModelError, match="outside"):
        SpanReader.from_pretrained(folder)
