"""A report's numbers on four questions that can be counted by hand."""

import json

import pytest

from komrc.errors import DataError
from komrc.metrics import korquad
from komrc.report.analysis import analyse, load_scores
from komrc.report.outcomes import Outcome
from komrc.types import Example, Gold

CONTEXT = "서울은 대한민국의 수도이다. 인구는 9백만 명이고 강은 한강이다."


def question(name, answer):
    return Example(name, "?", CONTEXT, (Gold(answer, CONTEXT.index(answer)),))


EXAMPLES = [
    question("a", "서울"),
    question("b", "대한민국"),
    question("c", "9백만 명"),
    question("d", "한강"),
]
FIRST = {"a": "서울", "b": "대한민국의", "c": "한강"}
SECOND = {"a": "서울은", "b": "대한민국", "c": "9백만 명", "d": "한강"}


@pytest.fixture(scope="module")
def report():
    scores = {"a": {"서울": 0.9}, "b": {"대한민국의": 0.7, "대한민국": 0.2}, "c": {"서울": 0.5}}
    return analyse(EXAMPLES, FIRST, name="first", scores=scores, other=SECOND, other_name="second")


def test_overall_figures_are_the_official_ones(report):
    official = korquad.score(FIRST, EXAMPLES)
    assert report.exact_match.mean == pytest.approx(official["exact_match"]) == 25.0
    assert report.f1.mean == pytest.approx(official["f1"])
    assert report.exact_match.low <= 25.0 <= report.exact_match.high
    assert report.missing == 1


def test_outcomes_reconcile(report):
    assert report.outcomes[Outcome.RIGHT] == 1
    assert report.outcomes[Outcome.SUFFIX] == 1
    assert report.outcomes[Outcome.ELSEWHERE] == 1
    assert report.outcomes[Outcome.NO_ANSWER] == 1
    assert sum(report.outcomes.values()) == len(EXAMPLES)


def test_slices_of_a_group_reconcile(report):
    for group in report.groups:
        parts = [part for part in report.slices if part.group == group]
        assert sum(part.count for part in parts) == len(EXAMPLES)
        mean = sum(part.count * part.exact_match.mean for part in parts) / len(EXAMPLES)
        assert mean == pytest.approx(report.exact_match.mean)
    by_name = {(part.group, part.name): part for part in report.slices}
    assert by_name["number", "digits_and_unit"].exact_match.mean == 0.0
    assert by_name["number", "none"].exact_match.mean == pytest.approx(100 / 3)


def test_reliability_counts_only_answers_with_a_score(report):
    assert report.calibration.count == 2  # c's answer is not in its list, d has none
    assert report.calibration.error == pytest.approx((0.1 + 0.7) / 2)


def test_comparison(report):
    comparison = report.comparison
    assert (comparison.both_right, comparison.won, comparison.lost, comparison.both_wrong) == (0, 3, 1, 0)
    assert comparison.exact_match_difference.mean == 50.0
    assert comparison.p_value == pytest.approx(2 * (1 + 4) / 16)


def test_numbers_are_plain_json(report):
    value = json.loads(json.dumps(report.to_json(), allow_nan=False))
    assert value["exact_match"]["mean"] == 25.0
    assert value["outcomes"]["right_plus_suffix"] == 1
    assert value["comparison"]["won"] == 3
    assert value["ceiling"] is None


def test_unanswerable_questions_count_but_stand_in_no_slice():
    impossible = Example("n", "?", CONTEXT, is_impossible=True)
    report = analyse([*EXAMPLES, impossible], {**FIRST, "n": ""}, name="x")
    assert report.exact_match.mean == 40.0
    assert sum(part.count for part in report.slices if part.group == "hanja") == len(EXAMPLES)


def test_nothing_to_report():
    with pytest.raises(DataError):
        analyse([], {}, name="x")


def test_n_best_files(tmp_path):
    path = tmp_path / "nbest.json"
    path.write_text('{"a": [{"text": "서울", "probability": 0.6}, {"text": "서울", "probability": 0.1}]}')
    assert load_scores(path) == {"a": {"서울": 0.6}}
    for content in (
        '{"a": "서울"}',
        "[]",
        '{"a": [{"text": "x"}]}',
        '{"a": [{"text": "x", "probability": []}]}',
    ):
        path.write_text(content)
        with pytest.raises(DataError):
            load_scores(path)


def test_a_trimmed_answer_has_the_score_of_what_it_was_cut_from():
    scores = {"a": {"서울은": 0.8, "한강": 0.1}, "b": {"대한민국": 0.6, "서울": 0.3}}
    report = analyse(EXAMPLES[:2], {"a": "서울", "b": "서울"}, name="x", scores=scores)
    assert [item.score for item in report.judged] == [0.8, 0.3]
