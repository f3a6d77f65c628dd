"""komrc.json: what is written is read; what is damaged is said."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from komrc.config import ReaderSettings
from komrc.errors import ModelError


def test_round_trip(tmp_path: Path) -> None:
    settings = ReaderSettings(
        max_seq_length=512, temperature=1.7, boundary_head=True, data_sha256={"훈련.json": "ab"}
    )
    settings.save(tmp_path)
    assert ReaderSettings.load(tmp_path) == settings
    assert json.loads((tmp_path / "komrc.json").read_text(encoding="utf-8"))["format"] == 1


def test_a_folder_without_the_file_gets_the_defaults(tmp_path: Path) -> None:
    settings = ReaderSettings.load(tmp_path)
    assert (settings.max_seq_length, settings.doc_stride, settings.max_query_length) == (384, 128, 64)
    assert (settings.n_best_size, settings.max_answer_length) == (20, 30)


def test_keys_of_a_later_version_are_left_aside(tmp_path: Path) -> None:
    (tmp_path / "komrc.json").write_text('{"format": 1, "new": [1], "temperature": 2}')
    assert ReaderSettings.load(tmp_path).temperature == 2


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("{", "komrc.json"),
        ("[]", "list"),
        ('{"format": 2}', "2"),
        ("{}", "None"),
        ('{"format": 1, "doc_stride": "128"}', "doc_stride"),
        ('{"format": 1, "doc_stride": true}', "doc_stride"),
        ('{"format": 1, "doc_stride": 0}', "doc_stride"),
        ('{"format": 1, "temperature": 0}', "temperature"),
        ('{"format": 1, "temperature": NaN}', "temperature"),
        ('{"format": 1, "null_score_diff_threshold": Infinity}', "null_score_diff_threshold"),
        ('{"format": 1, "data_sha256": []}', "data_sha256"),
        ("\ufeff\udcff", "komrc.json"),
    ],
)
def test_damage_is_named(tmp_path: Path, text: str, named: str) -> None:
    (tmp_path / "komrc.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(ModelError) as caught:
        ReaderSettings.load(tmp_path)
    assert named in str(caught.value)
    assert str(tmp_path) in str(caught.value)
