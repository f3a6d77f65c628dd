"""What became of a question: right, or which kind of wrong."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from komrc.metrics import korquad
from komrc.text.locate import occurrences
from komrc.types import Example, Gold, Span


class Outcome(StrEnum):
    """In the order in which a page shows them."""

    RIGHT = "right"
    SUFFIX = "right_plus_suffix"  # the reference and more behind it
    MINUS = "right_minus"  # a part of the reference
    OVERLAPPING = "overlapping"  # shares characters with the reference, at the same place
    ELSEWHERE = "elsewhere"
    NO_ANSWER = "no_answer"  # nothing, where there is an answer
    UNANSWERABLE = "answered_unanswerable"  # something, where there is no answer


def classify(example: Example, prediction: str) -> Outcome:
    """The outcome of a prediction that is known by its text; it is given the place nearest to a reference.

    Texts are compared as the KorQuAD metric does, and without white space.
    """
    if not example.answers or example.is_impossible:
        return Outcome.RIGHT if not prediction.strip() else Outcome.UNANSWERABLE
    if not prediction.strip():
        return Outcome.NO_ANSWER
    if korquad.best(prediction, [gold.text for gold in example.answers])[0]:
        return Outcome.RIGHT
    places = occurrences(example.context, prediction.strip())
    touching = [gold for gold in example.answers if not places or _touches(gold, places)]
    if not touching:
        return Outcome.ELSEWHERE
    return _touching(_letters(prediction), [_letters(gold.text) for gold in touching], bool(places))


def _touching(predicted: str, golds: Sequence[str], at_same_place: bool) -> Outcome:
    if any(gold and predicted.startswith(gold) for gold in golds):
        return Outcome.SUFFIX
    if predicted and any(predicted in gold for gold in golds):
        return Outcome.MINUS
    if at_same_place or any(gold and gold in predicted for gold in golds):
        return Outcome.OVERLAPPING
    return Outcome.ELSEWHERE


def _letters(text: str) -> str:
    return korquad.normalize(text).replace(" ", "")


def _touches(gold: Gold, places: Sequence[Span]) -> bool:
    return any(span.start < gold.end and gold.start < span.end for span in places)
