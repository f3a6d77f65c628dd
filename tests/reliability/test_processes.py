"""Runs of two processes: what one process gives, exactly resumed, and ended when one of the two is gone."""

from __future__ import annotations

import json
import os
import re
import signal
from pathlib import Path
from typing import Any

import pytest
from support.faults import Ended, in_child

pytest.importorskip("torch")

from support import ranks
from support.resuming import before_batch, differences, killed, whole
from support.tiny_model import without_dropout
from support.tiny_run import material

from komrc.errors import StorageError
from komrc.training import checkpoints, window_cache
from komrc.training.distributed import ProcessLostError


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return material(tmp_path_factory.mktemp("processes"), train=14, dev=50)


def figures(ended: list[Ended]) -> list[Any]:
    assert [one.error for one in ended] == [None] * len(ended)
    return [one.value for one in ended]


def test_two_processes_learn_what_one_does_at_the_same_batch(made: Path, tmp_path: Path) -> None:
    """Without dropout. Batches of two windows, so that one of them leaves a process without any, and four a
    step, so that an epoch's last step has fewer."""
    from safetensors.torch import load_file

    def run(name: str, batch: int) -> Any:
        more = {"per_gpu_train_batch_size": batch, "gradient_accumulation_steps": 4, "save_steps": -1}
        model = str(without_dropout(made / "model", made / "no-dropout"))
        return whole(made, tmp_path / name, model=model, **more)

    (one,) = figures([in_child(lambda: run("one", 2))])
    assert figures(ranks.together(lambda: run("two", 1))) == [one, one]
    ends = [checkpoints.newest(tmp_path / name) for name in ("one", "two")]
    states, weights = [], []
    for end in ends:
        assert end is not None
        states.append(json.loads((end.folder / checkpoints.STATE).read_text())["log_history"])
        weights.append(load_file(end.folder / "model.safetensors"))
    for first, second in zip(*states, strict=True):
        assert first == pytest.approx(second, rel=1e-5)
    assert all((weights[0][name] - weights[1][name]).abs().max() < 1e-5 for name in weights[0])


def test_the_evaluation_is_shared_out_and_equal_to_the_last_bit(made: Path, tmp_path: Path) -> None:
    def run(name: str) -> Any:
        return whole(made, tmp_path / name, learning_rate=0.0, boundary_learning_rate=0.0, max_steps=1)

    (one,) = figures([in_child(lambda: run("one"))])
    assert figures(ranks.together(lambda: run("two"))) == [one, one]
    for name in ("predictions_.json", "nbest_predictions_.json", "eval_results.json", "komrc.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_a_run_that_has_ended_leaves_no_thread_of_its_process_group(made: Path, tmp_path: Path) -> None:
    """Such a thread meets the interpreter's end, and now and then the process aborts behind its work."""

    def run() -> list[str]:
        whole(made, tmp_path / "out", max_steps=1, predict_file=None)
        names = [task.joinpath("comm").read_text().strip() for task in Path("/proc/self/task").iterdir()]
        return [name for name in names if re.search("gloo|tcpstore", name)]

    assert figures(ranks.together(run)) == [[], []]


def test_the_first_process_cuts_the_windows_for_all(made: Path, tmp_path: Path) -> None:
    def run() -> list[bool]:
        true, built = window_cache.build_windows, []

        def build(*args: Any, **more: Any) -> Any:
            built.append(more["labels"])  # those of the evaluation have none
            return true(*args, **more)

        window_cache.build_windows = build
        whole(made, tmp_path / "out", max_steps=1, predict_file=None, cache_dir=str(tmp_path / "cache"))
        return built

    assert figures(ranks.together(run)) == [[True], []]


@pytest.fixture(scope="module")
def undisturbed(made: Path) -> Path:
    """A run of two processes with dropout: five micro-batches an epoch, three of them a step."""
    figures(ranks.together(lambda: whole(made, made / "undisturbed", **TWO)))
    return made / "undisturbed"


TWO = {"per_gpu_train_batch_size": 2, "save_steps": 1, "predict_file": None}


@pytest.mark.parametrize("kill_at", [5, 6], ids=["inside a step", "behind an epoch"])
def test_one_of_two_killed_and_both_resumed_changes_nothing(
    made: Path, undisturbed: Path, tmp_path: Path, kill_at: int
) -> None:
    cut = tmp_path / "cut"

    def run() -> None:
        killed(made, cut, kill_at if os.environ["RANK"] == "1" else -1, **TWO)

    first, second = ranks.together(run)
    assert second.code == -signal.SIGKILL
    assert isinstance(first.error, ProcessLostError) and "--resume" in str(first.error)
    assert not (cut / "model.safetensors").exists()
    figures(ranks.together(lambda: whole(made, cut, resume=True, **TWO)))
    assert differences(undisturbed, cut) == []


def test_a_signal_to_one_of_two_stops_both_at_the_same_step(
    made: Path, undisturbed: Path, tmp_path: Path
) -> None:
    def run() -> Any:
        sent = []

        def send(state: Any, *_: Any) -> None:
            if state.step == 1 and os.environ["RANK"] == "1" and not sent:
                sent.append(signal.SIGTERM)  # a second one would end the process
                signal.raise_signal(signal.SIGTERM)

        return whole(made, tmp_path / "cut", callbacks=[before_batch(send)], **TWO)

    assert [outcome.exit_code for outcome in figures(ranks.together(run))] == [143, 143]
    saved = checkpoints.newest(tmp_path / "cut")
    assert saved is not None and saved.step == 2
    figures(ranks.together(lambda: whole(made, tmp_path / "cut", resume=True, **TWO)))
    assert differences(undisturbed, tmp_path / "cut") == []


def test_what_stops_the_first_process_stops_the_others(made: Path, tmp_path: Path) -> None:
    with checkpoints.locked(tmp_path / "out"):
        ended = ranks.together(lambda: whole(made, tmp_path / "out", **TWO))
    for one in ended:
        assert isinstance(one.error, StorageError) and "another run" in str(one.error)


def test_a_process_that_no_longer_answers_ends_the_run(made: Path, tmp_path: Path) -> None:
    """As a host does that lost its network: nothing is closed, nothing comes."""

    def run() -> Any:
        def freeze(state: Any, *_: Any) -> None:
            if state.step == 1 and os.environ["RANK"] == "1":
                os.kill(os.getpid(), signal.SIGSTOP)

        return whole(made, tmp_path / "out", callbacks=[before_batch(freeze)], ddp_timeout=20, **TWO)

    first, second = ranks.start(run)
    try:
        error = first.wait().error
    finally:
        os.kill(second.process, signal.SIGKILL)
        second.wait()
    assert isinstance(error, ProcessLostError) and error.exit_code == 7
    saved = checkpoints.newest(tmp_path / "out")
    assert saved is not None and saved.step == 1
