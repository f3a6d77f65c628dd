"""Scoring of prediction files, finding answers in their contexts, trimming a whole file."""

import json

import pytest

from komrc import evaluation
from komrc.errors import DataError
from komrc.types import Example, Gold, Span

CONTEXT = (
    "서울은 조선의 수도였다. 부산에는 항구가 있고 인구는 3백만 명이다. "
    "서울은 오늘날 대한민국의 수도이며 인구는 9백만 명이다."
)


@pytest.mark.parametrize(
    ("question", "nth"),
    [
        ("오늘날 대한민국의 수도는?", 1),
        ("조선의 수도는 어디였나?", 0),
        ("이름이 무엇인가?", 0),  # nothing to go by: the first
    ],
)
def test_of_several_places_the_one_the_question_speaks_of(question, nth):
    starts = [CONTEXT.index("서울은"), CONTEXT.rindex("서울은")]
    assert evaluation.locate(CONTEXT, question, "서울") == Span(starts[nth], starts[nth] + 2)


def test_white_space_may_differ():
    context = "그는 새\n정치  (국민) 회의를 만들었다."
    span = evaluation.locate(context, "?", "새 정치 ( 국민 ) 회의를")
    assert context[span.start : span.end] == "새\n정치  (국민) 회의를"


@pytest.mark.parametrize("text", ["", "  ", "대구"])
def test_an_answer_that_stands_nowhere(text):
    assert evaluation.locate(CONTEXT, "수도는?", text) is None


def test_real_golds_are_found_where_they_stand(korquad_dev):
    found = total = first = 0
    for article in json.loads(korquad_dev.read_text(encoding="utf-8"))["data"]:
        for paragraph in article["paragraphs"]:
            context = paragraph["context"]
            for question in paragraph["qas"]:
                text, start = question["answers"][0]["text"], question["answers"][0]["answer_start"]
                if context.count(text) > 1:
                    total += 1
                    first += context.index(text) == start
                    span = evaluation.locate(context, question["question"], text)
                    found += span.start == start
    assert total > 1000
    assert found / total > first / total + 0.1


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


def test_a_model_answers_and_is_scored(komrc_small_v0):
    examples = [Example("a", "항구는 어디에 있나?", CONTEXT, (Gold("부산", CONTEXT.index("부산")),))]
    predictions = evaluation.predict(examples, str(komrc_small_v0), "torch")
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
