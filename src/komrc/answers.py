"""Candidates to answers: their texts, without particles, in whole words, apart from each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from komrc.config import DecodingConfig
from komrc.decoding import Candidate, decode
from komrc.engines import Logits
from komrc.text.invisible import VisibleText, visible
from komrc.types import Answer, Span
from komrc.windows import Windows

_MAX_CANDIDATES = 5_000  # ranked to get top_k answers; the last round may rank up to four times as many


@dataclass(frozen=True, slots=True)
class Shape:
    """How answers are made of candidates.

    Args:
        trim_particles: cut particles off.
        whole_words: widen to white space; the scores of candidates that then are the same are added.
        distinct: leave out an answer that shares a character with a better one.
        pool: candidates whose scores are added; later ones only follow.
    """

    trim_particles: bool = False
    whole_words: bool = False
    distinct: bool = False
    pool: int = DecodingConfig().n_best


def best_answers(
    windows: Windows,
    logits: Logits,
    contexts: Sequence[str],
    decoding: DecodingConfig,
    *,
    shape: Shape,
    top_k: int,
) -> tuple[list[list[Candidate]], list[tuple[Answer, ...]]]:
    """Ranked candidates and at most ``top_k`` answers of each context.

    Several candidates may become one answer. If fewer than ``top_k`` answers are left, more candidates are
    decoded, until a context has no more or 5,000 are ranked. The first answers don't depend on ``top_k``.
    """

    def decode_best(n_best: int, *, distinct: bool) -> list[list[Candidate]]:
        return decode(windows, logits, contexts, replace(decoding, n_best=n_best), distinct=distinct)

    n_best = max(top_k, 1 if shape.distinct else shape.pool)
    candidates = ranked = decode_best(n_best, distinct=shape.distinct)
    # The scores that whole words add up; distinct candidates leave most of these out.
    pools: list[list[Candidate]] = [[] for _ in contexts]
    if shape.whole_words and shape.distinct:
        pools = decode_best(shape.pool, distinct=False)

    def answers_of(numbers: Sequence[int]) -> dict[int, tuple[Answer, ...]]:
        rows = [[*pools[n], *(c for c in ranked[n] if c not in pools[n])] for n in numbers]
        if top_k == 1 and not shape.whole_words:
            rows = [row[:1] for row in rows]
        return dict(zip(numbers, make([contexts[n] for n in numbers], rows, shape), strict=True))

    answers = answers_of(range(len(contexts)))
    while n_best < _MAX_CANDIDATES and (
        short := [n for n, row in answers.items() if len(row) < top_k and len(ranked[n]) >= n_best]
    ):
        n_best *= 4
        ranked = decode_best(n_best, distinct=shape.distinct)
        answers.update(answers_of(short))
    return candidates, [row[:top_k] for row in answers.values()]


def make(
    contexts: Sequence[str], ranked: Sequence[Sequence[Candidate]], shape: Shape
) -> list[tuple[Answer, ...]]:
    """The answers of each context's candidates, best first, no two over the same characters.

    The first ones are the same however many candidates follow the pool.
    """
    if not (shape.trim_particles or shape.whole_words):
        answers = [
            [Answer(context[c.start : c.end], c.start, c.end, c.score) for c in candidates]
            for context, candidates in zip(contexts, ranked, strict=True)
        ]
        return [_each_once(row, distinct=shape.distinct) for row in answers]
    seen = [visible(context) for context in contexts]  # so that no edge is at an invisible character
    texts = [view.text for view in seen]
    answers = [_in_visible_text(view, row) for view, row in zip(seen, ranked, strict=True)]
    if shape.trim_particles:
        answers = _trimmed(texts, answers)
    if shape.whole_words:
        answers = [_in_words(text, row, shape.pool) for text, row in zip(texts, answers, strict=True)]
    return [
        tuple(_raw(context, view, answer) for answer in _each_once(row, distinct=shape.distinct))
        for context, view, row in zip(contexts, seen, answers, strict=True)
    ]


def whole_words(text: str, span: Span) -> Span:
    """The span, widened to white space on both sides."""
    start, end = span.start, span.end
    while start > 0 and not text[start - 1].isspace():
        start -= 1
    while end < len(text) and not text[end].isspace():
        end += 1
    return Span(start, end)


def _in_visible_text(seen: VisibleText, candidates: Sequence[Candidate]) -> list[Answer]:
    edges = seen.position([[c.start, c.end] for c in candidates]).tolist()
    return [
        Answer(seen.text[start:end], start, end, c.score)
        for c, (start, end) in zip(candidates, edges, strict=True)
    ]


def _raw(context: str, seen: VisibleText, answer: Answer) -> Answer:
    """An answer in the visible text as one in the raw text."""
    if seen.places is None or not answer.text:
        return answer
    span, whole = seen.raw(Span(answer.start, answer.end)), answer.untrimmed
    text = context[span.start : span.end]
    return Answer(text, span.start, span.end, answer.score, whole and seen.raw(whole))


def _trimmed(contexts: Sequence[str], answers: Sequence[list[Answer]]) -> list[list[Answer]]:
    from komrc.text.particles import trim_many

    items = [(c, a.start, a.end) for c, row in zip(contexts, answers, strict=True) for a in row if a.text]
    spans = iter(trim_many(items))

    def trimmed(context: str, answer: Answer) -> Answer:
        if not answer.text:
            return answer
        span = next(spans)
        if (span.start, span.end) == (answer.start, answer.end):
            return answer
        text = context[span.start : span.end]
        return Answer(text, span.start, span.end, answer.score, Span(answer.start, answer.end))

    return [
        [trimmed(context, answer) for answer in row] for context, row in zip(contexts, answers, strict=True)
    ]


def _in_words(context: str, answers: Sequence[Answer], pool: int) -> list[Answer]:
    """Answers of whole words: those of the pool by the sums of their scores, then the others."""
    scores: dict[Span, float] = {}
    for number, answer in enumerate(answers):
        span = whole_words(context, Span(answer.start, answer.end)) if answer.text else Span(0, 0)
        if number < pool:
            scores[span] = scores.get(span, 0.0) + answer.score
        else:
            scores.setdefault(span, answer.score)
    ranked = sorted(scores.items(), key=lambda item: -item[1])
    return [Answer(context[s.start : s.end], s.start, s.end, min(1.0, score)) for s, score in ranked]


def _each_once(answers: Sequence[Answer], *, distinct: bool) -> tuple[Answer, ...]:
    """The first of the answers with the same characters, or of those that share any."""
    found: dict[tuple[int, int], Answer] = {}
    for answer in answers:
        place = answer.start, answer.end
        if place in found or (distinct and any(place[0] < e and s < place[1] for s, e in found)):
            continue
        found[place] = answer
    return tuple(found.values())
