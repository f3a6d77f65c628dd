"""An output never replaces an input, however either is spelt."""

from __future__ import annotations

from pathlib import Path

import pytest

from komrc.errors import UsageError
from komrc.overwriting import files_below, refuse_file_name, refuse_inputs, refuse_inside


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "folder").mkdir()
    path = tmp_path / "folder/data.json"
    path.write_text("{}")
    return path


def spelling(data: Path) -> Path:
    return data.parent / ".." / data.parent.name / data.name


def symbolic_link(data: Path) -> Path:
    link = data.parents[1] / "link.json"
    link.symlink_to(data)
    return link


def hard_link(data: Path) -> Path:
    link = data.parents[1] / "hard.json"
    link.hardlink_to(data)
    return link


def folder(data: Path) -> Path:
    return data.parent


def link_to_folder(data: Path) -> Path:
    link = data.parents[1] / "link"
    link.symlink_to(data.parent, target_is_directory=True)
    return link


def folder_above(data: Path) -> Path:
    return data.parents[1]


WAYS = [spelling, symbolic_link, hard_link, folder, link_to_folder, folder_above]


@pytest.mark.parametrize("way", WAYS)
def test_an_input_is_no_output(data: Path, way: object) -> None:
    output: Path = way(data)  # type: ignore[operator]
    with pytest.raises(UsageError, match="input"):
        refuse_inputs([data.parent / "other.json", output], [data])


def test_the_input_may_be_the_link(data: Path) -> None:
    with pytest.raises(UsageError, match="input"):
        refuse_inputs([data], [symbolic_link(data)])
    with pytest.raises(UsageError, match="contains"):
        refuse_inputs([data.parent], [data.parents[1] / "link.json"])


def test_other_outputs_are_free(data: Path) -> None:
    refuse_inputs([data.parent / "new.json", data.parents[1] / "new"], files_below(data.parent))


def test_an_output_inside_a_folder_that_is_read(data: Path) -> None:
    refuse_inside([data.parents[1] / "new.json"], [data.parent])
    for output in (data.parent / "new.json", link_to_folder(data) / "below/new"):
        with pytest.raises(UsageError, match="next run"):
            refuse_inside([output], [data.parent])


def test_a_new_folder_has_no_ending_of_a_file(tmp_path: Path) -> None:
    for name in ("answers", "models-v1.2", ".hidden"):
        refuse_file_name(tmp_path / name, "--output")
    (tmp_path / "old.csv").mkdir()
    refuse_file_name(tmp_path / "old.csv", "--output")
    for path in (Path("-"), tmp_path / "answers.csv", tmp_path / "ANSWERS.XLSX", tmp_path / "model.onnx"):
        with pytest.raises(UsageError, match="folder"):
            refuse_file_name(path, "--output")
