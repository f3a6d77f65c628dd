"""Conversions that several API dialects share: request inputs to pairs, answers to Hugging Face's form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from komrc.serving.answer_service import LocatedPair
from komrc.serving.schemas import Pair
from komrc.types import NO_ANSWER, Answer


def located_pairs(inputs: Pair | list[Pair]) -> tuple[list[LocatedPair], bool]:
    """The pairs of ``inputs``, and whether it is a single pair instead of a list."""

    def located(pair: Pair, place: str) -> LocatedPair:
        return LocatedPair(pair.question, pair.context, f"{place}.question", f"{place}.context")

    if isinstance(inputs, Pair):
        return [located(inputs, "inputs")], True
    return [located(pair, f"inputs[{n}]") for n, pair in enumerate(inputs)], False


def best_answer(answers: Sequence[Answer]) -> Answer:
    """The first answer; an empty one with score 0 if there is none."""
    return answers[0] if answers else NO_ANSWER


def to_hf(answer: Answer) -> dict[str, Any]:
    """An answer with Hugging Face's keys: score, start, end (exclusive), answer."""
    return {"score": answer.score, "start": answer.start, "end": answer.end, "answer": answer.text}
