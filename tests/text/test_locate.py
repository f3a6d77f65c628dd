"""Finding the place of a text in its context."""

import pytest
from support.own_tokenizers import EVERYDAY

from komrc.data import load_squad
from komrc.text.locate import locate, occurrences
from komrc.types import Span

CONTEXT = (
    "서울은 조선의 수도였다. 부산에는 항구가 있고 인구는 3백만 명이다. "
    "서울은 오늘날 대한민국의 수도이며 인구는 9백만 명이다."
)


def test_occurrences_may_overlap():
    assert occurrences("가가가", "가가") == [Span(0, 2), Span(1, 3)]
    assert occurrences("가", "") == []


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
    assert locate(CONTEXT, question, "서울") == Span(starts[nth], starts[nth] + 2)


def test_white_space_may_differ():
    context = "그는 새\n정치  (국민) 회의를 만들었다."
    span = locate(context, "?", "새 정치 ( 국민 ) 회의를")
    assert context[span.start : span.end] == "새\n정치  (국민) 회의를"


@pytest.mark.parametrize("text", ["", "  ", "대구"])
def test_an_answer_that_stands_nowhere(text):
    assert locate(CONTEXT, "수도는?", text) is None


def test_golds_of_real_text_are_located():
    """Answers that occur several times: the question tells which one is meant, better than "the first"."""
    located = total = first = 0
    for part in ("train", "dev", "test"):
        for example in load_squad(EVERYDAY / f"{part}.json"):
            for gold in example.answers[:1]:
                if example.context.count(gold.text) > 1:
                    total += 1
                    first += example.context.index(gold.text) == gold.start
                    located += locate(example.context, example.question, gold.text).start == gold.start
    assert total > 600
    assert located / total > first / total + 0.25  # 0.76 and 0.43
