"""Whole training runs with a tiny random model: files, exact resume, clean ends."""

from __future__ import annotations

import json
import logging
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from support.resuming import before_batch
from support.tiny_data import some_questions
from support.tiny_model import tiny_model

from komrc import load_squad, storage
from komrc.errors import StorageError, TrainingError, UsageError
from komrc.models import hub
from komrc.reader import Reader
from komrc.training import checkpoints
from komrc.training.callbacks import Callback
from komrc.training.options import TrainingOptions
from komrc.training.state import TrainingState
from komrc.training.train import train

Options = Callable[..., TrainingOptions]


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model and two small data files."""
    folder = tmp_path_factory.mktemp("material")
    tiny_model(folder / "model")
    some_questions(hub.sample_data("train"), folder / "train.json", 40)
    some_questions(hub.sample_data("dev"), folder / "dev.json", 12)
    return folder


@pytest.fixture
def options(material: Path, tmp_path: Path) -> Options:
    def make(output: str = "out", **more: Any) -> TrainingOptions:
        values: dict[str, Any] = {
            "model": str(material / "model"),
            "train_file": (str(material / "train.json"),),
            "predict_file": str(material / "dev.json"),
            "output_dir": str(tmp_path / output),
            "cache_dir": str(material / "cache"),
            "max_seq_length": 160,
            "per_gpu_train_batch_size": 4,
            "gradient_accumulation_steps": 3,
            "num_train_epochs": 2,
            "learning_rate": 1e-3,
            "precision": "fp32",
            "logging_steps": 2,
            "save_steps": 2,
            "no_cuda": True,
        }
        return TrainingOptions(**{**values, **more})

    return make


def die_at(step: int) -> Callback:
    """Makes training end as kill -9 would: nothing more is written after so many micro-batches."""

    def die(_state: TrainingState, _batch: dict[str, Any], count: int) -> None:
        if count > step:
            raise RuntimeError("killed")

    return before_batch(die)


def history(folder: Path) -> list[dict[str, Any]]:
    last = checkpoints.newest(folder)
    assert last is not None
    return json.loads((last.folder / checkpoints.STATE).read_text())["log_history"]


@pytest.mark.parametrize(
    ("step", "more"),
    [
        (19, {}),
        (27, {"precision": "bf16", "tokens_per_batch": 640}),
        (20, {"dataloader_workers": 2, "eval_steps": 3, "layer_decay": 0.9}),
    ],
    ids=["plain", "bf16", "workers"],
)
def test_a_killed_and_resumed_run_ends_bit_for_bit_like_one_that_was_not(
    options: Options, tmp_path: Path, step: int, more: dict[str, Any]
) -> None:
    whole = train(options("whole", **more))
    with pytest.raises(RuntimeError, match="killed"):
        train(options("cut", **more), callbacks=[die_at(step)])
    assert not (tmp_path / "cut/model.safetensors").exists()
    resumed = train(options("cut", resume=True, **more))
    assert resumed == whole
    assert history(tmp_path / "cut") == history(tmp_path / "whole")
    for name in ("model.safetensors", "optimizer.safetensors"):
        ends = [checkpoints.newest(tmp_path / run) for run in ("whole", "cut")]
        first, second = (load_file(end.folder / name) for end in ends if end)
        assert first.keys() == second.keys()
        assert all(torch.equal(first[key], second[key]) for key in first)
    for name in ("scheduler.json", "random.json", "optimizer.json"):
        first, second = ((end.folder / name).read_text() for end in ends if end)
        assert first == second


def test_a_run_leaves_every_file_and_the_written_model_has_the_figures_it_says(
    options: Options, tmp_path: Path, material: Path
) -> None:
    from transformers import AutoModelForQuestionAnswering, AutoTokenizer

    from komrc.metrics import korquad

    out = tmp_path / "out"
    outcome = train(options())
    written = {path.name for path in out.iterdir()}
    assert written >= {
        "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "komrc.json",
        "predictions_.json", "nbest_predictions_.json", "eval_results.json", "eval_result_model_160.txt",
        "README.md", "manifest.json", "runs",
    }  # fmt: skip
    assert not list(out.rglob("*.bin")) and not list(out.rglob("*.pt*"))
    assert storage.verify_folder(out) == []
    figures = json.loads((out / "eval_results.json").read_text())
    assert figures["exact_match"] == outcome.metrics["exact_match"]
    examples = load_squad(material / "dev.json")
    predictions = json.loads((out / "predictions_.json").read_text())
    assert korquad.score(predictions, examples) == outcome.metrics
    reader = Reader.load(out, engine="torch")
    assert {p.id: p.answers[0].text for p in reader.read_examples(examples)} == predictions
    assert f"{figures['f1']:.2f}" in (out / "README.md").read_text()
    assert "exact_match" in (out / "eval_result_model_160.txt").read_text()
    AutoModelForQuestionAnswering.from_pretrained(out)
    text = "이순신은 조선의 무신이다."
    ours = reader.tokenizer.encode_many([text])[0].ids
    assert AutoTokenizer.from_pretrained(out)(text, add_special_tokens=False).input_ids == ours


def test_the_best_model_is_written_not_the_last(
    options: Options, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from komrc.training import evaluator

    figures = iter([10.0, 30.0, 20.0, 5.0, 5.0, 5.0, 30.0])
    monkeypatch.setattr(evaluator.korquad, "score", lambda *_: {"exact_match": next(figures), "f1": 50.0})
    train(options(max_steps=6, save_steps=-1, eval_steps=2, save_total_limit=1))
    out = tmp_path / "out"
    kept = sorted(path.name for path in out.glob("checkpoint-*"))
    assert kept == ["checkpoint-4", "checkpoint-6"]  # the best beside the newest
    written, best, last = (
        load_file(folder / "model.safetensors") for folder in (out, *(out / name for name in kept))
    )
    assert all(torch.equal(written[key], best[key]) for key in written)
    assert not all(torch.equal(written[key], last[key]) for key in written)


def test_of_equal_em_the_better_f1_is_kept(
    options: Options, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from komrc.training import evaluator

    figures = iter([(30.0, 50.0), (30.0, 60.0), (30.0, 55.0), (30.0, 60.0), (30.0, 60.0)])
    monkeypatch.setattr(
        evaluator.korquad, "score", lambda *_: dict(zip(("exact_match", "f1"), next(figures), strict=True))
    )
    train(options(max_steps=6, save_steps=-1, eval_steps=2, save_total_limit=1))
    kept = {path.name for path in (tmp_path / "out").glob("checkpoint-*")}
    assert kept == {"checkpoint-4", "checkpoint-6"}


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_saves_and_ends_and_the_run_goes_on_to_the_same_end(
    options: Options, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, code: int
) -> None:
    whole = train(options("whole", save_steps=-1))

    def send(state: TrainingState, *_: Any) -> None:
        if state.step == 2:
            signal.raise_signal(number)

    with monkeypatch.context() as patch:
        # The second signal within a step would end the process.
        patch.setattr("komrc.training.signals.os._exit", lambda _: None)
        assert train(options("cut", save_steps=-1), callbacks=[before_batch(send)]).exit_code == code
    assert not (tmp_path / "cut/model.safetensors").exists()
    found = checkpoints.newest(tmp_path / "cut")
    assert found is not None and found.step == 3
    assert train(options("cut", save_steps=-1, resume=True)) == whole


def test_a_signal_during_an_evaluation_is_made_up_for(
    options: Options, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from komrc.engines.torch_engine import TorchEngine

    whole = train(options("whole", eval_steps=2, save_steps=-1))
    true_run = TorchEngine.run
    with monkeypatch.context() as patch:

        def run(self: TorchEngine, batch: Any) -> Any:
            signal.raise_signal(signal.SIGTERM)
            return true_run(self, batch)

        patch.setattr(TorchEngine, "run", run)
        patch.setattr("komrc.training.signals.os._exit", lambda _: None)
        cut = train(options("cut", eval_steps=2, save_steps=-1, per_gpu_eval_batch_size=1))
    assert cut.exit_code == 143
    saved = checkpoints.newest(tmp_path / "cut")
    assert saved is not None
    assert json.loads((saved.folder / checkpoints.RUN).read_text())["progress"]["pending_evaluation"]
    resumed = train(options("cut", eval_steps=2, save_steps=-1, per_gpu_eval_batch_size=1, resume=True))
    assert resumed.metrics == whole.metrics
    said = [entry["step"] for entry in history(tmp_path / "cut") if "eval_f1" in entry]
    assert said == [entry["step"] for entry in history(tmp_path / "whole") if "eval_f1" in entry]


def test_a_second_run_into_the_folder_is_refused(options: Options, tmp_path: Path) -> None:
    with checkpoints.locked(tmp_path / "out"), pytest.raises(StorageError, match="another run"):
        train(options())


def test_a_former_model_is_not_overwritten_unasked(options: Options, tmp_path: Path) -> None:
    train(options(max_steps=1))
    before = (tmp_path / "out/model.safetensors").read_bytes()
    with pytest.raises(UsageError, match="former run"):
        train(options(max_steps=2))
    assert (tmp_path / "out/model.safetensors").read_bytes() == before
    train(options(max_steps=2, overwrite_output_dir=True))
    assert (tmp_path / "out/model.safetensors").read_bytes() != before


def test_a_damaged_checkpoint_is_named_and_the_one_before_used(
    options: Options, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(RuntimeError, match="killed"):
        train(options(predict_file=None), callbacks=[die_at(14)])
    newest = checkpoints.newest(tmp_path / "out")
    assert newest is not None and newest.step == 4
    weights = newest.folder / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[len(data) // 2] ^= 1
    weights.write_bytes(data)
    with caplog.at_level(logging.WARNING):
        found = checkpoints.newest(tmp_path / "out")
    assert found is not None and found.step == 2
    assert "checkpoint-4" in caplog.text and "checksum" in caplog.text
    assert train(options(predict_file=None, resume=True)).exit_code == 0


def test_other_settings_are_refused_unless_resumed_anyway(options: Options) -> None:
    train(options(max_steps=2))
    with pytest.raises(UsageError, match=r"learning_rate was 0.001, is 0.002"):
        train(options(max_steps=2, learning_rate=2e-3, resume=True))
    assert train(options(max_steps=4, resume=True, resume_anyway=True)).exit_code == 0


def test_a_loss_that_is_no_number_stops_and_leaves_everything(options: Options, tmp_path: Path) -> None:
    def spoil(state: TrainingState, batch: dict[str, Any], _count: int) -> None:
        if state.step == 3:
            batch["weight"] *= float("nan")

    with pytest.raises(TrainingError, match="no longer a number"):
        train(options(), callbacks=[before_batch(spoil)])
    kept = checkpoints.newest(tmp_path / "out")
    assert kept is not None and kept.step == 2
    assert all(t.isfinite().all() for t in load_file(kept.folder / "model.safetensors").values())
    assert not (tmp_path / "out/model.safetensors").exists()


def test_a_window_longer_than_the_model_is_refused_with_its_limit(options: Options) -> None:
    from komrc.errors import ModelError

    with pytest.raises(ModelError, match="512"):
        train(options(max_seq_length=600))


def test_questions_without_an_answer_are_learnt_and_a_threshold_is_kept(
    options: Options, material: Path, tmp_path: Path
) -> None:
    document = json.loads((material / "train.json").read_text())
    for article in document["data"]:
        for paragraph in article["paragraphs"]:
            for qa in paragraph["qas"][::2]:
                qa |= {"answers": [], "is_impossible": True}
    mixed = tmp_path / "mixed.json"
    mixed.write_text(json.dumps(document))
    outcome = train(
        options(
            train_file=(str(mixed),), predict_file=str(mixed), version_2_with_negative=True,
            num_train_epochs=1, max_seq_length=384,
        )
    )  # fmt: skip
    settings = json.loads((tmp_path / "out/komrc.json").read_text())
    assert settings["version_2_with_negative"] is True
    # An untrained model does best by saying "no answer" to all, half of the questions, and finds that.
    assert outcome.metrics["exact_match"] >= 45


def test_questions_can_be_learnt_by_heart(tmp_path: Path) -> None:
    data = some_questions(hub.sample_data("train"), tmp_path / "35.json", 35, one_each=True)
    outcome = train(
        TrainingOptions(
            model=str(tiny_model(tmp_path / "tiny", dropout=0.0)),
            train_file=(str(data),), predict_file=str(data), output_dir=str(tmp_path / "out"),
            cache_dir=str(tmp_path / "cache"), max_seq_length=512, per_gpu_train_batch_size=8,
            num_train_epochs=20, learning_rate=5e-3, eval_steps=-1, save_steps=-1, warmup_ratio=0.1,
            boundary_loss_weight=3.0, precision="fp32", no_cuda=True,
        )
    )  # fmt: skip
    assert outcome.metrics["exact_match"] >= 95


def test_rows_without_ids_train_and_the_preflight_names_options(
    material: Path, options: Options, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = []
    for article in json.loads((material / "train.json").read_text(encoding="utf-8"))["data"]:
        for paragraph in article["paragraphs"]:
            for qa in paragraph["qas"]:
                answers = {key: [answer[key] for answer in qa["answers"]] for key in ("text", "answer_start")}
                row = {"question": qa["question"], "context": paragraph["context"], "answers": answers}
                rows.append(json.dumps(row))
    none = {"question": "?", "context": "짧은 글이다.", "answers": {"text": [], "answer_start": []}}
    path = tmp_path / "train.jsonl"
    path.write_text("\n".join([*rows[:12], json.dumps(none)]), encoding="utf-8")
    with caplog.at_level(logging.INFO):
        outcome = train(options(train_file=(str(path),), max_steps=1, max_answer_length=1))
    assert outcome.exit_code == 0
    assert "train.jsonl 13" in caplog.text
    for option in ("--max-answer-length", "--version_2_with_negative"):
        assert f"{option}" in caplog.text
