"""The output folder of a run: no input, nobody else's files, touched only when all is well."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch")

from komrc.errors import UsageError
from komrc.training import checkpoints
from komrc.training.options import TrainingOptions
from komrc.training.train import train


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder as people have it, with a checkpoint of transformers."""
    folder = tmp_path / "proj"
    (folder / "checkpoint-500").mkdir(parents=True)
    for name in (
        "README.md",
        "config.json",
        "checkpoint-500/config.json",
        "checkpoint-500/trainer_state.json",
    ):
        (folder / name).write_text("{}")
    (tmp_path / "train.json").write_text("{}")
    return folder


def options(project: Path, **more: object) -> TrainingOptions:
    values = {
        "train_file": (str(project.parent / "train.json"),),
        "output_dir": str(project),
        "no_cuda": True,
    }
    return TrainingOptions(**(values | more))  # type: ignore[arg-type]


@pytest.mark.parametrize("resume", [False, True])
def test_a_folder_of_others_is_refused_and_not_touched(project: Path, resume: bool) -> None:
    before = contents(project)
    with pytest.raises(UsageError) as caught:
        train(options(project, resume=resume))
    said = str(caught.value)
    assert "--overwrite-output-dir" in said
    assert f"--model {project / 'checkpoint-500'}" in said
    assert contents(project) == before


def test_a_checkpoint_of_others_is_neither_renamed_nor_called_damaged(project: Path) -> None:
    (project / checkpoints.LOCK).touch()  # a folder of ours, into which somebody copied it
    before = contents(project)
    with pytest.raises(UsageError, match=r"did not write.*--model .*checkpoint-500"):
        train(options(project, resume=True))
    assert contents(project) == before
    checkpoints.rotate(project, keep=1, best_step=None)
    assert contents(project) == before


@pytest.mark.parametrize("role", ["model", "teacher", "tokenizer", "config_name"])
@pytest.mark.parametrize("place", ["", "checkpoint-500"])
def test_a_model_that_is_read_is_no_output(project: Path, role: str, place: str) -> None:
    before = contents(project)
    folder = str(project / place)
    value = (folder,) if role == "teacher" else folder
    with pytest.raises(UsageError, match="input"):
        train(options(project, overwrite_output_dir=True, **{role: value}))
    assert contents(project) == before


@pytest.mark.parametrize("role", ["train_file", "predict_file"])
def test_data_inside_the_output_folder_are_refused(project: Path, role: str) -> None:
    (project / "data.json").write_text("{}")
    value = str(project / "data.json")
    with pytest.raises(UsageError, match="contains an input"):
        train(
            options(project, overwrite_output_dir=True, **{role: (value,) if role == "train_file" else value})
        )


def test_an_empty_folder_is_free(tmp_path: Path) -> None:
    checkpoints.refuse_foreign(tmp_path / "new")
    (tmp_path / ".gitkeep").touch()
    checkpoints.refuse_foreign(tmp_path)
