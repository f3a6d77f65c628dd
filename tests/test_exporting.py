"""Exports: torch's logits from every kind of encoder, int8 measured, nothing half done left behind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from support.batches import random_batch, tokens, window
from transformers import AutoConfig, AutoModelForQuestionAnswering

from komrc import storage
from komrc.config import Provenance
from komrc.data import load_squad
from komrc.engines import Batch
from komrc.engines.onnx_engine import OnnxEngine
from komrc.errors import ModelError, UsageError
from komrc.exporting import OPSET, export
from komrc.exporting.quantize import quantize_graph
from komrc.exporting.trace import optimize, write_graph
from komrc.modeling import SpanReader
from komrc.models import hub
from komrc.reader import Reader
from komrc.tokenization import load_tokenizer

SMALL: dict[str, Any] = {
    "vocab_size": 60, "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4,
    "intermediate_size": 64, "max_position_embeddings": 72, "pad_token_id": 1, "initializer_range": 0.2,
}  # fmt: skip
KINDS: dict[str, dict[str, Any]] = {
    "bert": {},
    "distilbert": {
        "dim": 32, "n_layers": 1, "n_heads": 4, "hidden_dim": 64, "max_position_embeddings": 72,
        "vocab_size": 60, "pad_token_id": 1, "initializer_range": 0.2,
    },
    "electra": {"embedding_size": 16},
    "roberta": {},
}  # fmt: skip


def tiny_reader(kind: str, *, boundary: bool) -> SpanReader:
    torch.manual_seed(3)
    values = KINDS[kind] if kind == "distilbert" else {**SMALL, **KINDS[kind]}
    config = AutoConfig.for_model(kind, **values)
    return SpanReader(AutoModelForQuestionAnswering.from_config(config), boundary=boundary).eval()


def by_torch(model: SpanReader, batch: Batch) -> list[np.ndarray[Any, Any]]:
    ids, mask, types = map(torch.from_numpy, batch.padded(1))
    with torch.inference_mode():
        outputs = model(ids, mask, types)
    return [x[mask.bool()].numpy() for x in outputs if x is not None]


@pytest.mark.parametrize(("kind", "boundary"), [*((k, True) for k in KINDS), ("bert", False)])
def test_every_architecture_gives_torchs_logits_at_any_size(
    kind: str, boundary: bool, tmp_path: Path
) -> None:
    model = tiny_reader(kind, boundary=boundary)
    path, rounded = tmp_path / "model.onnx", tmp_path / "model-int8.onnx"
    write_graph(model, path)
    optimize(path, heads=4, hidden=32)
    graph = onnx.load(str(path))
    assert [item.version for item in graph.opset_import if item.domain == ""] == [OPSET]
    operators = {node.op_type for node in graph.graph.node}
    assert {"MultiHeadAttention", "LayerNormalization", "BiasGelu"} <= operators  # fused, not spelled out
    quantize_graph(path, rounded)
    engines = OnnxEngine(path), OnnxEngine(rounded, name="onnx-int8")
    for lengths in ((1,), (64,), (31, 7, 64, 2)):
        batch = random_batch(*lengths)
        wanted = by_torch(model, batch)
        assert len(wanted) == (4 if boundary else 2)
        for exact, near, value in zip(*(e.run(batch).arrays for e in engines), wanted, strict=True):
            assert np.abs(exact - value).max() < 1e-4
            assert np.abs(near - value).max() < 0.1 * value.std() + 0.1
    # int8 has a scale for each token, so a window's logits are its own (the last batch's, row 1).
    alone = engines[1].run(window(batch, 1))
    for a, b in zip(alone.arrays, engines[1].run(batch).arrays, strict=True):
        assert np.allclose(a, b[tokens(batch, 1)], atol=1e-4)
    assert rounded.stat().st_size < 0.75 * path.stat().st_size


@pytest.fixture(scope="module")
def random_reader(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny random reader and the embedded model's tokenizer."""
    folder = tmp_path_factory.mktemp("models") / "random"
    folder.mkdir()
    source = hub.embedded_model()
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).write_bytes((source / name).read_bytes())
    torch.manual_seed(0)
    values = {**SMALL, "vocab_size": 24_000, "max_position_embeddings": 512}
    config = AutoConfig.for_model("bert", **values)
    SpanReader(AutoModelForQuestionAnswering.from_config(config), boundary=True).save(folder)
    return folder


@pytest.fixture
def traced_before(exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the graph that `exported` traced: tracing is most of an export's time."""

    def copying(_: SpanReader, path: Path) -> None:
        path.write_bytes((exported / "model.onnx").read_bytes())

    monkeypatch.setattr("komrc.exporting.trace.write_graph", copying)


@pytest.fixture(scope="module")
def exported(random_reader: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("exports") / "fp32"
    report = export(random_reader, output)
    assert report.max_difference <= 1e-4
    assert report.scores.keys() == {"fp32"}
    return output


def test_an_export_is_a_model_of_its_own(random_reader: Path, exported: Path) -> None:
    assert storage.verify_folder(exported) == []
    example = load_squad(hub.sample_data("dev"))[0]
    torch_reader = Reader.load(random_reader, engine="torch")
    onnx_reader = Reader.load(exported, engine="onnx")
    assert onnx_reader.engine.name == "onnx"
    assert Provenance.load(exported).boundary_head
    assert onnx_reader.tokenizer.fingerprint == load_tokenizer(random_reader).fingerprint
    wanted = torch_reader.read(example.question, example.context, top_k=3)
    got = onnx_reader.read(example.question, example.context, top_k=3)
    assert [(a.start, a.end) for a in got] == [(a.start, a.end) for a in wanted]


@pytest.fixture(scope="module")
def answered(exported: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Questions whose reference answers are what the fp32 export says: it scores 100 on them."""
    examples = load_squad(hub.sample_data("dev"))
    predictions = Reader.load(exported, engine="onnx").read_examples(examples)
    paragraphs = [
        {
            "context": e.context,
            "qas": [
                {
                    "id": e.id,
                    "question": e.question,
                    "answers": [{"text": p.answers[0].text, "answer_start": p.answers[0].start}],
                }
            ],
        }
        for e, p in zip(examples, predictions, strict=True)
    ]
    path = tmp_path_factory.mktemp("data") / "questions.json"
    document = {"version": "KorQuAD_v1.0_dev", "data": [{"title": "t", "paragraphs": paragraphs}]}
    path.write_text(json.dumps(document, ensure_ascii=False), encoding="utf-8")
    return path


@pytest.mark.usefixtures("traced_before")
def test_int8_that_loses_more_than_allowed_is_refused(
    random_reader: Path, answered: Path, tmp_path: Path
) -> None:
    output = tmp_path / "int8"
    with pytest.raises(ModelError, match=r"points of EM worse than fp32 .* against 100\.00 on \d+ questions"):
        export(random_reader, output, quantize="int8", data=answered, max_em_drop=0.0)
    assert list(tmp_path.iterdir()) == []  # nothing half done is left
    report = export(random_reader, output, quantize="int8", data=answered, max_em_drop=100.0)
    assert report.scores["fp32"]["exact_match"] == 100
    assert 0 < report.scores["int8"]["exact_match"] < 100
    assert Reader.load(output, engine="onnx").engine.name == "onnx-int8"


@pytest.mark.usefixtures("traced_before")
def test_an_export_that_computes_something_else_is_refused(
    random_reader: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def damaging(path: Path, **sizes: int) -> None:
        optimize(path, **sizes)
        graph = onnx.load(str(path))
        [bias] = [item for item in graph.graph.initializer if item.name.endswith("qa_outputs.bias")]
        bias.CopyFrom(onnx.numpy_helper.from_array(np.full(2, 0.01, np.float32), bias.name))
        onnx.save(graph, str(path))

    monkeypatch.setattr("komrc.exporting.trace.optimize", damaging)
    output = tmp_path / "onnx"
    with pytest.raises(ModelError, match=r"differs from torch's by 0\.01"):
        export(random_reader, output)
    assert list(tmp_path.iterdir()) == []


def test_a_tolerance_that_makes_no_sense_is_refused_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--max-em-drop"):
        export(None, tmp_path / "onnx", max_em_drop=-1)


@pytest.mark.parametrize("name", ["model", "model/../model", "link", "."])
def test_an_export_over_its_own_model_is_refused(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "link").symlink_to("model", target_is_directory=True)
    for file in ("config.json", "model.safetensors"):
        (tmp_path / "model" / file).write_text("{}")
    monkeypatch.chdir(tmp_path)
    for source in ("model", "link"):
        with pytest.raises(UsageError, match="input"):
            export(source, Path(name))
    assert (tmp_path / "model/model.safetensors").read_text() == "{}"


def test_an_export_over_weights_that_the_model_links_to_is_refused(tmp_path: Path) -> None:
    for folder in ("model", "weights"):
        (tmp_path / folder).mkdir()
    (tmp_path / "weights/model.safetensors").write_text("{}")
    (tmp_path / "model/model.safetensors").symlink_to("../weights/model.safetensors")
    with pytest.raises(UsageError, match="contains an input"):
        export(tmp_path / "model", tmp_path / "weights")


def test_an_export_is_a_folder(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="folder"):
        export(None, tmp_path / "model.onnx")
