"""What a model folder is written from."""

from __future__ import annotations

from pathlib import Path

from komrc.models import files
from komrc.models.writing import copy_files, read_card, write_model

NAMES = (
    *("config.json", "komrc.json", "model.safetensors", "vocab.txt", "tokenizer.json", "README.md"),
    *("pytorch_model.bin", "predictions_.json", "run.py", "model[1].safetensors"),
)


def folder_with(path: Path, *names: str) -> Path:
    path.mkdir()
    for name in names:
        (path / name).write_text(name)
    return path


def test_only_the_model_s_own_files_are_copied_and_no_pickle(tmp_path: Path) -> None:
    source, target = folder_with(tmp_path / "a", *NAMES), folder_with(tmp_path / "b")
    copy_files(source, target, without=(*files.TOKENIZER_PARTS, files.SETTINGS))
    copied = {path.name: path.read_text() for path in target.iterdir()}
    assert copied == {name: name for name in ("config.json", "model.safetensors", "model[1].safetensors")}


def test_each_part_is_written_into_the_folder_with_the_card(tmp_path: Path) -> None:
    source, target = folder_with(tmp_path / "a", "README.md"), folder_with(tmp_path / "b")
    write_model(
        target,
        tokenizer=lambda folder: (folder / "tokenizer.json").write_text("t"),
        settings=lambda folder: (folder / "komrc.json").write_text("s"),
        weights=lambda folder: (folder / "model.safetensors").write_text("w"),
        card=read_card(source),
    )
    assert {path.name: path.read_text() for path in target.iterdir()} == {
        "tokenizer.json": "t", "komrc.json": "s", "model.safetensors": "w", "README.md": "README.md",
    }  # fmt: skip
    assert read_card(folder_with(tmp_path / "c")) is None
