"""komrc.json: what is written is read; what is damaged is named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from komrc.config import NAMES, DecodingConfig, Provenance, ReaderConfig, WindowConfig
from komrc.errors import ModelError, UsageError
from komrc.training.options import TrainingOptions


def test_round_trip(tmp_path: Path) -> None:
    config = ReaderConfig.of(
        max_seq_length=512, temperature=1.7, version_2_with_negative=True, max_answer_length=7
    )
    provenance = Provenance(boundary_head=True, data_sha256={"훈련.json": "ab"}, tokenizer_sha256="cd")
    config.save(tmp_path, provenance)
    assert ReaderConfig.load(tmp_path) == config
    assert Provenance.load(tmp_path) == provenance


def test_the_file_keeps_its_keys(tmp_path: Path) -> None:
    ReaderConfig.of(n_best_size=3).save(tmp_path, Provenance(komrc_version="1"))
    assert json.loads((tmp_path / "komrc.json").read_text(encoding="utf-8")) == {
        "format": 1,
        "max_seq_length": 384,
        "doc_stride": 128,
        "max_query_length": 64,
        "html_markers": False,
        "n_best_size": 3,
        "max_answer_length": 30,
        "version_2_with_negative": False,
        "null_score_diff_threshold": 0.0,
        "temperature": 1.0,
        "boundary_head": False,
        "data_sha256": {},
        "tokenizer_sha256": "",
        "komrc_version": "1",
    }


def test_a_folder_without_the_file_gets_the_defaults(tmp_path: Path) -> None:
    config = ReaderConfig.load(tmp_path)
    assert config == ReaderConfig(WindowConfig(384, 128, 64), DecodingConfig(n_best=20, max_answer_tokens=30))
    assert Provenance.load(tmp_path) == Provenance()


def test_training_has_the_same_defaults() -> None:
    options, defaults = TrainingOptions(), ReaderConfig().values()
    shared = {name: getattr(options, name, None) for name in NAMES}
    decided = {"null_score_diff_threshold": 0.0, "temperature": 1.0, "html_markers": False}
    assert shared | decided == defaults


def test_keys_of_a_later_version_are_left_aside(tmp_path: Path) -> None:
    (tmp_path / "komrc.json").write_text('{"format": 1, "new": [1], "temperature": 2}')
    assert ReaderConfig.load(tmp_path).decoding.temperature == 2
    assert Provenance.load(tmp_path) == Provenance()


@pytest.mark.parametrize(
    ("values", "named"),
    [({"max_answer_tokens": 3}, "max_answer_length"), ({"doc_stride": True}, "doc_stride")],
)
def test_wrong_values_of_a_caller_are_named(values: dict[str, object], named: str) -> None:
    with pytest.raises(UsageError, match=named):
        ReaderConfig.of(**values)


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
        ('{"format": 1, "max_answer_length": 0}', "max_answer_length"),
        ('{"format": 1, "temperature": 0}', "temperature"),
        ('{"format": 1, "temperature": NaN}', "temperature"),
        ('{"format": 1, "null_score_diff_threshold": Infinity}', "null_score_diff_threshold"),
        ('{"format": 1, "data_sha256": []}', "data_sha256"),
        ('{"format": 1, "tokenizer_sha256": 3}', "tokenizer_sha256"),
        ("\ufeff\udcff", "komrc.json"),
    ],
)
def test_damage_is_named(tmp_path: Path, text: str, named: str) -> None:
    (tmp_path / "komrc.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(ModelError) as caught:
        _ = ReaderConfig.load(tmp_path), Provenance.load(tmp_path)
    assert named in str(caught.value)
    assert str(tmp_path) in str(caught.value)
