"""Reader.from_pretrained, save_pretrained and push_to_hub, over a hub on loopback."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="the train extra is not installed")

import torch
from huggingface_hub import ModelCard
from support.loopback_hub import LoopbackHub
from transformers import BertConfig, BertForQuestionAnswering

from komrc import storage
from komrc.errors import HubError, ModelError, StorageError, UsageError
from komrc.models import hub as models_hub
from komrc.reader import Reader
from komrc.types import Answer

CONTEXT = "나래도서관은 한빛시에 문을 열었다. 초대 관장은 윤가람이다."
QUESTION = "어디에 열었나?"
LETTERS = [chr(code) for code in (*range(33, 127), *range(0xAC00, 0xD7A4))]
PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *LETTERS, *(f"##{c}" for c in LETTERS)]


def write_model(folder: Path, seed: int) -> Path:
    torch.manual_seed(seed)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    config = BertConfig(vocab_size=len(PIECES), **sizes)
    BertForQuestionAnswering(config).save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(PIECES) + "\n", encoding="utf-8")
    return folder


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LoopbackHub]:
    """A hub with the model org/reader."""
    write_model(tmp_path / "hub/org/reader", seed=1)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    with LoopbackHub(tmp_path / "hub") as running:
        running.use(monkeypatch, tmp_path / "cache")
        running.writers = {"writer"}
        yield running


def answers(reader: Reader) -> list[Answer]:
    return reader.read(QUESTION, CONTEXT, top_k=5)


def test_a_revision_is_pinned(hub: LoopbackHub, tmp_path: Path) -> None:
    first = answers(Reader.from_pretrained("org/reader"))
    commit = hub.tag("org/reader", "v1")
    shutil.rmtree(hub.root / "org/reader")
    write_model(hub.root / "org/reader", seed=2)
    assert answers(Reader.from_pretrained("org/reader")) != first
    for revision in ("v1", commit):
        reader = Reader.from_pretrained("org/reader", revision=revision, cache_dir=tmp_path / "other")
        assert answers(reader) == first
        assert reader.folder is not None and reader.folder.is_relative_to(tmp_path / "other")
        assert commit in repr(reader)
    with pytest.raises(HubError, match="'v2'"):
        Reader.from_pretrained("org/reader", revision="v2")


def test_a_token_is_sent(hub: LoopbackHub) -> None:
    Reader.from_pretrained("org/reader", token="secret")
    assert set(hub.tokens) == {"secret"}


def test_a_folder_has_no_revision(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="a folder has no revisions"):
        Reader.from_pretrained(write_model(tmp_path / "model", seed=1), revision="main")


@pytest.mark.parametrize(
    ("options", "engine"),
    [
        ({}, "torch"),
        ({"device": "cpu"}, "torch"),
        ({"device": -1, "dtype": "float32"}, "torch"),
        ({"device": torch.device("cpu"), "dtype": torch.bfloat16}, "torch-bf16"),
        ({"engine": "torch", "dtype": "bfloat16"}, "torch-bf16"),
        ({"device": "meta"}, "torch"),
    ],
)
def test_device_and_dtype(tmp_path: Path, options: dict[str, object], engine: str) -> None:
    reader = Reader.from_pretrained(write_model(tmp_path / "model", seed=1), **options)
    assert reader.engine.name == engine
    weights = next(reader.engine.model.parameters())  # type: ignore[attr-defined]
    assert weights.device.type == ("meta" if options.get("device") == "meta" else "cpu")


@pytest.mark.parametrize(
    ("options", "engine"),
    [({"device": "cpu"}, "onnx-int8"), ({"dtype": "float32"}, "torch"), ({"dtype": "auto"}, "onnx-int8")],
)
def test_the_embedded_model_changes_engine_only_where_it_must(options: dict[str, str], engine: str) -> None:
    assert Reader.from_pretrained(**options).engine.name == engine


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"device": "nowhere"}, "device: .*nowhere"),
        ({"device": 9_999}, "device: .*cuda:9999"),
        ({"dtype": "float16"}, 'dtype: .*"float32" or "bfloat16"'),
        ({"engine": "onnx-int8", "device": "cuda"}, "on the CPU only"),
        ({"engine": "onnx-int8", "dtype": "bfloat16"}, "torch-bf16"),
    ],
)
def test_what_can_not_be_is_a_usage_error(options: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        Reader.from_pretrained(**options)


# --- saving ------------------------------------------------------------------------------------------------


def test_a_saved_reader_answers_the_same_with_each_engine(tmp_path: Path) -> None:
    reader = Reader.from_pretrained(max_answer_length=12)
    reader.save_pretrained(tmp_path / "copy")
    copy = Reader.load(tmp_path / "copy")
    assert copy.config == reader.config
    assert answers(copy) == answers(reader)
    assert answers(Reader.load(tmp_path / "copy", engine="torch")) == answers(
        Reader.load(engine="torch", max_answer_length=12)
    )
    assert storage.verify_folder(tmp_path / "copy") == []
    card = ModelCard.load(tmp_path / "copy/README.md")
    assert card.data.library_name == "komrc"


def test_a_second_save_replaces_the_model_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "copy"
    Reader.load().save_pretrained(target)
    plain = Reader.load(write_model(tmp_path / "model", seed=1))
    plain.save_pretrained(target)
    assert not (target / "model-int8.onnx").exists()
    assert answers(Reader.load(target)) == answers(plain)
    (target / "notes.txt").write_text("mine")
    with pytest.raises(StorageError, match=r"notes\.txt"):
        plain.save_pretrained(target)


def test_another_tokenizer_is_saved_with_its_reader(tmp_path: Path) -> None:
    model = write_model(tmp_path / "model", seed=1)
    other = tmp_path / "tokenizer"
    other.mkdir()
    swapped = [*PIECES[:5], *reversed(PIECES[5:])]
    (other / "vocab.txt").write_text("\n".join(swapped) + "\n", encoding="utf-8")
    reader = Reader.from_pretrained(model, tokenizer=other)
    assert answers(reader) != answers(Reader.load(model))
    reader.save_pretrained(tmp_path / "copy")
    assert answers(Reader.load(tmp_path / "copy")) == answers(reader)
    assert not (tmp_path / "copy/vocab.txt").exists()


def test_what_can_not_be_saved(tmp_path: Path) -> None:
    reader = Reader.load(write_model(tmp_path / "model", seed=1))
    with pytest.raises(UsageError, match="loaded from"):
        reader.save_pretrained(tmp_path / "model")
    with pytest.raises(UsageError, match="not loaded from a folder"):
        Reader(reader.tokenizer, reader.engine).save_pretrained(tmp_path / "copy")
    pickled = write_model(tmp_path / "pickled", seed=1)
    torch.save(BertForQuestionAnswering.from_pretrained(pickled).state_dict(), pickled / "pytorch_model.bin")
    (pickled / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="pickle"):
        Reader.load(pickled).save_pretrained(tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


# --- uploading ---------------------------------------------------------------------------------------------


def test_an_uploaded_reader_can_be_loaded(hub: LoopbackHub) -> None:
    reader = Reader.from_pretrained("org/reader", max_seq_length=64)
    address = reader.push_to_hub("me/copy", token="writer")
    assert address == f"{hub.url}/me/copy/commit/{hub.commit('me/copy')}"
    assert {"config.json", "komrc.json", "model.safetensors", "README.md"} <= set(hub.files("me/copy"))
    copy = Reader.from_pretrained("me/copy")
    assert answers(copy) == answers(reader)
    assert copy.config == reader.config


def test_an_upload_that_is_refused(hub: LoopbackHub) -> None:
    reader = Reader.load(models_hub.resolve("org/reader"))
    with pytest.raises(HubError, match=r"me/copy: the upload to .* failed .*HF_TOKEN may write"):
        reader.push_to_hub("me/copy", token="stranger")
    assert not (hub.root / "me/copy").exists()
