"""The model card of a run: metadata that a hub reads, and what the model is."""

from __future__ import annotations

import pytest

pytest.importorskip("torch", reason="the train extra is not installed")

from huggingface_hub import ModelCard

from komrc.training.model_card import model_card
from komrc.training.options import TrainingOptions


def card(model: str | None, metrics: dict[str, float]) -> ModelCard:
    text = model_card(
        TrainingOptions(model=model, num_train_epochs=7),
        data_sha256={"train.json": "ab12"},
        boundary_head=True,
        metrics=metrics,
        run_info={"steps": 12},
    )
    return ModelCard(text)


def test_scores_are_the_model_index() -> None:
    written = card("monologg/kobert", {"exact_match": 71.234, "f1": 84.5, "loss": 1.0})
    assert written.data.base_model == "monologg/kobert"
    assert written.data.language == "ko"
    assert written.data.pipeline_tag == "question-answering"
    (name,) = {result["name"] for result in written.data.to_dict()["model-index"]}
    assert name == "komrc reader from monologg/kobert"
    assert {r.metric_type: r.metric_value for r in written.data.eval_results} == {
        "exact_match": 71.23,
        "f1": 84.5,
    }
    for words in (
        "| exact_match | 71.23 |",
        "`train.json` (SHA-256 `ab12`)",
        "- steps: 12",
        "exact character",
    ):
        assert words in written.text
    assert "- num_train_epochs: 7" in written.text


def test_without_scores_there_is_no_index() -> None:
    written = card(None, {})
    assert "model-index" not in written.data.to_dict() and written.data.base_model is None
    assert "Not evaluated." in written.text and "the embedded KoMRC reader" in written.text


def test_a_folder_is_no_base_model_of_the_hub(tmp_path) -> None:
    (tmp_path / "mine").mkdir()
    written = card(str(tmp_path / "mine"), {"f1": 50.0})
    assert written.data.base_model is None
    assert str(tmp_path) not in written.text and "reader from mine" in written.text
