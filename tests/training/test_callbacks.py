"""Callbacks, examples in memory and trackers: what a program that trains can use."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from support.tiny_model import tiny_model

pytest.importorskip("torch")

from komrc import load_squad
from komrc.errors import MissingPackageError, UsageError
from komrc.models import hub
from komrc.training import checkpoints
from komrc.training.callbacks import Callback
from komrc.training.evaluator import Evaluation
from komrc.training.options import TrainingOptions
from komrc.training.state import TrainingState
from komrc.training.train import train
from komrc.types import Example, Gold


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("callbacks") / "model")


def options(model: Path, output: Path, **more: Any) -> TrainingOptions:
    values: dict[str, Any] = {
        "model": str(model), "output_dir": str(output), "cache_dir": str(model.parent / "cache"),
        "max_seq_length": 160, "max_steps": 4, "logging_steps": 2, "eval_steps": 2, "save_steps": -1,
        "per_gpu_train_batch_size": 2, "gradient_accumulation_steps": 2, "precision": "fp32",
        "particle_labels": False, "no_cuda": True,
    }  # fmt: skip
    return TrainingOptions(**{**values, **more})


def examples(count: int) -> list[Example]:
    return load_squad(hub.sample_data("train"))[:count]


class Recorder(Callback):
    """Notes each call with the step."""

    def __init__(self, stop_at: int | None = None) -> None:
        self.calls: list[str] = []
        self.stop_at = stop_at

    def on_start(self, state: TrainingState, *_: Any) -> None:
        self.calls.append(f"start {state.step}/{state.total_steps}")

    def on_batch(self, state: TrainingState, batch: dict[str, Any]) -> None:
        self.calls.append(f"batch {len(batch['weight'])}")

    def on_step(self, state: TrainingState) -> None:
        self.calls.append(f"step {state.step}")
        state.stop_early = state.step == self.stop_at

    def on_log(self, state: TrainingState, metrics: dict[str, float]) -> None:
        assert state.history[-1].items() >= metrics.items()
        self.calls.append("log " + " ".join(metrics))

    def on_evaluate(self, state: TrainingState, evaluation: Evaluation) -> None:
        assert [p.id for p in evaluation.predictions]
        self.calls.append(f"evaluate, best {state.best_step}")

    def on_save(self, state: TrainingState, folder: Path) -> None:
        assert checkpoints.newest(folder.parent) == checkpoints.Checkpoint(folder, state.step)
        self.calls.append(f"save {folder.name}")

    def on_end(self, state: TrainingState) -> None:
        self.calls.append(f"end {state.step}")


LOSS, EVAL = "log loss grad_norm learning_rate", "log eval_exact_match eval_f1"


def test_callbacks_are_called_in_order_and_examples_need_no_file(model: Path, tmp_path: Path) -> None:
    recorder = Recorder()
    result = train(
        options(model, tmp_path / "out"),
        train_data=examples(8),
        dev_data=examples(2),
        callbacks=[recorder],
    )
    assert result.exit_code == 0 and result.metrics.keys() == {"exact_match", "f1"}
    step = ["batch 2", "batch 2"]
    calls = [call for call in recorder.calls if not call.startswith("evaluate")]
    assert calls == [
        "start 0/4", *step, "step 1", *step, "step 2", LOSS, EVAL, "save checkpoint-2",
        *step, "step 3", *step, "step 4", LOSS, EVAL, "save checkpoint-4", "end 4",
    ]  # fmt: skip
    assert (tmp_path / "out/model.safetensors").exists() and (tmp_path / "out/predictions_.json").exists()
    assert "train_data" in (tmp_path / "out/README.md").read_text()


def test_a_callback_can_end_the_training_early(model: Path, tmp_path: Path) -> None:
    recorder = Recorder(stop_at=1)
    result = train(
        options(model, tmp_path / "out"),
        train_data=examples(8),
        dev_data=examples(2),
        callbacks=[recorder],
    )
    assert result.exit_code == 0 and result.metrics
    assert recorder.calls[-5:] == [LOSS, EVAL, "evaluate, best 1", "save checkpoint-1", "end 1"]
    assert (tmp_path / "out/model.safetensors").exists()


def test_a_failing_callback_ends_the_run_and_the_others_are_told(model: Path, tmp_path: Path) -> None:
    class Failing(Callback):
        def on_step(self, state: TrainingState) -> None:
            raise RuntimeError(f"at step {state.step}")

    recorder = Recorder()
    with pytest.raises(RuntimeError, match="at step 1"):
        train(options(model, tmp_path / "out"), train_data=examples(8), callbacks=[recorder, Failing()])
    assert recorder.calls[-1] == "end 1"


def test_examples_that_can_not_be_trained_on_are_refused(model: Path, tmp_path: Path) -> None:
    one = examples(1)[0]
    wrong = dataclasses.replace(one, answers=(Gold("없는 답", 0),))
    for data, message in (([], "no example"), ([one, one], "same id"), ([wrong], "not at character 0")):
        with pytest.raises(UsageError, match=message):
            train(options(model, tmp_path / "out"), train_data=data)
    with pytest.raises(UsageError, match="nothing to train on"):
        train(options(model, tmp_path / "out"))
    with pytest.raises(UsageError, match="no output folder"):
        train(dataclasses.replace(options(model, tmp_path), output_dir=""), train_data=[one])


def test_the_log_goes_to_tensorboard_unless_told_otherwise(model: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for name, more in (("with", {}), ("without", {"report_to": "none"})):
        train(options(model, tmp_path / name, **more), train_data=examples(8), dev_data=examples(2))
    assert not (tmp_path / "without/runs").exists()
    (folder,) = (tmp_path / "with/runs").iterdir()
    events = EventAccumulator(str(folder)).Reload()
    assert {"train/loss", "train/learning_rate", "eval/exact_match", "eval/f1"} <= set(
        events.Tags()["scalars"]
    )
    assert [event.step for event in events.Scalars("train/loss")] == [2, 4]


@pytest.mark.parametrize("tracker", ["wandb", "mlflow"])
def test_a_tracker_that_is_not_installed_is_named(
    model: Path, tmp_path: Path, tracker: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("komrc.errors.find_spec", lambda _name: None)
    monkeypatch.delitem(__import__("sys").modules, tracker, raising=False)
    with pytest.raises(MissingPackageError, match=f"--report-to {tracker} needs {tracker}"):
        train(options(model, tmp_path / "out", report_to=tracker), train_data=examples(2))


def test_the_best_evaluation_is_that_of_the_highest_em_then_f1_then_the_earliest() -> None:
    state = TrainingState(total_steps=9, steps_per_epoch=3)
    assert state.best_step is None
    for step, em, f1 in ((1, 10.0, 50.0), (2, 30.0, 50.0), (3, 30.0, 60.0), (4, 30.0, 60.0), (5, 20.0, 90.0)):
        state.step = step
        state.record({"loss": 1.0})
        state.record({"eval_exact_match": em, "eval_f1": f1})
    assert state.best_step == 3
    assert [entry["step"] for entry in state.evaluations()] == [1, 2, 3, 4, 5]


def test_what_is_due_after_a_step() -> None:
    state = TrainingState(total_steps=7, steps_per_epoch=3)
    due = {every: [] for every in (2, 0, -1)}
    for step in range(1, 8):
        state.step = step
        for every in due:
            due[every] += [step] * state.due(every)
    assert due == {2: [2, 4, 6, 7], 0: [3, 6, 7], -1: [7]}
