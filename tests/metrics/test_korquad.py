"""The official KorQuAD 1.0 metric: its recorded values, its order of steps, its sums."""

from __future__ import annotations

import gzip
import json
import re
import string
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from komrc.errors import DataError
from komrc.metrics import korquad
from komrc.types import Example, Gold


def test_recorded_values_and_their_sums_to_the_last_bit(shared: Path) -> None:
    with gzip.open(shared / "data/golden/korquad_v1_metric.jsonl.gz", "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    assert len(rows) == 4000
    wrong = [
        row
        for row in rows
        if korquad.best(row["prediction"], row["golds"]) != (row["exact_match"], row["f1"])
    ]
    assert wrong == []
    examples = [
        Example(str(i), "?", "", tuple(Gold(text, 0) for text in row["golds"])) for i, row in enumerate(rows)
    ]
    f1 = 0
    for row in rows:  # the order of additions shows in the last bits
        f1 += row["f1"]
    assert korquad.score({str(i): row["prediction"] for i, row in enumerate(rows)}, examples) == {
        "exact_match": 100.0 * sum(row["exact_match"] for row in rows) / 4000,
        "f1": 100.0 * f1 / 4000,
    }


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("《훈민정음》", "훈민정음"),
        ("〈가〉나<다>라(마)바‘사’아'자\"차", "가 나 다 라 마 바 사 아 자 차"),
        ("1,443년", "1443년"),
        ("a-b", "ab"),
        ("  KBS\t\n뉴스\u3000데스크\u00a0 ", "kbs 뉴스 데스크"),
        ("“큰따옴표”", "“큰따옴표”"),  # curly double quotes stay
        ("「낫표」『겹낫표』·…", "「낫표」『겹낫표』·…"),
        ("!#$%&*+,-./:;=?@[\\]^_`{|}~", ""),
        ("İ", "i\u0307"),
        ("ΟΔΟΣ", "οδος"),
        ("ΟΔΟΣ-ΟΔΟΣ", "οδοςοδος"),  # lower case comes before the hyphen goes: the first sigma is final
        ("Σ'α", "σ α"),  # but after the quote became a space
    ],
)
def test_normalize(text: str, normal: str) -> None:
    assert korquad.normalize(text) == normal


def steps(text: str) -> str:
    """The rule, one step after the other."""
    text = re.sub("['\"《》<>〈〉()‘’]", " ", text).lower()
    return " ".join("".join(c for c in text if c not in string.punctuation).split())


def by_counting(prediction: str, gold: str) -> float:
    left, right = (Counter(steps(text).replace(" ", "")) for text in (prediction, gold))
    same = (left & right).total()
    if same == 0:
        return 0
    precision, recall = 1.0 * same / left.total(), 1.0 * same / right.total()
    return (2 * precision * recall) / (precision + recall)


mixed = st.text(
    st.sampled_from("가나다 1443年《》<>()‘’'\"-,.ΣσΑİſKᾼ\u0307\u00ad\u3000\t") | st.characters(), max_size=12
)


@given(mixed, mixed)
def test_the_fast_way_equals_the_rule(prediction: str, gold: str) -> None:
    assert korquad.normalize(prediction) == steps(prediction)
    assert korquad.exact_match(prediction, gold) == (steps(prediction) == steps(gold))
    assert korquad.f1(prediction, gold) == by_counting(prediction, gold)
    assert korquad.f1(prediction, gold) == korquad.f1(gold, prediction)


def test_f1_counts_characters_not_words() -> None:
    assert korquad.f1("세종대왕이", "세종대왕") == pytest.approx(8 / 9)
    assert korquad.f1("대왕 세종", "세종대왕") == 1.0
    assert korquad.f1("가가", "가") == pytest.approx(2 / 3)


def test_two_empty_answers_match_but_share_nothing() -> None:
    assert korquad.exact_match("()", "") is True
    assert korquad.f1("()", "") == 0


def test_the_best_gold_counts_for_each_figure_alone() -> None:
    assert korquad.best("세종", ["세조", "세종"]) == (True, 1.0)
    assert korquad.best("", ["", "가"]) == (True, 0.0)


def test_no_golds_mean_no_answer() -> None:
    assert korquad.best("", []) == (True, 1.0)
    assert korquad.best("세종", []) == (False, 0.0)


def test_a_missing_id_scores_zero_and_is_named() -> None:
    examples = [Example("a", "?", "", (Gold("가", 0),)), Example("b", "?", "", (Gold("나", 0),))]
    missing: list[str] = []
    assert korquad.score({"a": "가"}, examples, on_missing=missing.append) == {
        "exact_match": 50.0,
        "f1": 50.0,
    }
    assert missing == ["b"]


def test_nothing_to_score() -> None:
    with pytest.raises(DataError, match="no question"):
        korquad.score({}, [])
