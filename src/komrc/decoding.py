"""Logits to ranked answers, in NumPy.

The score of an answer follows the span model of BERT's SQuAD head (Devlin et al. 2019, section 4.2: a
span's logit is its start logit plus its end logit, over spans whose end is not before their start), with
one softmax over all spans of all windows, as shared normalisation demands (Clark and Gardner 2018,
"Simple and Effective Multi-Paragraph Reading Comprehension", section 3.2). A boundary head multiplies in
the probabilities of the characters to drop:

    P(i, j, a, b) = softmax_{i,j}(start_i + end_j) * softmax_a(front_i)[a] * softmax_b(back_j)[b]

With a temperature T every logit and log-probability is divided by T and the whole normalised again, which
leaves the ranking as it is.

Characters are counted in the text without its invisible characters while answers are picked, and in the raw
text in what is returned. The first n candidates are the same whatever n_best is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from komrc.config import DecodingConfig
from komrc.engines import Logits
from komrc.spans import NEVER, Edges, Spans, Tokens, choose_edges, shared_edges
from komrc.text.graphemes import cut_points
from komrc.text.invisible import VisibleText, visible
from komrc.text.marks import Marks
from komrc.types import Span
from komrc.windows import Windows, in_visible_text

_CELLS_AT_ONCE = 1_500_000  # spans in memory at a time, about 6 MB each array
_MOST_SPANS = 100_000  # looked at for an example: in a text of one grapheme cluster all are one answer
_STAND_INS = 20  # best spans among which one with whole pairs of marks is looked for
_WORSE = 3.0  # by how much its logit may be less: it is up to 20 times less probable


@dataclass(frozen=True, slots=True)
class Candidate:
    """Characters ``[start, end)`` of the context; both 0 for the empty answer.

    ``score`` is a probability. ``logit`` is the sum of both logits and, with a boundary head, of its two
    log-probabilities.
    """

    start: int
    end: int
    score: float
    logit: float
    start_logit: float
    end_logit: float

    def to_dict(self, context: str) -> dict[str, Any]:
        """An entry of an n-best file: the names of 2020, and where the text is in the context."""
        return {
            "text": context[self.start : self.end],
            "probability": self.score,
            "start_logit": self.start_logit,
            "end_logit": self.end_logit,
            "start": self.start,
            "end": self.end,
        }


def decode(
    windows: Windows,
    logits: Logits,
    contexts: Sequence[str],
    config: DecodingConfig,
    *,
    distinct: bool = False,
) -> list[list[Candidate]]:
    """The best candidates of each example, best first; fewer than n_best where there are fewer.

    Spans of the same characters, from overlapping windows or from tokens that share a character, count
    once, with their best logit. An answer is never empty (but for allow_no_answer), never cuts a grapheme
    cluster and neither begins nor ends with an invisible character. One that contains a bracket or quotation
    mark without its partner is replaced by another of the best ones at that place, or cut at that mark; it
    keeps its scores. Equal logits: the earlier start, then the shorter span, comes first.

    Args:
        logits: of all windows' tokens, T = windows.indptr[-1].
        contexts: of each example, [E].
        distinct: whether no candidate may share a character with a better one.
    """
    texts = _Contexts(windows, contexts)
    windows = in_visible_text(windows, texts.seen)
    first_window = np.searchsorted(windows.example, np.arange(len(contexts) + 1))
    shared = shared_edges(windows)
    ranked: list[list[Candidate]] = [[] for _ in contexts]
    sizes = np.diff(windows.context_indptr)[windows.context]
    for group in _groups(sizes, config.max_answer_tokens):
        nulls = _null_logits(windows, logits, group, first_window) if config.allow_no_answer else None
        if not sizes[group].any():
            if nulls is not None:
                for number, null in zip(group, nulls, strict=True):
                    _insert_null(ranked[number], null, float(null.sum()) / config.temperature, config)
            continue
        tokens = Tokens.gather(windows, logits, group, first_window)
        spans = Spans.over(
            tokens, windows, group, shared, longest=config.max_answer_tokens, temperature=config.temperature
        )
        total = spans.log_total
        if nulls is not None:
            total = np.logaddexp(total, nulls.sum(axis=1, dtype=np.float64) / config.temperature)
        contexts_of = windows.context[group]
        texts_of = [texts.of(int(n), windows) for n in contexts_of]
        for b, candidates in _rank(tokens, spans, texts_of, total, config, distinct=distinct):
            if nulls is not None:
                _insert_null(candidates, nulls[b], float(total[b]), config)
            ranked[group[b]] = candidates
    return ranked


@dataclass(slots=True)
class _Context:
    """A context as candidates are picked in it."""

    seen: VisibleText
    cuts: NDArray[np.bool_] | None
    marks: Marks
    char_start: NDArray[np.int32]  # of its tokens
    char_end: NDArray[np.int32]


class _Contexts:
    """The distinct contexts of the windows, by their numbers."""

    def __init__(self, windows: Windows, contexts: Sequence[str]) -> None:
        self.seen: dict[int, VisibleText] = {}
        self._known: dict[int, _Context] = {}
        for number, context in zip(windows.context.tolist(), contexts, strict=True):
            if number not in self.seen:
                self.seen[number] = visible(context)

    def of(self, number: int, windows: Windows) -> _Context:
        if number not in self._known:
            seen = self.seen[number]
            part = slice(int(windows.context_indptr[number]), int(windows.context_indptr[number + 1]))
            self._known[number] = _Context(
                seen,
                cut_points(seen.text),
                Marks(seen.text),
                windows.char_start[part],
                windows.char_end[part],
            )
        return self._known[number]


def _groups(sizes: NDArray[np.int64], answer: int) -> Iterator[NDArray[np.intp]]:
    """Examples of like context length together, so that dense arrays have little padding."""
    order = np.argsort(-sizes, kind="stable")
    at = 0
    while at < len(order):
        count = max(1, _CELLS_AT_ONCE // max(1, int(sizes[order[at]]) * answer))
        yield order[at : at + count]
        at += count


def _null_logits(
    windows: Windows, logits: Logits, group: NDArray[np.intp], first_window: NDArray[np.intp]
) -> NDArray[np.float32]:
    """Start and end logit of the first token of each window, the least over an example's windows. [B, 2]"""
    at = windows.indptr[:-1]
    result = np.empty((len(group), 2), np.float32)
    for b, number in enumerate(group):
        of = at[first_window[number] : first_window[number + 1]]
        least = of[np.argmin(logits.start[of] + logits.end[of])]
        result[b] = logits.start[least], logits.end[least]
    return result


def _rank(
    tokens: Tokens,
    spans: Spans,
    contexts: Sequence[_Context],
    total: NDArray[np.float64],
    config: DecodingConfig,
    *,
    distinct: bool,
) -> Iterator[tuple[int, list[Candidate]]]:
    """The candidates of each example by its number, in any order."""
    examples = np.arange(len(contexts))
    stand_ins: dict[int, list[Candidate]] = {}
    kept: dict[int, list[Candidate]] = {}  # the distinct ones so far
    n = 2 * max(config.n_best, _STAND_INS)
    while len(examples):
        best_spans = spans.best(tokens, examples, n)
        edges = choose_edges(tokens, best_spans, [contexts[b].cuts for b in examples.tolist()])
        # A span that was not found has no logit above the least value found: those above it are in order.
        least = best_spans.value[:, -1] if n < spans.band[0].size else np.full(len(examples), NEVER)
        short, stuck = [], False
        for row, b in enumerate(examples.tolist()):
            before = kept.get(b, [])
            ranked = _settled(edges, row, least[row], total[b], config)
            done = least[row] == NEVER or n >= _MOST_SPANS
            if b not in stand_ins and (done or len(ranked) >= _STAND_INS):
                halves = contexts[b].marks.halves
                stand_ins[b] = [c for c in ranked[:_STAND_INS] if not halves(c.start, c.end)]
            if b in stand_ins:
                ranked = _whole(ranked, stand_ins[b], contexts[b])
                if distinct:
                    ranked = kept[b] = _apart(before, ranked)
                    for candidate in ranked[len(before) :]:
                        place = Span(candidate.start, candidate.end)
                        spans.leave_out(b, place, contexts[b].char_start, contexts[b].char_end)
                done = done or len(ranked) >= config.n_best
            if done:
                yield b, [_raw(candidate, contexts[b].seen) for candidate in ranked[: config.n_best]]
            else:
                short.append(b)
                stuck = stuck or len(kept.get(b, [])) == len(before)
        examples, n = np.array(short, np.intp), 4 * n if stuck else n


def _settled(
    edges: Edges, row: int, least: np.float32, total: np.float64, config: DecodingConfig
) -> list[Candidate]:
    """The candidates of a row whose logit is not below ``least``, best first, each place once."""
    logit = edges.logit[row]
    order = np.argsort(-logit, kind="stable")
    order = order[(logit[order] >= least) & (logit[order] > NEVER)]
    score = np.minimum(1.0, np.exp(logit[order].astype(np.float64) / config.temperature - total))
    columns = (edges.start, edges.end, edges.start_logit, edges.end_logit)
    start, end, start_logit, end_logit = (values[row, order].tolist() for values in columns)
    seen: dict[tuple[int, int], Candidate] = {}
    for fields in zip(start, end, score.tolist(), logit[order].tolist(), start_logit, end_logit, strict=True):
        seen.setdefault(fields[:2], Candidate(*fields))
    return list(seen.values())


def _whole(ranked: Sequence[Candidate], stand_ins: Sequence[Candidate], context: _Context) -> list[Candidate]:
    """The candidates without those that contain half a pair of marks: others replace them."""
    result: dict[tuple[int, int], Candidate] = {}
    for candidate in ranked:
        replacement = candidate
        if half := context.marks.halves(candidate.start, candidate.end):
            # Behind a mark that closes what the answer began in, something else begins.
            closing = (i for i in half if context.marks.partner(i) < i and i > candidate.start)
            end = next(closing, candidate.end)
            overlapping = (c for c in stand_ins if c.start < end and c.end > candidate.start)
            span = next(
                (Span(c.start, c.end) for c in overlapping if c.logit >= candidate.logit - _WORSE), None
            ) or _cut_at_marks(candidate, context)
            replacement = replace(candidate, start=span.start, end=span.end)
        result.setdefault((replacement.start, replacement.end), replacement)
    return list(result.values())


def _cut_at_marks(candidate: Candidate, context: _Context) -> Span:
    """The span without half pairs: a half at its edge is dropped, a partner right behind it taken in, else
    the answer ends before the first half. Where nothing would be left, the span as it is."""
    text, marks = context.seen.text, context.marks
    start, end = candidate.start, candidate.end
    while start < end and (half := marks.halves(start, end)):
        if half[0] == start or text[start].isspace():
            start += 1
        elif half[-1] == end - 1:
            end -= 1
        elif end in map(marks.partner, half):
            end += 1
        else:
            end = half[0]
    start += len(text[start:end]) - len(text[start:end].lstrip())
    end = start + len(text[start:end].rstrip())
    whole = context.cuts is None or (context.cuts[start] and context.cuts[end])
    return Span(start, end) if start < end and whole else Span(candidate.start, candidate.end)


def _apart(before: Sequence[Candidate], ranked: Sequence[Candidate]) -> list[Candidate]:
    """Those before, and the candidates that share no character with a better one."""
    kept = list(before)
    for candidate in ranked:
        if all(candidate.end <= other.start or candidate.start >= other.end for other in kept):
            kept.append(candidate)
    return kept


def _raw(candidate: Candidate, seen: VisibleText) -> Candidate:
    if seen.places is None:
        return candidate
    span = seen.raw(Span(candidate.start, candidate.end))
    return replace(candidate, start=span.start, end=span.end)


def _insert_null(
    candidates: list[Candidate], null: NDArray[np.float32], total: float, config: DecodingConfig
) -> None:
    """Put the empty answer first where it exceeds the best span by the threshold, else where it ranks.

    It comes beside the n_best spans, so that its probability is always among the candidates.
    """
    logit = float(null[0]) + float(null[1])
    score = min(1.0, float(np.exp(logit / config.temperature - total)))
    empty = Candidate(0, 0, score, logit, float(null[0]), float(null[1]))
    if not candidates or logit - candidates[0].logit > config.null_threshold:
        candidates.insert(0, empty)
    else:
        place = next((n for n, c in enumerate(candidates) if n and c.logit < logit), len(candidates))
        candidates.insert(place, empty)
