"""KLUE's EM and ROUGE-W on cases worked out by hand."""

import pytest

from komrc.metrics import klue
from komrc.types import Example, Gold


@pytest.mark.parametrize(
    ("prediction", "gold", "expected"),
    [
        ("서울특별시", "서울특별시", 1.0),
        # common run 서울 = 2 of 5 and of 2: P 0.4, R 1
        ("서울특별시", "서울", 2 * 0.4 / 1.4),
        # runs "가나" (2) and "라" (1): only the longest counts, 2 of 4 and 2 of 4
        ("가나다라", "가나마라", 0.5),
        ("부산", "서울", 0.0),
        ("", "서울", 0.0),
        ("", "", 1.0),
        ("서울", "", 0.0),
        ("The  Beatles!", "the beatles", 1.0),
    ],
)
def test_rouge_w_is_the_f1_of_the_longest_common_run(prediction, gold, expected):
    assert klue.rouge_w(prediction, gold) == pytest.approx(expected)


def test_korean_quotes_stay_but_ascii_punctuation_goes():
    assert klue.normalize("《햄릿》, 'A' (1603)") == "《햄릿》 a 1603"
    assert klue.exact_match("《햄릿》", "햄릿") == 0.0
    assert klue.exact_match("'햄릿'", "햄릿") == 1.0


def test_best_reference_counts_and_a_missing_prediction_scores_zero():
    examples = [
        Example("a", "?", "서울 특별시", (Gold("서울", 0), Gold("특별시", 3))),
        Example("b", "?", "부산", (Gold("부산", 0),)),
        Example("c", "?", "대구", is_impossible=True),
        Example("d", "?", "대전", is_impossible=True),
    ]
    scores = klue.score({"a": "특별시", "c": "", "d": "대전"}, examples)
    assert scores == {"exact_match": 50.0, "rouge_w": 50.0}
