"""Files and folders are written whole or not at all, and damage is named."""

from __future__ import annotations

import errno
import json
import os
import random
import time
from pathlib import Path
from typing import Any

import pytest

from komrc import storage
from komrc.errors import ModelError, StorageError

FILES = {
    "a.bin": bytes(range(256)) * 8,
    "b.json": '{"답": 1}'.encode(),
    "in/ner/c": b"\0" * 100,
    "empty": b"",
}


def fill(folder: Path, files: dict[str, bytes] = FILES) -> None:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


def make(path: Path, files: dict[str, bytes] = FILES) -> Path:
    with storage.replacing_folder(path) as temporary:
        fill(temporary, files)
    return path


def content(folder: Path) -> dict[str, bytes]:
    found = {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    found.pop(storage.MANIFEST, None)
    return found


def left_over(folder: Path) -> list[str]:
    return [p.name for p in folder.iterdir() if p.name.startswith(".")]


def test_a_folder_holds_what_was_written_and_passes_its_manifest(tmp_path: Path) -> None:
    made = make(tmp_path / "new/er/out")
    assert content(made) == FILES
    assert storage.verify_folder(made) == []
    make(made, {"only": b"1"})
    assert content(made) == {"only": b"1"}
    assert storage.verify_folder(made) == []
    assert left_over(made.parent) == []


def test_files_can_be_read_by_whom_the_umask_lets(tmp_path: Path) -> None:
    with storage.replacing_folder(tmp_path / "out") as temporary:
        fill(temporary)
        (temporary / "a.bin").chmod(0o600)
    assert (tmp_path / "out/a.bin").stat().st_mode & 0o777 == (tmp_path / "out").stat().st_mode & 0o666


def test_an_error_while_filling_leaves_what_was_there(tmp_path: Path) -> None:
    made = make(tmp_path / "out")
    with pytest.raises(RuntimeError), storage.replacing_folder(made) as temporary:
        fill(temporary, {"other": b"2"})
        raise RuntimeError
    with pytest.raises(RuntimeError), storage.replacing_file(tmp_path / "file") as file:
        file.write(b"half")
        raise RuntimeError
    assert content(made) == FILES and left_over(tmp_path) == [] and not (tmp_path / "file").exists()


def test_where_the_kernel_can_not_swap_two_renames_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ctypes

    made = make(tmp_path / "out")
    monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: None)
    make(made, {"only": b"1"})
    assert content(made) == {"only": b"1"} and left_over(tmp_path) == []

    true_rename, calls = Path.rename, []

    def rename(self: Path, target: Path) -> Path:
        calls.append(self)
        if len(calls) == 2:
            raise OSError(errno.EIO, "injected")
        return true_rename(self, target)

    monkeypatch.setattr(Path, "rename", rename)
    with pytest.raises(StorageError):
        make(made, FILES)
    assert content(made) == {"only": b"1"} and left_over(tmp_path) == []


def test_a_kill_between_the_two_renames_loses_nothing(tmp_path: Path) -> None:
    made = make(tmp_path / "out")
    made.rename(tmp_path / ".old-0123abcd-out")
    storage.remove_stale(tmp_path, "out")
    assert content(made) == FILES


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO])
@pytest.mark.parametrize("step", ["fsync", "rename", "replace", "mkdir"])
def test_the_system_s_refusal_is_a_storage_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, number: int
) -> None:
    made, file = make(tmp_path / "out"), tmp_path / "file"
    storage.write_bytes(file, b"before")

    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, step, refuse)
        if step in ("fsync", "mkdir"):
            with pytest.raises(StorageError, match=os.strerror(number)):
                make(tmp_path / "new", {"only": b"1"})
            assert not (tmp_path / "new").exists()
        if step in ("fsync", "replace"):
            with pytest.raises(StorageError, match=os.strerror(number)):
                storage.write_bytes(file, b"after")
    assert file.read_bytes() == b"before" and content(made) == FILES and left_over(tmp_path) == []


def test_a_full_disk_reported_by_rust_is_a_storage_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="No space left"), storage.replacing_folder(tmp_path / "out"):
        raise Exception("Error while serializing: I/O error: No space left on device (os error 28)")
    with pytest.raises(ModelError), storage.replacing_folder(tmp_path / "out"):
        raise ModelError("can't be read (os error 2)")  # our own errors stay what they are


def test_a_file_in_the_folder_s_place_stays(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    with pytest.raises(StorageError, match="a file has that name"):
        make(tmp_path / "out")
    assert (tmp_path / "out").read_text() == "mine" and left_over(tmp_path) == []


def test_every_flipped_bit_and_every_cut_is_found(tmp_path: Path) -> None:
    made = make(tmp_path / "out")
    draw = random.Random(5)
    for file in sorted(p for p in made.rglob("*") if p.is_file()):
        data = file.read_bytes()
        for _ in range(40 if file.name == storage.MANIFEST else 10):
            if data:
                damaged = bytearray(data)
                at = draw.randrange(len(data))
                damaged[at] ^= 1 << draw.randrange(8)
                file.write_bytes(damaged)
                assert storage.verify_folder(made), (file.name, at)
                file.write_bytes(data[: draw.randrange(len(data))])
                assert storage.verify_folder(made), file.name
        file.write_bytes(data + b"\n")
        assert storage.verify_folder(made), file.name
        file.unlink()
        assert storage.verify_folder(made), file.name
        file.write_bytes(data)
    assert storage.verify_folder(made) == []


def test_damage_is_named(tmp_path: Path) -> None:
    made = make(tmp_path / "out")
    (made / "empty").unlink()
    (made / "b.json").write_bytes(b"{}")
    (made / "a.bin").write_bytes(FILES["a.bin"][::-1])
    assert storage.verify_folder(made) == [
        "a.bin differs from its checksum",
        f"b.json has 2 bytes instead of {len(FILES['b.json'])}",
        "empty is missing",
    ]
    (made / "new").write_bytes(b"")
    assert storage.verify_folder(made, ["new", "in/ner/c", "nowhere"]) == ["new is not in manifest.json"]
    assert storage.verify_folder(tmp_path / "nothing") == ["no manifest"]


@pytest.mark.parametrize("name", ["../secret", "/etc/hostname", "in/../../secret", ""])
def test_a_manifest_that_names_something_outside_is_damaged(tmp_path: Path, name: str) -> None:
    made = make(tmp_path / "out")
    value = {"files": {name: {"bytes": 1, "sha256": "0" * 64}}}
    (made / storage.MANIFEST).write_text(json.dumps(value, ensure_ascii=False, indent=2) + "\n")
    assert storage.verify_folder(made) == ["manifest.json is damaged"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{\n  "files": {}\n}\n',
        '{"files": 3}',
        '{"files": {"a": 3}}',
        "[" * 100_000,
        '{"files": {"a": {"bytes": true}}}',
    ],
)
def test_what_is_no_manifest_is_damaged(tmp_path: Path, text: str) -> None:
    made = make(tmp_path / "out")
    (made / storage.MANIFEST).write_text(text)
    assert storage.verify_folder(made) == ["manifest.json is damaged"]


def test_stale_temporaries_go_and_held_ones_stay(tmp_path: Path) -> None:
    make(tmp_path / ".tmp-00000000-out")
    (tmp_path / ".tmp-11111111-file").write_bytes(b"half")
    (tmp_path / ".tmp-mine").write_bytes(b"not ours")
    with storage.replacing_folder(tmp_path / "out") as held:
        assert storage.remove_stale(tmp_path) == []  # too young to tell
        for path in tmp_path.iterdir():
            os.utime(path, (0, 0))
        assert [p.name for p in storage.remove_stale(tmp_path, "out")] == [".tmp-00000000-out"]
        assert [p.name for p in storage.remove_stale(tmp_path)] == [".tmp-11111111-file"]
        assert held.is_dir()
        with storage.replacing_file(tmp_path / "file") as file:
            assert storage.remove_stale(tmp_path, age=0) == []
            file.write(b"whole")
    assert left_over(tmp_path) == [".tmp-mine"]
    assert (tmp_path / "file").read_bytes() == b"whole"


def test_the_next_writer_of_a_name_removes_what_a_killed_one_left(tmp_path: Path) -> None:
    stale = make(tmp_path / ".tmp-00000000-out")
    os.utime(stale, (time.time() - 60,) * 2)
    make(tmp_path / "out")
    assert left_over(tmp_path) == []


def test_set_aside_keeps_every_damaged_folder(tmp_path: Path) -> None:
    assert storage.set_aside(make(tmp_path / "out")).name == "out.damaged"
    assert storage.set_aside(make(tmp_path / "out")).name == "out.damaged-2"
    assert not (tmp_path / "out").exists()


def test_a_folder_with_files_of_others_is_not_replaced(tmp_path: Path) -> None:
    made = make(tmp_path / "out")
    (made / "notes.txt").write_text("mine")
    with pytest.raises(StorageError, match=r"would be lost: notes\.txt\."):
        make(made, {"only": b"1"})
    (made / storage.MANIFEST).unlink()
    with pytest.raises(StorageError, match="and 2 more"):
        make(made, {"only": b"1"})
    assert content(made) == {**FILES, "notes.txt": b"mine"} and left_over(tmp_path) == []


@pytest.mark.parametrize("stop", [1, 2, 3])
def test_a_staged_model_stopped_halfway_is_not_taken_for_whole_and_then_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: int
) -> None:
    new = {"config.json": b"new", "model.safetensors": b"new weights"}
    folder = make(tmp_path / "model", {"config.json": b"old", "model.safetensors": b"old weights"})
    (folder / "predictions_.json").write_bytes(b"{}")
    staged = make(folder / "staged", new)
    true_replace, calls = Path.replace, []

    def replace(self: Path, target: Path) -> Path:
        calls.append(self)
        if len(calls) == stop:
            raise KeyboardInterrupt
        return true_replace(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", replace)
        with pytest.raises(KeyboardInterrupt):
            storage.move_into(staged, folder)
    assert bool(storage.verify_folder(folder)) == (stop > 1)  # still the old one, or named as damaged
    storage.move_into(staged, folder)
    assert storage.verify_folder(folder) == [] and not staged.exists()
    assert content(folder) == {**new, "predictions_.json": b"{}"}
