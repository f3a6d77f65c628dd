"""Each kind of right and wrong, on one small context."""

import pytest

from komrc.report.outcomes import Outcome, classify
from komrc.types import Example, Gold

CONTEXT = "조선의 수도 한양 도성은 정도전이 설계했다. 서울은 한양 도성의 오늘날 이름이다."
EXAMPLE = Example("a", "?", CONTEXT, (Gold("한양 도성", CONTEXT.index("한양 도성")),))


@pytest.mark.parametrize(
    ("prediction", "outcome"),
    [
        ("한양 도성", Outcome.RIGHT),
        ("‘한양  도성’", Outcome.RIGHT),
        ("한양 도성은", Outcome.SUFFIX),
        ("한양도성은", Outcome.SUFFIX),  # written otherwise than in the context
        ("한양", Outcome.MINUS),
        ("도성", Outcome.MINUS),
        ("수도 한양 도성", Outcome.OVERLAPPING),
        ("도성은 정도전", Outcome.OVERLAPPING),
        ("정도전", Outcome.ELSEWHERE),
        ("서울", Outcome.ELSEWHERE),
        ("부산", Outcome.ELSEWHERE),
        ("", Outcome.NO_ANSWER),
        (" ", Outcome.NO_ANSWER),
    ],
)
def test_kinds(prediction, outcome):
    assert classify(EXAMPLE, prediction) is outcome


def test_a_part_that_stands_only_elsewhere_is_elsewhere():
    context = "왕의 이름은 이도이다. 왕비는 심씨이다."
    example = Example("a", "?", context, (Gold("이도", context.index("이도")),))
    assert classify(example, "이름") is Outcome.ELSEWHERE
    assert classify(example, "이") is Outcome.MINUS


def test_without_an_answer():
    example = Example("a", "?", CONTEXT, is_impossible=True)
    assert classify(example, "") is Outcome.RIGHT
    assert classify(example, "한양") is Outcome.UNANSWERABLE
