"""SQuAD 2.0's figures on cases worked out by hand."""

import pytest

from komrc.metrics import squad2
from komrc.types import Example, Gold

EXAMPLES = [
    Example("has1", "?", "the red house", (Gold("red house", 4),)),
    Example("has2", "?", "a cat", (Gold("cat", 2),)),
    Example("no1", "?", "nothing", is_impossible=True),
    Example("no2", "?", "nothing", is_impossible=True),
]


def test_words_overlap_without_articles():
    assert squad2.exact_match("The Red House!", "red house") == 1.0
    assert squad2.f1("the red", "a red house") == pytest.approx(2 / 3)
    assert squad2.f1("", "") == 1.0
    assert squad2.f1("cat", "") == 0.0
    assert squad2.f1("", "cat") == 0.0


def test_figures_are_split_by_answerable():
    scores = squad2.score({"has1": "red", "has2": "cat", "no1": "", "no2": "thing"}, EXAMPLES)
    assert scores["exact"] == 50.0
    assert scores["f1"] == pytest.approx(100 * (2 / 3 + 1 + 1 + 0) / 4)
    assert (scores["HasAns_exact"], scores["HasAns_total"]) == (50.0, 2)
    assert scores["HasAns_f1"] == pytest.approx(100 * (2 / 3 + 1) / 2)
    assert (scores["NoAns_exact"], scores["NoAns_f1"], scores["NoAns_total"]) == (50.0, 50.0, 2)
    assert "best_exact" not in scores


def test_a_missing_prediction_scores_zero_even_without_an_answer():
    scores = squad2.score({"has1": "red house", "no1": ""}, EXAMPLES)
    assert (scores["exact"], scores["total"]) == (50.0, 4)


def test_only_answerable_questions_have_no_group_without():
    assert "NoAns_exact" not in squad2.score({"has2": "cat"}, EXAMPLES[:2])


def test_threshold_turns_answers_into_no_answer():
    predictions = {"has1": "red house", "has2": "cat", "no1": "x", "no2": "y"}
    odds = {"has1": -3.0, "has2": 2.0, "no1": 1.0, "no2": 5.0}
    at_zero = squad2.score(predictions, EXAMPLES, odds, threshold=0.0)
    assert at_zero["HasAns_exact"] == 50.0  # has2 is taken for unanswerable
    assert at_zero["NoAns_exact"] == 100.0
    # in the order has1 no1 has2 no2 the points are 2, then 3, 2, 3, 2: the first 3 is the best
    assert at_zero["best_exact"] == 75.0
    assert at_zero["best_exact_thresh"] == -3.0


def test_answering_nothing_may_be_best():
    odds = {"has1": 0.1, "has2": 0.2, "no1": 0.3, "no2": 0.4}
    best, threshold = squad2.best_threshold(
        {"has1": 0.0, "has2": 0.0, "no1": 0.0, "no2": 0.0},
        odds,
        {"has1": True, "has2": True, "no1": False, "no2": False},
        dict.fromkeys(odds, "wrong"),
    )
    assert (best, threshold) == (50.0, 0.0)
