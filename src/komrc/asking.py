"""Answers from an index: the best passages are read together, and every answer has its place in a document.

One probability over the spans of all passages and "none of them" (shared normalisation, Clark and Gardner
2018, "Simple and Effective Multi-Paragraph Reading Comprehension", section 3.2). With the logit ``l`` of a
span, the model's temperature ``T``, and the score ``b`` of its passage in the search as a share of the best
passage's score:

    P(span) = exp(l / T + PRIOR * b) / Z
    P(not in the documents) = exp(n - NEARBY * c + NO_ANSWER) / Z

``n`` is the mean of two numbers: the least of the passages' no-answer logits, divided by T, and their average
weighted by exp(PRIOR * b). ``c`` is the share of the question's search terms that are within REACH characters
of the best span, or in the title and headings of its passage: a span without the question's words around it
is rarely the answer. Z makes the sum 1. The constants are those of the embedded model, fitted on questions
that it was not trained with (docs/results/asking.md).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Protocol

from komrc.config import ReaderConfig
from komrc.errors import check_whole_number
from komrc.index.bigrams import bigrams
from komrc.long_texts import PRIOR
from komrc.reader_arguments import check_question
from komrc.text.sentences import sentence_around
from komrc.types import Answer, Example, Span

if TYPE_CHECKING:
    from komrc.decoding import Candidate
    from komrc.index.passages import Passage
    from komrc.index.store import Hit

PASSAGES = 10  # searched for a question
NEARBY = 4.0
REACH = 100  # characters
NO_ANSWER = 13.5
_READ_TOGETHER = (2, 4)  # passages that are read before it is decided whether the others are read
_CEILING = 8.5  # l / T of a span in another passage: 99 % are below 8.0
_MARGIN = 1.0  # of the best span over "not in the documents"
_ANSWERS_OF_PASSAGE = 20
# Of DocumentAnswer, in JSON; "passage" and "also" have a form of their own.
ANSWER_FIELDS = ("text", "document", "start", "end", "page", "line", "score", "sentence", "sentence_start")


class Searchable(Protocol):
    """What asking needs of an index."""

    def search(self, question: str, *, top_k: int) -> Sequence[Hit]:
        """The best passages, best first."""
        ...


@dataclass(frozen=True, slots=True)
class Place:
    """Characters ``[start, end)`` of a document's text; ``line`` and ``page`` count from 1."""

    document: str
    start: int
    end: int
    page: int | None
    line: int

    def to_dict(self) -> dict[str, Any]:
        """The fields by name."""
        return {name: getattr(self, name) for name in ("document", "start", "end", "page", "line")}


@dataclass(frozen=True, slots=True)
class DocumentAnswer:
    """An answer from the documents of an index: ``document_text[start:end] == text``.

    The empty answer, "not in your documents", has text "", no document, no passage, and start and end 0.

    Args:
        text: the answer, as it is written in the document.
        document: the document's id.
        start: first character in the document's extracted text, in code points.
        end: one past the last character.
        page: the page where the passage begins, from 1; None where the format has no pages.
        line: the line of the extracted text where the answer begins, from 1; 0 for the empty answer.
        passage: the passage that was read.
        score: the probability of this answer in [0, 1], added up over all places that were read.
        sentence: the sentence around the answer.
        sentence_start: where the sentence begins in the document's extracted text.
        also: the other places with the same answer, the most probable first.
    """

    text: str
    document: str | None
    start: int
    end: int
    page: int | None
    line: int
    passage: Passage | None
    score: float
    sentence: str = ""
    sentence_start: int = 0
    also: tuple[Place, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The answer as JSON values; the passage with its title, heading and place."""
        passage = self.passage
        return {name: getattr(self, name) for name in ANSWER_FIELDS} | {
            "passage": None
            if passage is None
            else {name: getattr(passage, name) for name in ("title", "heading", "start", "end")},
            "also": [place.to_dict() for place in self.also],
        }


class _Prediction(Protocol):
    @property
    def answers(self) -> Sequence[Answer]: ...

    @property
    def candidates(self) -> Sequence[Candidate]: ...


class PassageReader(Protocol):
    """What asking needs of a reader."""

    config: ReaderConfig

    def read_examples(
        self, examples: Sequence[Example], *, top_k: int, allow_no_answer: bool | None
    ) -> Sequence[_Prediction]: ...


class AskingIndex:
    """The method of a reader that answers from an index."""

    def ask(
        self: PassageReader,
        question: str,
        index: Searchable,
        *,
        top_k: int = 5,
        passages: int = PASSAGES,
        allow_no_answer: bool | None = None,
    ) -> list[DocumentAnswer]:
        """The best answers from the documents of an index, best first, each with its place.

        ``top_k`` answers at most. The same answer in several places is one, with the sum of their
        probabilities; no answer shares a character with a better one. The empty answer (text "", document
        None) is "not in the documents".

        ``passages`` is how many passages the search gives; the last ones are left unread if the first ones
        decide. ``allow_no_answer``: as for ``read``.

        Raises InputError for an empty question or one that is not text, UsageError for numbers below 1.
        """
        check_question(question)
        check_whole_number(passages, "passages")
        hits = index.search(question, top_k=passages)
        return answers_from(self, question, hits, top_k=top_k, allow_no_answer=allow_no_answer)


def answers_from(
    reader: PassageReader,
    question: str,
    hits: Sequence[Hit],
    *,
    top_k: int = 5,
    allow_no_answer: bool | None = None,
) -> list[DocumentAnswer]:
    """The answers in these passages, which a search found for the question, best first; see ``ask``.

    Two passages are read first, then two more, then the others: until no span of the others is likely to
    have a higher logit. Without passages the empty answer is the only one.
    """
    check_whole_number(top_k, "top_k")
    if allow_no_answer is None:
        allow_no_answer = reader.config.decoding.allow_no_answer
    if not hits:
        return [_empty_answer(1.0)]
    best_score = max(hit.score for hit in hits)
    priors = [PRIOR * hit.score / best_score if best_score > 0 else 0.0 for hit in hits]
    readings: list[Reading] = []
    no_answer = -math.inf
    for begin, end in pairwise((0, *_READ_TOGETHER, max(len(hits), _READ_TOGETHER[-1]))):
        readings += read_passages(reader, question, hits[begin:end], priors[begin:end])
        if allow_no_answer:
            no_answer = no_answer_logit(question, readings)
        best = max((reading.best for reading in readings), default=-math.inf)
        if end >= len(hits) or (best > max(priors[end:]) + _CEILING and best > no_answer + _MARGIN):
            break
    return _ranked(readings, no_answer)[:top_k]


@dataclass(frozen=True, slots=True)
class Reading:
    """What was read in one passage. All logits are divided by the temperature."""

    passage: Passage
    prior: float
    spans: tuple[tuple[Answer, float], ...]  # answers inside the passage, and their logits
    all_spans: float  # log of the sum of the exponentials of all spans' logits
    no_answer: float  # logit

    @property
    def best(self) -> float:
        """The highest logit of a span, with the prior; -inf without spans."""
        return max((logit for _, logit in self.spans), default=-math.inf) + self.prior


def read_passages(
    reader: PassageReader, question: str, hits: Sequence[Hit], priors: Sequence[float]
) -> list[Reading]:
    """Read the passages as one batch."""
    passages = [hit.passage for hit in hits]
    predictions = reader.read_examples(
        [Example(passage.document, question, passage.prefix + passage.text) for passage in passages],
        top_k=_ANSWERS_OF_PASSAGE,
        allow_no_answer=True,
    )
    temperature = reader.config.decoding.temperature
    return [
        _reading(passage, prior, prediction, temperature)
        for passage, prior, prediction in zip(passages, priors, predictions, strict=True)
    ]


def _reading(passage: Passage, prior: float, prediction: _Prediction, temperature: float) -> Reading:
    """Logits from the probabilities inside the passage: that of a candidate with a known logit gives the
    normaliser of all. Spans that begin in the prefix are left out: they have no place in the document."""
    best = max(prediction.candidates, key=lambda candidate: candidate.score)
    total = best.logit / temperature - math.log(best.score)
    empty = next(c for c in prediction.candidates if c.start == c.end)
    before = len(passage.prefix)
    spans = tuple(
        (replace(answer, start=answer.start - before, end=answer.end - before), total + _log(answer.score))
        for answer in prediction.answers
        if answer.text and answer.start >= before
    )
    # The second is exact where rounding makes the probability of "no answer" 1.
    all_spans = max(total + _log(1 - empty.score), _log_sum([logit for _, logit in spans]))
    return Reading(passage, prior, spans, all_spans, empty.logit / temperature)


def _log(value: float) -> float:
    return math.log(value) if value > 0 else -math.inf


def _log_sum(values: Sequence[float]) -> float:
    """Log of the sum of the exponentials."""
    peak = max(values, default=-math.inf)
    return peak if math.isinf(peak) else peak + math.log(sum(math.exp(value - peak) for value in values))


def no_answer_logit(question: str, readings: Sequence[Reading]) -> float:
    """The logit of "not in the documents"; see the formula above."""
    weights = [math.exp(reading.prior) for reading in readings]
    logits = [reading.no_answer for reading in readings]
    average = sum(weight * logit for weight, logit in zip(weights, logits, strict=True)) / sum(weights)
    return (average + min(logits)) / 2 - NEARBY * _nearby(question, readings) + NO_ANSWER


def _nearby(question: str, readings: Sequence[Reading]) -> float:
    """The share of the question's terms that are within REACH characters of the best span, 0 to 1."""
    reading = max(readings, key=lambda reading: reading.best)
    wanted = set(bigrams(question))
    if not reading.spans or not wanted:
        return 0.0
    answer, _ = reading.spans[0]
    around = reading.passage.text[max(0, answer.start - REACH) : answer.end + REACH]
    return len(wanted.intersection(bigrams(reading.passage.prefix + around))) / len(wanted)


def _ranked(readings: Sequence[Reading], no_answer: float) -> list[DocumentAnswer]:
    """All answers of the passages by their probabilities, the same answer once; and the empty answer, if its
    logit is not -inf."""
    from komrc.metrics.korquad import normalize  # it brings the readers of data files

    total = _log_sum([no_answer, *(reading.all_spans + reading.prior for reading in readings)])
    same: dict[str, list[DocumentAnswer]] = {}
    for reading in readings:
        for answer, logit in reading.spans:
            score = min(1.0, math.exp(logit + reading.prior - total))
            key = normalize(answer.text) or answer.text
            same.setdefault(key, []).append(_in_document(reading.passage, answer, score))
    answers = [_merged(places) for places in same.values()]
    if no_answer > -math.inf:
        answers.append(_empty_answer(min(1.0, math.exp(no_answer - total))))
    if not answers:  # all spans begin in the titles and headings in front of the passages
        answers.append(_empty_answer(1.0))
    return _apart(sorted(answers, key=lambda answer: -answer.score))


def _apart(answers: Sequence[DocumentAnswer]) -> list[DocumentAnswer]:
    """The answers without those whose characters are in part those of a better one: "3일 전" after "3일"."""
    kept: list[DocumentAnswer] = []
    places: dict[str, list[tuple[int, int]]] = {}
    for answer in answers:
        if answer.document is not None:
            taken = places.setdefault(answer.document, [])
            if any(answer.start < end and start < answer.end for start, end in taken):
                continue
            taken.append((answer.start, answer.end))
            for place in answer.also:
                places.setdefault(place.document, []).append((place.start, place.end))
        kept.append(answer)
    return kept


def _empty_answer(score: float) -> DocumentAnswer:
    return DocumentAnswer("", None, 0, 0, None, 0, None, score)


def _in_document(passage: Passage, answer: Answer, score: float) -> DocumentAnswer:
    sentence = sentence_around(passage.text, Span(answer.start, answer.end))
    return DocumentAnswer(
        answer.text,
        passage.document,
        passage.start + answer.start,
        passage.start + answer.end,
        passage.page,
        passage.line + passage.text.count("\n", 0, answer.start),
        passage,
        score,
        passage.text[sentence.start : sentence.end],
        passage.start + sentence.start,
    )


def _merged(answers: Sequence[DocumentAnswer]) -> DocumentAnswer:
    """The most probable of the same answers, with the sum of their probabilities and the other places.

    Passages overlap: the same characters of a document are one place.
    """
    best, *others = sorted(answers, key=lambda answer: -answer.score)
    places = dict.fromkeys(
        Place(other.document or "", other.start, other.end, other.page, other.line) for other in others
    )
    also = tuple(place for place in places if (place.document, place.start) != (best.document, best.start))
    return replace(best, score=min(1.0, sum(answer.score for answer in answers)), also=also)
