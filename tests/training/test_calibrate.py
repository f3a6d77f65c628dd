"""The no-answer threshold is the best one."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from komrc.decoding import Candidate
from komrc.reader import Prediction
from komrc.training.calibrate import tune_threshold
from komrc.types import Example, Gold

CONTEXT = "가나다라"


def case(number: int, margin: float, kind: str) -> tuple[Prediction, Example]:
    """A question whose empty answer's logit is ``margin`` above its span's."""
    golds = {"right": (Gold("나다", 1),), "wrong": (Gold("라", 3),), "none": ()}[kind]
    example = Example(str(number), "?", CONTEXT, golds, is_impossible=kind == "none")
    candidates = (Candidate(1, 3, 0.5, 1.0, 0.5, 0.5), Candidate(0, 0, 0.5, 1.0 + margin, 0.5, 0.5))
    return Prediction(str(number), (), candidates), example


def points(cases: list[tuple[float, str]], threshold: float) -> int:
    return sum(kind == "none" if margin > threshold else kind == "right" for margin, kind in cases)


MARGINS = st.integers(-20, 20).map(lambda n: n / 2)
CASES = st.lists(st.tuples(MARGINS, st.sampled_from(["right", "wrong", "none"])), min_size=1)


@given(CASES)
def test_no_other_threshold_answers_more_questions_right(cases: list[tuple[float, str]]) -> None:
    made = [case(number, margin, kind) for number, (margin, kind) in enumerate(cases)]
    threshold = tune_threshold([p for p, _ in made], [e for _, e in made])
    others = [n / 4 for n in range(-48, 49)]
    assert points(cases, threshold) == max(points(cases, other) for other in others)


def test_nothing_to_choose_by_gives_zero() -> None:
    assert tune_threshold([Prediction("1", (), ())], [Example("1", "?", CONTEXT)]) == 0.0
