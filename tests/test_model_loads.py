"""Every command that reads a model guards it in the same way, and fits its windows to it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

from transformers import BertConfig, BertForQuestionAnswering, BertModel

from komrc import evaluation, storage
from komrc.cli import main
from komrc.config import Provenance, ReaderConfig
from komrc.errors import KomrcError, ModelError, UsageError
from komrc.exporting import export
from komrc.predicting.model_ref import ModelRef
from komrc.reader import Reader
from komrc.serving.loading import load as load_for_serving
from komrc.serving.options import ServeOptions
from komrc.tokenization import load_tokenizer
from komrc.training.evaluate import evaluate_models
from komrc.training.options import TrainingOptions
from komrc.training.train import train
from komrc.types import Example, Gold

CONTEXT = "나래도서관은 한빛시에 문을 열었다. 초대 관장은 윤가람이다. " * 8
LETTERS = [chr(code) for code in (*range(33, 127), *range(0xAC00, 0xD7A4))]
PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *LETTERS, *(f"##{c}" for c in LETTERS)]
EXAMPLE = Example("1", "어디에 열었나?", CONTEXT, (Gold("한빛시", CONTEXT.index("한빛시")),))


def made(folder: Path, kind: Any = BertForQuestionAnswering, **config: Any) -> Path:
    sizes = {
        "vocab_size": len(PIECES), "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
        "intermediate_size": 32,
    }  # fmt: skip
    kind(BertConfig(**{**sizes, **config})).save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(PIECES) + "\n", encoding="utf-8")
    return folder


@pytest.fixture
def data(tmp_path: Path) -> Path:
    gold = EXAMPLE.answers[0]
    qa = {
        "id": "1",
        "question": EXAMPLE.question,
        "answers": [{"text": gold.text, "answer_start": gold.start}],
    }
    value = {"version": "1", "data": [{"title": "가", "paragraphs": [{"context": CONTEXT, "qas": [qa]}]}]}
    file = tmp_path / "data.json"
    file.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")
    return file


def loads(folder: Path, data: Path, out: Path) -> dict[str, Callable[[], object]]:
    """All that reads with a trained model, by name."""
    options: dict[str, Any] = {"predict_file": str(data), "no_cuda": True}
    learn: dict[str, Any] = {
        "train_file": (str(data),),
        "no_cuda": True,
        "max_steps": 1,
        "particle_labels": False,
    }
    student = made(out / "student") if not (out / "student").exists() else out / "student"
    return {
        "ask": lambda: Reader.load(folder, engine="torch"),
        "predict": lambda: ModelRef.of(str(folder), engine="torch").load(),
        "evaluate": lambda: evaluation.predict([EXAMPLE], str(folder), "torch"),
        "serve": lambda: load_for_serving(ServeOptions(model=str(folder), engine="torch")),
        "export": lambda: export(folder, out / "onnx", data=data),
        "run_squad": lambda: evaluate_models(
            TrainingOptions(model=str(folder), output_dir=str(out / "e"), **options),
            [str(folder)],
            result_folder=out,
        ),
        "teacher": lambda: train(
            TrainingOptions(model=str(student), teacher=(str(folder),), output_dir=str(out / "t"), **learn)
        ),
    }


def train_from(folder: Path, data: Path, out: Path, **more: Any) -> object:
    values: dict[str, Any] = {"max_steps": 1, "no_cuda": True, "particle_labels": False, **more}
    return train(
        TrainingOptions(model=str(folder), train_file=(str(data),), output_dir=str(out / "out"), **values)
    )


NAMES = ("ask", "predict", "evaluate", "serve", "export", "run_squad", "teacher")


@pytest.mark.parametrize("name", NAMES)
def test_an_encoder_without_a_span_head_gives_no_answers(name: str, data: Path, tmp_path: Path) -> None:
    folder = made(tmp_path / "model", BertModel)
    with pytest.raises(ModelError, match=r"never trained to mark answers.*komrc train --model") as caught:
        loads(folder, data, tmp_path)[name]()
    assert caught.value.exit_code == 4


@pytest.mark.parametrize("name", [*NAMES, "train"])
def test_a_folder_that_differs_from_its_manifest_is_refused(name: str, data: Path, tmp_path: Path) -> None:
    with storage.replacing_folder(tmp_path / "model") as folder:
        made(folder)
    folder = tmp_path / "model"
    Reader.load(folder, engine="torch")  # passes, and is hashed once
    (folder / "README.md").write_text("my notes")  # is not the model
    weights = bytearray((folder / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (folder / "model.safetensors").write_bytes(weights)
    started = {"train": lambda: train_from(folder, data, tmp_path)} | loads(folder, data, tmp_path)
    with pytest.raises(ModelError, match=r"damaged or half-written: model\.safetensors"):
        started[name]()


@pytest.mark.parametrize("name", [*NAMES, "train"])
def test_a_swapped_tokenizer_is_refused_with_both_hashes(name: str, data: Path, tmp_path: Path) -> None:
    folder = made(tmp_path / "model")
    trained_with = load_tokenizer(folder).fingerprint
    ReaderConfig().save(folder, Provenance(tokenizer_sha256=trained_with))
    Reader.load(folder, engine="torch")
    (folder / "vocab.txt").write_text("\n".join([*PIECES[:5], *reversed(PIECES[5:])]), encoding="utf-8")
    now = load_tokenizer(folder).fingerprint
    started = {"train": lambda: train_from(folder, data, tmp_path)} | loads(folder, data, tmp_path)
    with pytest.raises(ModelError) as caught:
        started[name]()
    assert trained_with in str(caught.value) and now in str(caught.value)


@pytest.mark.parametrize("name", [*NAMES, "train"])
def test_a_tokenizer_that_cuts_korean_into_unknown_tokens_is_refused(
    name: str, data: Path, tmp_path: Path
) -> None:
    folder = made(tmp_path / "model")
    (folder / "tokenizer_config.json").write_text('{"do_lower_case": true}')
    started = {"train": lambda: train_from(folder, data, tmp_path)} | loads(folder, data, tmp_path)
    with pytest.raises(ModelError, match=r"% of the tokens .* unknown"):
        started[name]()


def test_training_measures_its_own_data(data: Path, tmp_path: Path) -> None:
    folder = made(tmp_path / "model", vocab_size=99)
    english = PIECES[:99]
    (folder / "vocab.txt").write_text("\n".join(english), encoding="utf-8")
    with pytest.raises(ModelError, match=r"data\.json are unknown"):
        train_from(folder, data, tmp_path)


# --- windows -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*NAMES, "train"])
def test_a_model_of_few_positions_is_read_with_windows_that_fit(
    name: str, data: Path, tmp_path: Path
) -> None:
    folder = made(tmp_path / "model", max_position_embeddings=120)
    started = {"train": lambda: train_from(folder, data, tmp_path)}
    if name != "train":
        started |= loads(folder, data, tmp_path)
        if name == "teacher":  # reads the student's windows
            made(tmp_path / "student", max_position_embeddings=120)
    started[name]()
    assert Reader.load(folder, engine="torch").config.windows.max_seq_length == 120


def test_lengths_are_the_callers_or_fit_the_window(tmp_path: Path) -> None:
    folder = made(tmp_path / "model", max_position_embeddings=300)

    def lengths(**given: Any) -> tuple[int, int, int]:
        windows = Reader.load(folder, engine="torch", **given).config.windows
        return windows.max_seq_length, windows.doc_stride, windows.max_query_length

    assert lengths() == (300, 128, 64)
    assert lengths(max_seq_length=100) == (100, 50, 25)
    assert lengths(max_seq_length=100, doc_stride=70, max_query_length=9) == (100, 70, 9)
    with pytest.raises(UsageError, match="300"):
        lengths(max_seq_length=301)
    ReaderConfig.of(max_seq_length=200, doc_stride=90).save(folder, Provenance())
    assert lengths() == (200, 90, 64)


def test_training_refuses_a_length_that_was_asked_for(data: Path, tmp_path: Path) -> None:
    folder = made(tmp_path / "model", max_position_embeddings=300)
    with pytest.raises(ModelError, match=r"--max-seq-length 300 or less"):
        train_from(folder, data, tmp_path, max_seq_length=301)


# --- the command line --------------------------------------------------------------------------------------


def run(*words: object) -> int:
    return main([str(word) for word in words])


def test_the_options_exist_wherever_a_model_is_read(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = made(tmp_path / "model", max_position_embeddings=300)
    config = json.loads((folder / "config.json").read_text())
    del config["model_type"], config["architectures"]
    (folder / "config.json").write_text(json.dumps(config))
    (tmp_path / "text.txt").write_text(CONTEXT, encoding="utf-8")
    options = ("--model", folder, "--max-seq-length", 100, "--doc-stride", 50, "--model-type", "bert")
    assert run("ask", "어디?", "--context", tmp_path / "text.txt", *options) == 0
    assert run("evaluate", data, *options) == 0
    assert run("predict", "--data", data, "--output", tmp_path / "p.json", *options) == 0
    assert run("export", "--output", tmp_path / "onnx", "--data", data, *options) == 0
    settings = json.loads((tmp_path / "onnx/komrc.json").read_text())
    assert (settings["max_seq_length"], settings["doc_stride"]) == (100, 50)
    wrong = ("--model", folder, "--model-type", "roberta")
    assert run("ask", "어디?", "--context", tmp_path / "text.txt", *wrong) == 4
    served = load_for_serving(
        ServeOptions(model=str(folder), engine="torch", max_seq_length=100, doc_stride=50, model_type="bert")
    )
    windows = served.reader.config.windows
    assert (windows.max_seq_length, windows.doc_stride) == (100, 50)
    capsys.readouterr()


def test_serving_takes_the_tokenizer_of_another_folder(tmp_path: Path) -> None:
    folder = made(tmp_path / "model")
    (tmp_path / "tokenizer").mkdir()
    shutil.move(folder / "vocab.txt", tmp_path / "tokenizer/vocab.txt")
    options = ServeOptions(model=str(folder), tokenizer=str(tmp_path / "tokenizer"), engine="torch")
    assert load_for_serving(options).reader.tokenizer.pad_id == 0


# --- which model a run began with --------------------------------------------------------------------------


def test_a_run_is_of_the_same_model_while_its_own_files_are(tmp_path: Path) -> None:
    folder = made(tmp_path / "model")
    model = ModelRef.of(str(folder), engine="torch")
    (folder / "README.md").write_text("notes")
    (folder / "predictions.json.part").write_text("{}")
    (folder / "predictions.json").write_text("{}")
    (folder / "events.out.tfevents.1").write_text("")
    assert ModelRef.of(str(folder), engine="torch").identity() == model.identity()
    model.load()
    other = ModelRef.of(str(folder), engine="torch", settings={"max_seq_length": 100})
    assert other.identity() != model.identity()
    assert other.load().config.windows.max_seq_length == 100
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "hidden_dropout_prob": 0.2}))
    with pytest.raises(KomrcError, match="not the model that the run began with"):
        model.load()
