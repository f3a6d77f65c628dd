"""Logits to ranked answers, in NumPy.

The score of an answer follows the span model of BERT's SQuAD head (Devlin et al. 2019, section 4.2: a
span's logit is its start logit plus its end logit, over spans whose end is not before their start), with
one softmax over all spans of all windows, as shared normalisation demands (Clark and Gardner 2018,
"Simple and Effective Multi-Paragraph Reading Comprehension", section 3.2). A boundary head multiplies in
the probabilities of the characters to drop:

    P(i, j, a, b) = softmax_{i,j}(start_i + end_j) * softmax_a(front_i)[a] * softmax_b(back_j)[b]

With a temperature T every logit and log-probability is divided by T and the whole normalised again, which
leaves the ranking as it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from komrc.engines import BOUNDARY_CLASSES, Logits
from komrc.features import Windows
from komrc.graphemes import cut_points

_CELLS_AT_ONCE = 1_500_000  # spans in memory at a time, about 6 MB each array
_NEVER = np.float32(-np.inf)


@dataclass(frozen=True, slots=True)
class DecodeConfig:
    """How answers are picked.

    Args:
        n_best: candidates an example.
        max_answer_tokens: tokens of an answer at most.
        no_answer: whether the empty answer competes.
        null_threshold: the empty answer comes first where its logit exceeds the best span's by more.
        temperature: divides logits before probabilities are made of them; the ranking stays.
    """

    n_best: int = 20
    max_answer_tokens: int = 30
    no_answer: bool = False
    null_threshold: float = 0.0
    temperature: float = 1.0


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


def decode(
    windows: Windows, logits: Logits, contexts: Sequence[str], config: DecodeConfig
) -> list[list[Candidate]]:
    """The best candidates of each example, best first; fewer than n_best where there are fewer spans.

    Spans of the same characters, from overlapping windows or from tokens that share a character, count
    once, with their best logit. An answer is never empty (but for no_answer) and never cuts a grapheme
    cluster. Equal logits: the earlier start, then the shorter span, comes first.

    Args:
        logits: of all windows' tokens, T = windows.indptr[-1].
        contexts: of each example, [E].
    """
    first_window = np.searchsorted(windows.example, np.arange(len(contexts) + 1))
    shared = _shared_edges(windows)
    cuts: dict[int, NDArray[np.bool_] | None] = {}
    ranked: list[list[Candidate]] = [[] for _ in contexts]
    sizes = np.diff(windows.context_indptr)[windows.context]
    for group in _groups(sizes, config.max_answer_tokens):
        nulls = _null_logits(windows, logits, group, first_window) if config.no_answer else None
        if not sizes[group].any():
            if nulls is not None:
                for number, null in zip(group, nulls, strict=True):
                    _insert_null(ranked[number], null, float(null.sum()) / config.temperature, config)
            continue
        for number in group:
            context = int(windows.context[number])
            if context not in cuts:
                cuts[context] = cut_points(contexts[number])
        tokens = _Tokens.gather(windows, logits, group, first_window)
        found = _search(tokens, windows, group, shared, config)
        edges = _choose_edges(tokens, found, [cuts[int(windows.context[number])] for number in group])
        for number, candidates in zip(group, _rank(found, edges, nulls, config), strict=True):
            ranked[number] = candidates
    return ranked


def _groups(sizes: NDArray[np.int64], answer: int) -> Iterator[NDArray[np.intp]]:
    """Examples of like context length together, so that dense arrays have little padding."""
    order = np.argsort(-sizes, kind="stable")
    at = 0
    while at < len(order):
        count = max(1, _CELLS_AT_ONCE // max(1, int(sizes[order[at]]) * answer))
        yield order[at : at + count]
        at += count


def _shared_edges(windows: Windows) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which context tokens begin, and which end, at the same character as another one, like char_start."""
    (usable,) = np.nonzero(windows.char_start < windows.char_end)
    shared = []
    for edges in (windows.char_start[usable], windows.char_end[usable]):
        same = edges[1:] == edges[:-1]  # offsets never decrease: equal ones are neighbours
        found = np.zeros(len(windows.char_start), np.bool_)
        found[usable[1:][same]] = found[usable[:-1][same]] = True
        shared.append(found)
    return shared[0], shared[1]


def _ranges(starts: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """``start, start + 1, ...`` of each length, one after the other."""
    before = np.cumsum(lengths) - lengths
    result: NDArray[np.int64] = np.arange(int(lengths.sum())) + np.repeat(starts - before, lengths)
    return result


def _log_softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """[M, classes] -> [classes, M]: class by class is several times faster than token by token."""
    values = np.ascontiguousarray(logits.T)
    values -= values.max(axis=0)
    values -= np.log(np.exp(values).sum(axis=0))
    return values


@dataclass(frozen=True, slots=True)
class _Tokens:
    """The M context tokens of the windows of B examples, window after window; W windows, sorted by their
    rank among their example's windows, so that each rank is one slice."""

    size: int  # tokens of the longest context, P
    window_of: NDArray[np.int64]  # [B, most windows of an example], number below W; -1: has no such window
    window_first: NDArray[np.int64]  # [W], first token, counted inside its context
    window_length: NDArray[np.int64]  # [W]
    window_begin: NDArray[np.int64]  # [W], where its tokens begin here
    ranks: list[slice]  # tokens of each rank
    row: NDArray[np.int64]  # [M], example * P + token inside the context
    room: NDArray[np.int64]  # [M], tokens from here to the window's end
    char_start: NDArray[np.int32]  # [M]
    char_end: NDArray[np.int32]  # [M]
    start: NDArray[np.float32]  # [M], -inf at tokens without characters
    end: NDArray[np.float32]  # [M]
    front: NDArray[np.float32] | None  # [classes, M] log-probabilities
    back: NDArray[np.float32] | None

    @classmethod
    def gather(
        cls,
        windows: Windows,
        logits: Logits,
        group: NDArray[np.intp],
        first_window: NDArray[np.intp],
    ) -> _Tokens:
        counts = first_window[group + 1] - first_window[group]
        number = _ranges(first_window[group], counts)
        example = np.repeat(np.arange(len(group)), counts)
        rank = _ranges(np.zeros(len(group), np.int64), counts)
        order = np.argsort(rank, kind="stable")
        number, example, rank = number[order], example[order], rank[order]
        window_of = np.full((len(group), int(counts.max())), -1, np.int64)
        window_of[example, rank] = np.arange(len(number))

        length = windows.context_length[number].astype(np.int64)
        first = windows.first_token[number].astype(np.int64)
        context = windows.context[windows.example[number]]
        pool = _ranges(windows.context_indptr[context] + first, length)
        at = _ranges(windows.indptr[number] + windows.context_start[number], length)
        size = int((windows.context_indptr[context + 1] - windows.context_indptr[context]).max())
        begin = np.cumsum(length) - length
        last = np.searchsorted(rank, np.arange(window_of.shape[1]), side="right")
        ends = np.cumsum(length)[last - 1]
        char_start, char_end = windows.char_start[pool], windows.char_end[pool]
        usable = char_start < char_end
        return cls(
            size=size,
            window_of=window_of,
            window_first=first,
            window_length=length,
            window_begin=begin,
            ranks=[slice(int(a), int(b)) for a, b in zip([0, *ends[:-1]], ends, strict=True)],
            row=_ranges(example * size + first, length),
            room=np.repeat(begin + length, length) - np.arange(len(pool)),
            char_start=char_start,
            char_end=char_end,
            start=np.where(usable, logits.start[at], _NEVER),
            end=np.where(usable, logits.end[at], _NEVER),
            front=None if logits.boundary is None else _log_softmax(logits.boundary.front[at]),
            back=None if logits.boundary is None else _log_softmax(logits.boundary.back[at]),
        )

    def spans(
        self, start: NDArray[np.float32], end: NDArray[np.float32], longest: int
    ) -> NDArray[np.float32]:
        """Sums of start and end of all spans, [B, P, longest]: the span of tokens i to i + k stands at
        [i, k], with the best of the windows that hold it; -inf where there is none."""
        ahead = sliding_window_view(np.append(end, np.full(longest - 1, _NEVER)), longest)
        band = np.full((len(self.window_of) * self.size, longest), _NEVER)
        for place, rank in enumerate(self.ranks):
            cells = ahead[rank] + start[rank, None]
            cells[np.arange(longest) >= self.room[rank, None]] = _NEVER
            rows = self.row[rank]
            band[rows] = np.maximum(band[rows], cells) if place else cells
        return band.reshape(-1, self.size, longest)


@dataclass(frozen=True, slots=True)
class _Found:
    """The n best spans of each of B examples."""

    first: NDArray[np.int64]  # [B, n], the start token's place among the _Tokens
    last: NDArray[np.int64]  # [B, n]
    value: NDArray[np.float32]  # [B, n], -inf where there are fewer
    log_total: NDArray[np.float64]  # [B], log of the sum over all spans, at the temperature


def _search(
    tokens: _Tokens,
    windows: Windows,
    group: NDArray[np.intp],
    shared: tuple[NDArray[np.bool_], NDArray[np.bool_]],
    config: DecodeConfig,
) -> _Found:
    start, end = tokens.start, tokens.end
    temperature = np.float32(config.temperature)
    longest = max(1, min(config.max_answer_tokens, tokens.size))
    if tokens.front is not None and tokens.back is not None:
        size = tokens.char_end - tokens.char_start
        start = start + _best_drop(tokens.front, size)
        end = end + _best_drop(tokens.back, size)
    band = tokens.spans(start, end, longest)
    if tokens.front is None or tokens.back is None:
        every = band / temperature
    elif config.temperature == 1.0:
        every = tokens.spans(tokens.start, tokens.end, longest)  # a token's drops sum to 1
    else:
        every = tokens.spans(
            tokens.start / temperature + _log_sum(tokens.front / temperature),
            tokens.end / temperature + _log_sum(tokens.back / temperature),
            longest,
        )
    for b, context in enumerate(windows.context[group]):
        part = slice(int(windows.context_indptr[context]), int(windows.context_indptr[context + 1]))
        if shared[0][part].any() or shared[1][part].any():
            edges = (windows.char_start[part], windows.char_end[part], shared[0][part], shared[1][part])
            _keep_best_of_region(band[b], *edges)
            _keep_best_of_region(every[b], *edges)

    # The n best cells lie in the n rows with the best maxima. Stable sorts make equal logits rank by place.
    n = config.n_best
    rows = np.sort(np.argsort(-band.max(axis=2), axis=1, kind="stable")[:, :n], axis=1)
    cells = np.take_along_axis(band, rows[:, :, None], axis=1).reshape(len(group), -1)
    top = np.argsort(-cells, axis=1, kind="stable")[:, :n]
    value = np.take_along_axis(cells, top, axis=1)
    token, more = np.take_along_axis(rows, top // longest, axis=1), top % longest
    first = _place(tokens, start, end, token, more)

    peak = every.max(axis=(1, 2))
    peak = np.where(np.isfinite(peak), peak, np.float32(0))
    every -= peak[:, None, None]
    with np.errstate(divide="ignore"):
        log_total = peak + np.log(np.exp(every, out=every).sum(axis=(1, 2), dtype=np.float64))
    return _Found(first, first + np.where(value > _NEVER, more, 0), value, log_total)


def _best_drop(drop: NDArray[np.float32], size: NDArray[np.int32]) -> NDArray[np.float32]:
    """The best log-probability among drops that leave something of the token."""
    allowed = np.arange(BOUNDARY_CLASSES)[:, None] < np.maximum(size, 1)
    result: NDArray[np.float32] = np.where(allowed, drop, _NEVER).max(axis=0)
    return result


def _log_sum(values: NDArray[np.float32]) -> NDArray[np.float32]:
    peak = values.max(axis=0)
    result: NDArray[np.float32] = peak + np.log(np.exp(values - peak).sum(axis=0))
    return result


def _keep_best_of_region(
    cells: NDArray[np.float32],
    char_start: NDArray[np.int32],
    char_end: NDArray[np.int32],
    start_shared: NDArray[np.bool_],
    end_shared: NDArray[np.bool_],
) -> None:
    """Leave, of all spans over the same characters, the best one; in place. cells: [P, longest]"""
    size, longest = len(char_start), cells.shape[1]
    ends_shared = sliding_window_view(np.append(end_shared, np.zeros(longest - 1, np.bool_)), longest)
    first, more = np.nonzero((start_shared[:, None] | ends_shared) & (cells[:size] > _NEVER))
    value = cells[first, more]
    start, end = char_start[first], char_end[first + more]
    order = np.lexsort((-value, end, start))
    again = np.zeros(len(order), np.bool_)
    again[1:] = (np.diff(start[order]) == 0) & (np.diff(end[order]) == 0)
    lost = order[again]
    cells[first[lost], more[lost]] = _NEVER


def _place(
    tokens: _Tokens,
    start: NDArray[np.float32],
    end: NDArray[np.float32],
    token: NDArray[np.int64],
    more: NDArray[np.int64],
) -> NDArray[np.int64]:
    """Where the start tokens of these spans stand, in the window that gives the span its best logit."""
    best = np.full(token.shape, _NEVER)
    place = np.zeros(token.shape, np.int64)
    for window in tokens.window_of.T[:, :, None]:  # of one rank, [B, 1]
        inside = (window >= 0) & (token >= tokens.window_first[window])
        inside &= token + more < tokens.window_first[window] + tokens.window_length[window]
        at = np.where(inside, tokens.window_begin[window] + token - tokens.window_first[window], 0)
        value = np.where(inside, start[at] + end[np.where(inside, at + more, 0)], _NEVER)
        place = np.where(value > best, at, place)
        best = np.maximum(best, value)
    return place


@dataclass(frozen=True, slots=True)
class _Edges:
    """Characters and logits of the spans found, each [B, n]."""

    start: NDArray[np.int64]
    end: NDArray[np.int64]
    logit: NDArray[np.float32]
    start_logit: NDArray[np.float32]
    end_logit: NDArray[np.float32]


def _choose_edges(tokens: _Tokens, found: _Found, cuts: Sequence[NDArray[np.bool_] | None]) -> _Edges:
    start = tokens.char_start[found.first].astype(np.int64)
    end = tokens.char_end[found.last].astype(np.int64)
    logit = tokens.start[found.first] + tokens.end[found.last]
    if tokens.front is not None and tokens.back is not None:
        drops = np.arange(BOUNDARY_CLASSES).reshape(-1, 1, 1)
        front_at, back_at = start + drops, end - drops  # [classes, B, n]
        front_ok = front_at < tokens.char_end[found.first]
        back_ok = back_at > tokens.char_start[found.last]
        for b, cut in enumerate(cuts):
            if cut is not None:
                front_ok[:, b] &= cut[np.minimum(front_at[:, b], len(cut) - 1)]
                back_ok[:, b] &= cut[np.clip(back_at[:, b], 0, len(cut) - 1)]
        front, back = tokens.front[:, found.first], tokens.back[:, found.last]
        pair = np.where(front_ok, front, _NEVER)[:, None] + np.where(back_ok, back, _NEVER)[None]
        pair[front_at[:, None] >= back_at[None]] = _NEVER
        # Where a token lies inside a grapheme no pair may be left: then nothing is dropped.
        none = pair.max(axis=(0, 1)) == _NEVER
        pair[0, 0][none] = (front[0] + back[0])[none]
        flat = pair.reshape(BOUNDARY_CLASSES**2, *start.shape)
        best = flat.argmax(axis=0)
        logit = logit + np.take_along_axis(flat, best[None], axis=0)[0]
        start, end = start + best // BOUNDARY_CLASSES, end - best % BOUNDARY_CLASSES
    for b, cut in enumerate(cuts):
        if cut is not None:  # a token's own edge may lie inside a grapheme: take all of it
            (at,) = np.nonzero(cut)
            start[b] = at[np.searchsorted(at, start[b], side="right") - 1]
            # Rows short of spans are filled with other rows' tokens, which may lie beyond this text.
            end[b] = at[np.searchsorted(at, np.minimum(end[b], at[-1]), side="left")]
    return _Edges(
        start,
        end,
        np.where(found.value > _NEVER, logit, _NEVER),
        tokens.start[found.first],
        tokens.end[found.last],
    )


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
    found: _Found, edges: _Edges, nulls: NDArray[np.float32] | None, config: DecodeConfig
) -> Iterator[list[Candidate]]:
    order = np.argsort(-edges.logit, axis=1, kind="stable")
    columns = [
        np.take_along_axis(values, order, axis=1).tolist()
        for values in (edges.start, edges.end, edges.logit, edges.start_logit, edges.end_logit)
    ]
    total = found.log_total
    if nulls is not None:
        total = np.logaddexp(total, nulls.sum(axis=1, dtype=np.float64) / config.temperature)
    logit = np.take_along_axis(edges.logit, order, axis=1).astype(np.float64)
    with np.errstate(invalid="ignore"):
        scores = np.minimum(1.0, np.exp(logit / config.temperature - total[:, None])).tolist()
    for b in range(len(order)):
        seen: dict[tuple[int, int], Candidate] = {}
        for start, end, value, start_logit, end_logit, score in zip(
            *(column[b] for column in columns), scores[b], strict=True
        ):
            if value > float("-inf") and (start, end) not in seen:
                seen[start, end] = Candidate(start, end, score, value, start_logit, end_logit)
        candidates = list(seen.values())
        if nulls is not None:
            _insert_null(candidates, nulls[b], float(total[b]), config)
        yield candidates


def _insert_null(
    candidates: list[Candidate], null: NDArray[np.float32], total: float, config: DecodeConfig
) -> None:
    """Put the empty answer first where it exceeds the best span by the threshold, else where it ranks."""
    logit = float(null[0]) + float(null[1])
    score = min(1.0, float(np.exp(logit / config.temperature - total)))
    empty = Candidate(0, 0, score, logit, float(null[0]), float(null[1]))
    if not candidates or logit - candidates[0].logit > config.null_threshold:
        candidates.insert(0, empty)
    else:
        place = next((n for n, c in enumerate(candidates) if n and c.logit < logit), len(candidates))
        candidates.insert(place, empty)
    del candidates[config.n_best :]
