"""kill -9 and a power cut at every write, fsync and rename of what a run leaves on the disk."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.faults import cut_power, kill_points

pytest.importorskip("torch")

from komrc import storage
from komrc.training import checkpoints, outputs

PREDICTIONS = "predictions_.json"


def files(tag: str) -> dict[str, bytes]:
    return {name: f"{tag} {name} ".encode() * 40 for name in ("config.json", "model.safetensors", "run.json")}


def fill(folder: Path, tag: str) -> None:
    for name, data in files(tag).items():
        (folder / name).write_bytes(data)


def content(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in files("")}


def life(out: Path) -> None:
    """What the end of a run writes: a checkpoint, rotation, predictions, a cache, the model."""
    checkpoints.write(out, 2, lambda folder: fill(folder, "new"))
    checkpoints.rotate(out, keep=1, best_step=None)
    storage.write_json(out / PREDICTIONS, {"tag": "new", "filler": "가" * 100})
    with storage.replacing_folder(out / "cache") as temporary:
        fill(temporary, "new")
    with storage.replacing_folder(out / outputs.STAGED) as temporary:
        fill(temporary, "new")
    outputs.finish_final(out)


def prepare(out: Path) -> Path:
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    for name in ("checkpoint-1", "cache", "staged"):
        with storage.replacing_folder(out / name) as temporary:
            fill(temporary, "old")
    storage.move_into(out / "staged", out)
    storage.write_json(out / PREDICTIONS, {"tag": "old", "filler": "가" * 100})
    return out


def look(out: Path, killed_at: str) -> None:
    """Everything is the old one or the new one, or says that it is not."""
    newest = checkpoints.newest(out)
    assert newest is not None, killed_at
    assert content(newest.folder) == files({1: "old", 2: "new"}[newest.step]), killed_at
    assert json.loads((out / PREDICTIONS).read_text())["tag"] in ("old", "new"), killed_at
    assert storage.verify_folder(out / "cache") == [], killed_at
    assert content(out / "cache") in (files("old"), files("new")), killed_at
    if not storage.verify_folder(out):
        assert content(out) in (files("old"), files("new")), killed_at
    # What the next run does first:
    outputs.finish_final(out)
    checkpoints.clean(out)
    assert storage.verify_folder(out) == [], killed_at
    assert content(out) in (files("old"), files("new")), killed_at
    assert [p.name for p in out.iterdir() if p.name.startswith((".tmp", ".old"))] == [], killed_at
    assert not list(out.glob("*.damaged*")), killed_at
    life(out)
    assert content(out) == content(out / "cache") == files("new")
    newest = checkpoints.newest(out)
    assert newest is not None and newest.step == 2 and content(newest.folder) == files("new")


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.fsync", lambda _: None)  # the children's are watched, not done


@pytest.mark.parametrize("power", [False, True], ids=["kill", "power cut"])
def test_at_every_point_all_is_whole_or_named(tmp_path: Path, power: bool) -> None:
    out, log = tmp_path / "out", tmp_path / "log"

    def every(count: int) -> Iterator[int]:
        assert count > 40
        yield from range(1, count + 1)

    for folder, _, name in kill_points(lambda: life(out), lambda: prepare(out), log, every):
        if power:
            cut_power(folder, log)
        look(folder, name)


def test_without_an_fsync_the_power_cut_would_be_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That this file would notice a forgotten fsync."""
    out, log = tmp_path / "out", tmp_path / "log"
    monkeypatch.setattr(storage, "_sync", lambda _: None)
    damaged = 0
    for folder, _, _ in kill_points(
        lambda: life(out), lambda: prepare(out), log, lambda n: iter(range(1, n))
    ):
        cut_power(folder, log)
        damaged += bool(storage.verify_folder(folder / "cache"))
    assert damaged > 0
