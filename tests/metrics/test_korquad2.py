"""The metric of KorQuAD 2: the written definition, Beautiful Soup with lxml, and pairs checked by hand."""

from __future__ import annotations

import string
import warnings
from collections import Counter

import pytest
from bs4 import BeautifulSoup
from hypothesis import given, settings
from hypothesis import strategies as st

from komrc.errors import DataError
from komrc.metrics import korquad2
from komrc.types import Example, Gold

LIST = "<ul><li>북한강</li>\n<li>남한강</li></ul>"

PAIRS = [  # prediction, gold, EM, F1
    ("494km이다", "494km", False, 2 * (5 / 7) * 1 / (5 / 7 + 1)),
    ("494 km", "494km", True, 1.0),
    ("<li>북한강</li>", LIST, False, 2 * 1 * 0.5 / 1.5),
    ("북한강 남한강", LIST, True, 1.0),
    ("《삼총사》", "삼총사", True, 1.0),
    ("1,234명", "1234명", True, 1.0),
    ("()", "''", True, 0.0),
    ('<td colspan="2"><a>검룡소</a></td>', "<a>검룡소</a>", True, 1.0),
    ("A&amp;B", "ab", True, 1.0),
    ("한&nbsp;강", "한강", True, 1.0),
    ("&lt;b&gt;", "b", True, 1.0),
    ("강남", "남강", False, 1.0),
    ("가", "나", False, 0),
    ("", "가", False, 0),
]


def by_definition(html: str) -> str:
    """The steps of the official script one by one, with the parser that KoMRC pins."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        text = BeautifulSoup(html, "lxml").get_text()
    for character in "'\"《》<>〈〉()‘’":
        text = text.replace(character, " ")
    text = "".join(character for character in text.lower() if character not in string.punctuation)
    return "".join(" ".join(text.split()).split())


def f1_by_definition(prediction: str, gold: str) -> float:
    predicted, reference = by_definition(prediction), by_definition(gold)
    same = sum((Counter(predicted) & Counter(reference)).values())
    if same == 0:
        return 0
    precision, recall = 1.0 * same / len(predicted), 1.0 * same / len(reference)
    return (2 * precision * recall) / (precision + recall)


PIECES = [  # of fragments, broken ones too
    *("<td>", "</td>", "<li>", "<tr>", "<p", "<b>", "</b>", "<!--x-->", "<script>a</script>", "<?xml?>"),
    *("<![CDATA[a]]>", "&amp;", "&nbsp;", "&lt;", "&", "<", ">", "\r\n", "\x00", "\ufeff", "\u200b"),
    *("Σ", "İ", "《", "(", "한강", "강", ",", ".", "10", "km", " "),
]

fragments = st.lists(
    st.one_of(
        st.sampled_from(PIECES),
        st.characters(exclude_categories=["Cs"]),
    )
).map("".join)


@pytest.mark.parametrize(("prediction", "gold", "exact", "overlap"), PAIRS)
def test_golden_pairs(prediction: str, gold: str, exact: bool, overlap: float) -> None:
    assert korquad2.exact_match(prediction, gold) is exact
    assert korquad2.f1(prediction, gold) == pytest.approx(overlap, abs=1e-15)


@settings(max_examples=200, deadline=None)
@given(fragments, fragments)
def test_the_definition_step_by_step(prediction: str, gold: str) -> None:
    assert korquad2.normalize(prediction) == by_definition(prediction)
    assert korquad2.exact_match(prediction, gold) == (by_definition(prediction) == by_definition(gold))
    assert korquad2.f1(prediction, gold) == f1_by_definition(prediction, gold)  # to the last bit


@pytest.mark.parametrize(
    "fragment",
    [
        "<td>가</td>",
        "<li>가",
        "<dt>가<dd>나",
        "<tr><td>가",
        "</td>가",
        "<tr>가",
        "<td>가<td>나</tr>",
        "가</li><li>나",
    ],
)
def test_broken_fragments_keep_their_text(fragment: str) -> None:
    assert korquad2.normalize(fragment) == "".join(c for c in fragment if c in "가나")


def test_scripts_comments_and_styles_are_no_text() -> None:
    assert korquad2.normalize("<p>가<!-- 나 --><script>다</script><style>라</style></p>") == "가"


def test_a_missing_prediction_scores_zero_and_is_named() -> None:
    examples = [
        Example(str(i), "?", gold, (Gold(gold, 0),)) for i, gold in enumerate(["<b>한강</b>", "강", "산"])
    ]
    missing: list[str] = []
    scores = korquad2.score({"0": "한강", "1": "강물"}, examples, on_missing=missing.append)
    assert missing == ["2"]
    assert scores == {"exact_match": 100.0 * 1 / 3, "f1": 100.0 * (1.0 + f1_by_definition("강물", "강")) / 3}
    assert list(scores) == ["exact_match", "f1"]


def test_the_example_of_the_format() -> None:
    golds = [("1", "494km"), ("2", "<a>검룡소</a>"), ("3", LIST)]
    predictions = {"1": "494km", "2": '<td colspan="2"><a>검룡소</a></td>', "3": "<li>북한강</li>"}
    scores = korquad2.score_golds(predictions, golds)
    assert scores["exact_match"] == pytest.approx(66.667, abs=5e-4)
    assert scores["f1"] == pytest.approx(88.889, abs=5e-4)


def test_nothing_to_score_is_an_error() -> None:
    with pytest.raises(DataError, match="no question to score"):
        korquad2.score_golds({"1": "가"}, [])


def test_half_of_a_surrogate_pair_is_an_error() -> None:
    with pytest.raises(DataError, match="surrogate"):
        korquad2.normalize("<b>\ud800")
