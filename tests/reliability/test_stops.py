"""Runs that can't go on: each stops with its documented exit code, and what was there stays."""

from __future__ import annotations

import logging
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.faults import Ended, in_child

pytest.importorskip("torch")

from support.resuming import whole
from support.tiny_run import material

from komrc import storage
from komrc.errors import DataError, StorageError
from komrc.training import checkpoints


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return material(tmp_path_factory.mktemp("stops"))


@pytest.fixture(scope="module")
def begun(made: Path) -> Path:
    """A finished run whose folder the tests copy."""
    ended = in_child(lambda: whole(made, made / "begun", save_total_limit=1, predict_file=None))
    assert ended.error is None, ended.error
    return made / "begun"


def snapshot(folder: Path) -> dict[str, bytes]:
    """Every file's bytes, but for the logs of TensorBoard and the lock."""
    return {
        name: path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not (name := path.relative_to(folder).as_posix()).startswith((".", "runs/"))
    }


def copy(source: Path, target: Path) -> Path:
    import shutil

    return Path(shutil.copytree(source, target))


# --- full disks --------------------------------------------------------------------------------------------


def limited(size: int, action: Callable[[], Any]) -> Ended:
    """Run in a child where no file can grow beyond ``size`` bytes, as if the disk were full then."""

    def run() -> Any:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
        return action()

    return in_child(run)


@pytest.mark.parametrize("size", [0, 1000, 1_500_000, 2_500_000])
def test_a_full_disk_is_said_and_the_former_checkpoint_stays(
    made: Path, begun: Path, tmp_path: Path, size: int
) -> None:
    """0: nothing fits; 1,000: the weights don't; 1,500,000: the optimizer; 2,500,000: the optimizer, too."""
    out = copy(begun, tmp_path / "out")
    before = snapshot(out)
    more = {"predict_file": None, "resume": True, "resume_anyway": True, "num_train_epochs": 4}
    ended = limited(size, lambda: whole(made, out, save_total_limit=1, **more))
    assert isinstance(ended.error, StorageError), ended
    assert ended.error.exit_code == 6
    assert snapshot(out) == before
    assert [p.name for p in out.iterdir() if p.name.startswith(".tmp")] == []
    found = checkpoints.newest(out)
    assert found is not None and found.step == 6


# --- signals -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("where", ["before the first step", "after the last step"])
def test_a_signal_outside_the_steps_ends_at_once(
    made: Path, tmp_path: Path, number: int, code: int, where: str
) -> None:
    out = tmp_path / "out"

    def run() -> Any:
        from komrc.training import calibrate, setup

        before = where.startswith("before")
        module, name = (setup, "choose_windows") if before else (calibrate, "tune_temperature")
        setattr(module, name, lambda *_, **__: signal.raise_signal(number))
        return whole(made, out)

    ended = in_child(run)
    assert ended.error is None and ended.value.exit_code == code, ended
    assert not (out / "model.safetensors").exists()
    found = checkpoints.newest(out)
    assert (found is None) == where.startswith("before")


SECOND = """
import signal, sys, time
from komrc.training.signals import stop_on_signals

with stop_on_signals() as stop, stop.waiting_for_steps():
    print("ready", flush=True)
    while True:  # a step that takes for ever
        time.sleep(0.01)
        if stop:
            print("asked", flush=True)
            while True:
                time.sleep(0.01)
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_second_signal_forces(number: int, code: int) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with subprocess.Popen(
        [sys.executable, "-c", SECOND],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        assert process.stdout.readline() == "asked\n"
        process.send_signal(number)
        assert process.wait(60) == code


# --- folders and files -------------------------------------------------------------------------------------


def test_a_second_run_into_a_folder_is_refused_by_another_process(made: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with checkpoints.locked(out):
        ended = in_child(lambda: whole(made, out))
    assert isinstance(ended.error, StorageError) and "another run" in str(ended.error)
    assert list(snapshot(out)) == []


def test_a_killed_run_does_not_keep_the_lock(made: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"

    def die() -> None:
        with checkpoints.locked(out):
            os.kill(os.getpid(), signal.SIGKILL)

    assert in_child(die).code == -signal.SIGKILL
    with checkpoints.locked(out):
        pass


@pytest.mark.skipif(os.getuid() != 0 and not hasattr(os, "setuid"), reason="needs POSIX users")
def test_a_folder_that_can_not_be_written_is_said(made: Path, begun: Path) -> None:
    import shutil
    import tempfile

    # Root may write everywhere, so the child becomes nobody; pytest's own folders are closed to it.
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        root.chmod(0o755)
        shutil.copytree(made, root / "made")
        shutil.copytree(begun, root / "out")
        for path in root.rglob("*"):
            path.chmod(0o555 if path.is_dir() else 0o444)
        before = snapshot(root / "out")

        def run() -> Any:
            if os.getuid() == 0:
                os.setuid(65534)
            return whole(root / "made", root / "out", resume=True, resume_anyway=True, num_train_epochs=4)

        ended = in_child(run)
        assert isinstance(ended.error, StorageError), ended
        assert "Permission denied" in str(ended.error) and str(root / "out") in str(ended.error)
        assert snapshot(root / "out") == before
        for path in [root, *root.rglob("*")]:
            if path.is_dir():
                path.chmod(0o755)


def test_a_data_file_that_is_gone_stops_before_anything_is_written(
    made: Path, begun: Path, tmp_path: Path
) -> None:
    out = copy(begun, tmp_path / "out")
    before = snapshot(out)
    gone = str(tmp_path / "gone.json")
    train: dict[str, Any] = {"train_file": (gone,)}
    dev: dict[str, Any] = {"predict_file": gone}
    for more in (
        {**train, "resume": True, "resume_anyway": True},
        {**train, "overwrite_output_dir": True},
        {**dev, "overwrite_output_dir": True},
    ):
        ended = in_child(lambda more=more: whole(made, out, **more))
        assert isinstance(ended.error, DataError) and "gone.json" in str(ended.error), ended
        assert snapshot(out) == before


# --- damage ------------------------------------------------------------------------------------------------


def test_a_damaged_newest_checkpoint_is_set_aside_and_does_not_count(
    begun: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out = copy(begun, tmp_path / "out")
    for step in (7, 8):
        copy(out / "checkpoint-6", out / f"checkpoint-{step}")
    (out / "checkpoint-8/random.json").unlink()
    with caplog.at_level(logging.WARNING):
        found = checkpoints.newest(out)
    assert found is not None and found.step == 7
    assert "checkpoint-8 is damaged (random.json is missing)" in caplog.text
    assert (out / "checkpoint-8.damaged").is_dir()
    checkpoints.rotate(out, keep=1, best_step=None)
    assert sorted(p.name for p in out.glob("checkpoint-*")) == ["checkpoint-7", "checkpoint-8.damaged"]


def test_a_damaged_best_checkpoint_is_not_written_as_the_model(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from komrc.training import evaluator

    figures = iter([30.0, 20.0, *[10.0] * 6])
    monkeypatch.setattr(evaluator.korquad, "score", lambda *_: {"exact_match": next(figures), "f1": 50.0})
    true_rotate = checkpoints.rotate

    def rotate(folder: Path, **more: Any) -> None:
        true_rotate(folder, **more)
        weights = folder / "checkpoint-2/model.safetensors"
        if weights.exists():
            data = bytearray(weights.read_bytes())
            data[-1] ^= 1
            weights.write_bytes(data)

    monkeypatch.setattr(checkpoints, "rotate", rotate)
    out = tmp_path / "out"
    ended = in_child(lambda: whole(made, out, eval_steps=2, num_train_epochs=3))
    assert ended.error is None, ended
    last = checkpoints.newest(out)
    assert last is not None and last.step > 2
    assert (out / "model.safetensors").read_bytes() == (last.folder / "model.safetensors").read_bytes()
    assert ended.value.metrics["exact_match"] == 10.0


def test_a_damaged_cache_is_built_again(made: Path, begun: Path, caplog: pytest.LogCaptureFixture) -> None:
    (folder,) = (made / "cache/features").iterdir()
    for name in ("context_ids.npy", storage.MANIFEST):
        (folder / name).write_bytes((folder / name).read_bytes()[:-1])
        assert storage.verify_folder(folder) != []
        ended = in_child(lambda: whole(made, made / "again", overwrite_output_dir=True, predict_file=None))
        assert ended.error is None, ended
        assert storage.verify_folder(folder) == []
