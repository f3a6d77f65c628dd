"""Scoring of prediction files, finding answers in their contexts, trimming a whole file."""

import pytest

from komrc import evaluation
from komrc.errors import DataError
from komrc.models import hub
from komrc.types import Example, Gold

CONTEXT = (
    "서울은 조선의 수도였다. 부산에는 항구가 있고 인구는 3백만 명이다. "
    "서울은 오늘날 대한민국의 수도이며 인구는 9백만 명이다."
)


def test_trimming_a_file_keeps_what_it_cannot_read():
    pytest.importorskip("kiwipiepy")
    examples = [
        Example("a", "대한민국의 수도는?", CONTEXT, (Gold("서울", 0),)),
        Example("b", "부산의 인구는?", CONTEXT, (Gold("3백만 명", CONTEXT.index("3백만")),)),
        Example("c", "?", CONTEXT),
        Example("d", "?", CONTEXT),
    ]
    predictions = {"a": "서울은", "b": "3백만 명이다.", "c": "", "d": "도쿄에서", "unknown": "대구는"}
    trimmed = evaluation.trim_predictions(examples, predictions)
    assert trimmed == {"a": "서울", "b": "3백만 명", "c": "", "d": "도쿄", "unknown": "대구는"}
    assert predictions["a"] == "서울은"


def test_a_model_answers_and_is_scored():
    examples = [Example("a", "항구는 어디에 있나?", CONTEXT, (Gold("부산", CONTEXT.index("부산")),))]
    predictions = evaluation.predict(examples, str(hub.embedded_model()), "torch")
    assert evaluation.evaluate(examples, predictions)["f1"] > 50


@pytest.mark.parametrize("content", ['["a"]', '{"a": 1}', '{"a": {"text": "x"}}', "{", "", "[" * 100_000])
def test_prediction_files_of_another_form_are_named(tmp_path, content):
    path = tmp_path / "predictions.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(DataError) as error:
        evaluation.load_predictions(path)
    assert str(path) in str(error.value)


def test_prediction_file_with_a_byte_order_mark(tmp_path):
    path = tmp_path / "predictions.json"
    path.write_bytes(b"\xef\xbb\xbf" + '{"a": "서울"}'.encode())
    assert evaluation.load_predictions(path) == {"a": "서울"}


@pytest.mark.parametrize("content", ['{"a": "x"}', '{"a": NaN}', "[1]"])
def test_no_answer_scores_must_be_numbers(tmp_path, content):
    path = tmp_path / "odds.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(DataError):
        evaluation.load_no_answer_scores(path)
