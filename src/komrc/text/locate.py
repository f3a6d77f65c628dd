"""Where a text occurs in a context."""

from __future__ import annotations

import math
import re
from bisect import bisect_left

from komrc.types import Span

_STEM = re.compile(r"[^\W_]{2,}")
_REACH = 40.0  # characters over which a word of the question counts for its surroundings


def occurrences(context: str, text: str) -> list[Span]:
    """Every place where a text occurs in a context, overlapping ones included; none for an empty text."""
    places: list[Span] = []
    at = context.find(text) if text else -1
    while at >= 0:
        places.append(Span(at, at + len(text)))
        at = context.find(text, at + 1)
    return places


def occurrences_but_for_space(context: str, text: str) -> list[Span]:
    """Every place where a text occurs in a context; where it has none, those with other white space in it.

    Old pipelines joined words with one space or put spaces around punctuation.
    """
    if places := occurrences(context, text):
        return places
    positions = [i for i, character in enumerate(context) if not character.isspace()]
    letters = "".join(context[i] for i in positions)
    squeezed = occurrences(letters, "".join(text.split()))
    return [Span(positions[place.start], positions[place.end - 1] + 1) for place in squeezed]


def locate(context: str, question: str, text: str) -> Span | None:
    """The place of an answer of which only the text is known: of several occurrences the one nearest to the
    words of the question, the first of equals; None where it does not occur or is empty."""
    places = occurrences_but_for_space(context, text.strip())
    if len(places) < 2:
        return places[0] if places else None
    words = _question_words(context, question)

    def nearness(place: Span) -> float:
        total = 0.0
        for weight, at in words:
            index = bisect_left(at, place.start)
            distance = min(abs(place.start - p) for p in at[max(0, index - 1) : index + 1])
            total += weight * math.exp(-distance / _REACH)
        return total

    return max(places, key=nearness)  # max keeps the first of equals


def _question_words(context: str, question: str) -> list[tuple[float, list[int]]]:
    """For each word of the question that occurs in the context: its weight and its positions.

    The longest beginning of the word of two or more characters counts, because the particle behind it
    differs; rare words weigh more.
    """
    words = []
    for word in dict.fromkeys(_STEM.findall(question)):
        for length in range(len(word), 1, -1):
            at = [match.start() for match in re.finditer(re.escape(word[:length]), context)]
            if at:
                words.append((1.0 / len(at), at))
                break
    return words
