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

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from komrc.engines import BOUNDARY_CLASSES
from komrc.errors import UsageError, check_whole_number
from komrc.features import Windows, in_visible_text
from komrc.graphemes import cut_points
from komrc.invisible import VisibleText, visible
from komrc.marks import Marks
from komrc.types import Span

_CELLS_AT_ONCE = 1_500_000  # spans in memory at a time, about 6 MB each array
_NEVER = np.float32(-np.inf)
_STAND_INS = 20  # best spans among which one with whole pairs of marks is looked for
_WORSE = 3.0  # by how much its logit may be less: it is up to 20 times less probable


@dataclass(frozen=True, slots=True)
class DecodeConfig:
    """How answers are picked.

    Args:
        n_best: candidates an example.
        max_answer_tokens: tokens of an answer at most.
        no_answer: whether the empty answer competes.
        null_threshold: the empty answer comes first where its logit exceeds the best span's by more.
        temperature: divides logits before probabilities are made of them; the ranking stays.
        distinct: whether no candidate may share a character with a better one.

    Raises UsageError for values of other kinds or beyond their ranges.
    """

    n_best: int = 20
    max_answer_tokens: int = 30
    no_answer: bool = False
    null_threshold: float = 0.0
    temperature: float = 1.0
    distinct: bool = False

    def __post_init__(self) -> None:
        check_whole_number(self.n_best, "n_best")
        check_whole_number(self.max_answer_tokens, "max_answer_tokens")
        if not self.temperature > 0:
            raise UsageError(f"must be above 0, found {self.temperature}", where="temperature")


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


@dataclass(frozen=True, slots=True)
class FlatLogits:
    """Logits of all windows' tokens, one window after the other without padding: T = windows.indptr[-1].

    The drops are None without a boundary head.
    """

    start: NDArray[np.float32]  # [T]
    end: NDArray[np.float32]  # [T]
    drop_front: NDArray[np.float32] | None = None  # [T, BOUNDARY_CLASSES]
    drop_back: NDArray[np.float32] | None = None  # [T, BOUNDARY_CLASSES]


def decode(
    windows: Windows, logits: FlatLogits, contexts: Sequence[str], config: DecodeConfig
) -> list[list[Candidate]]:
    """The best candidates of each example, best first; fewer than n_best where there are fewer.

    Spans of the same characters, from overlapping windows or from tokens that share a character, count
    once, with their best logit. An answer is never empty (but for no_answer), never cuts a grapheme cluster
    and neither begins nor ends with an invisible character. For one that holds a bracket or quotation mark
    whose partner is outside, another one of the best there stands in, or the span is cut at that mark; it
    keeps its scores. Equal logits: the earlier start, then the shorter span, comes first.

    Args:
        contexts: of each example, [E].
    """
    texts = _Contexts(windows, contexts)
    windows = in_visible_text(windows, texts.seen)
    first_window = np.searchsorted(windows.example, np.arange(len(contexts) + 1))
    shared = _shared_edges(windows)
    ranked: list[list[Candidate]] = [[] for _ in contexts]
    sizes = np.diff(windows.context_indptr)[windows.context]
    for group in _groups(sizes, config.max_answer_tokens):
        nulls = _null_logits(windows, logits, group, first_window) if config.no_answer else None
        if not sizes[group].any():
            if nulls is not None:
                for number, null in zip(group, nulls, strict=True):
                    _insert_null(ranked[number], null, float(null.sum()) / config.temperature, config)
            continue
        tokens = _Tokens.gather(windows, logits, group, first_window)
        spans = _Spans.over(tokens, windows, group, shared, config)
        total = spans.log_total
        if nulls is not None:
            total = np.logaddexp(total, nulls.sum(axis=1, dtype=np.float64) / config.temperature)
        contexts_of = windows.context[group]
        texts_of = [texts.of(int(n), windows) for n in contexts_of]
        for b, candidates in _rank(tokens, spans, texts_of, total, config):
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
        logits: FlatLogits,
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
            front=None if logits.drop_front is None else _log_softmax(logits.drop_front[at]),
            back=None if logits.drop_back is None else _log_softmax(logits.drop_back[at]),
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
class _Spans:
    """All spans of B examples, as ``_Tokens.spans`` lays them out."""

    start: NDArray[np.float32]  # [M], of the tokens, with the best of their drops
    end: NDArray[np.float32]  # [M]
    band: NDArray[np.float32]  # [B, P, longest], no span's logit is above its value here
    log_total: NDArray[np.float64]  # [B], log of the sum over all spans, at the temperature

    @classmethod
    def over(
        cls,
        tokens: _Tokens,
        windows: Windows,
        group: NDArray[np.intp],
        shared: tuple[NDArray[np.bool_], NDArray[np.bool_]],
        config: DecodeConfig,
    ) -> _Spans:
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
        peak = every.max(axis=(1, 2))
        peak = np.where(np.isfinite(peak), peak, np.float32(0))
        every -= peak[:, None, None]
        with np.errstate(divide="ignore"):
            log_total = peak + np.log(np.exp(every, out=every).sum(axis=(1, 2), dtype=np.float64))
        return cls(start, end, band, log_total)

    def best(self, tokens: _Tokens, examples: NDArray[np.intp], n: int) -> _Found:
        """The n best of these examples; fewer columns where no example has so many cells."""
        band, longest = self.band[examples], self.band.shape[2]
        # The n best cells are in the n rows with the best maxima. Stable sorts make equal ones rank by place.
        rows = np.sort(np.argsort(-band.max(axis=2), axis=1, kind="stable")[:, :n], axis=1)
        cells = np.take_along_axis(band, rows[:, :, None], axis=1).reshape(len(examples), -1)
        top = np.argsort(-cells, axis=1, kind="stable")[:, :n]
        value = np.take_along_axis(cells, top, axis=1)
        token, more = np.take_along_axis(rows, top // longest, axis=1), top % longest
        first = self._place(tokens, examples, token, more)
        return _Found(first, first + np.where(value > _NEVER, more, 0), value)

    def _place(
        self,
        tokens: _Tokens,
        examples: NDArray[np.intp],
        token: NDArray[np.int64],
        more: NDArray[np.int64],
    ) -> NDArray[np.int64]:
        """Where the start tokens of these spans are, in the window that gives the span its best logit."""
        best = np.full(token.shape, _NEVER)
        place = np.zeros(token.shape, np.int64)
        for window in tokens.window_of[examples].T[:, :, None]:  # of one rank, [B, 1]
            inside = (window >= 0) & (token >= tokens.window_first[window])
            inside &= token + more < tokens.window_first[window] + tokens.window_length[window]
            at = np.where(inside, tokens.window_begin[window] + token - tokens.window_first[window], 0)
            value = np.where(inside, self.start[at] + self.end[np.where(inside, at + more, 0)], _NEVER)
            place = np.where(value > best, at, place)
            best = np.maximum(best, value)
        return place

    def leave_out(self, b: int, span: Candidate, context: _Context) -> None:
        """Take the spans of an example that surely share a character with this one out of the band.

        Whatever is dropped, a span holds the last character of its first token and the first one of its last.
        """
        band, longest = self.band[b], self.band.shape[2]
        last = int(np.searchsorted(context.char_end, span.end, side="right"))  # first tokens: below it
        first = int(np.searchsorted(context.char_start, span.start, side="left"))  # last tokens: from it on
        rows = np.arange(max(0, first - longest + 1), last)
        part = band[rows[0] : last] if len(rows) else band[:0]
        steps = np.arange(longest)
        part[(steps > 0) & (rows[:, None] + steps >= first)] = _NEVER
        band[first:last, 0] = _NEVER


@dataclass(frozen=True, slots=True)
class _Found:
    """The n best spans of each of B examples."""

    first: NDArray[np.int64]  # [B, n], the start token's place among the _Tokens
    last: NDArray[np.int64]  # [B, n]
    value: NDArray[np.float32]  # [B, n], as in the band, descending; -inf where there are fewer


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
    windows: Windows, logits: FlatLogits, group: NDArray[np.intp], first_window: NDArray[np.intp]
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
    tokens: _Tokens,
    spans: _Spans,
    contexts: Sequence[_Context],
    total: NDArray[np.float64],
    config: DecodeConfig,
) -> Iterator[tuple[int, list[Candidate]]]:
    """The candidates of each example by its number, in any order."""
    examples = np.arange(len(contexts))
    stand_ins: dict[int, list[Candidate]] = {}
    kept: dict[int, list[Candidate]] = {}  # the distinct ones so far
    n = 2 * max(config.n_best, _STAND_INS)
    while len(examples):
        found = spans.best(tokens, examples, n)
        edges = _choose_edges(tokens, found, [contexts[b].cuts for b in examples])
        # A span that was not found has no logit above the least value found: those above it are in order.
        least = found.value[:, -1] if n < spans.band[0].size else np.full(len(examples), _NEVER)
        short = []
        for row, b in enumerate(examples.tolist()):
            ranked = _settled(edges, row, least[row], total[b], config)
            done = least[row] == _NEVER
            if b not in stand_ins and (done or len(ranked) >= _STAND_INS):
                halves = contexts[b].marks.halves
                stand_ins[b] = [c for c in ranked[:_STAND_INS] if not halves(c.start, c.end)]
            if b in stand_ins:
                ranked = _whole(ranked, stand_ins[b], contexts[b])
                if config.distinct:
                    before = kept.get(b, [])
                    ranked = kept[b] = _apart(before, ranked)
                    for candidate in ranked[len(before) :]:
                        spans.leave_out(b, candidate, contexts[b])
                done = done or len(ranked) >= config.n_best
            if done:
                yield b, [_raw(candidate, contexts[b].seen) for candidate in ranked[: config.n_best]]
            else:
                short.append(b)
        examples, n = np.array(short, np.intp), 4 * n


def _settled(
    edges: _Edges, row: int, least: np.float32, total: np.float64, config: DecodeConfig
) -> list[Candidate]:
    """The candidates of a row whose logit is not below ``least``, best first, each place once."""
    logit = edges.logit[row]
    order = np.argsort(-logit, kind="stable")
    order = order[(logit[order] >= least) & (logit[order] > _NEVER)]
    score = np.minimum(1.0, np.exp(logit[order].astype(np.float64) / config.temperature - total))
    columns = (edges.start, edges.end, edges.start_logit, edges.end_logit)
    start, end, start_logit, end_logit = (values[row, order].tolist() for values in columns)
    seen: dict[tuple[int, int], Candidate] = {}
    for fields in zip(start, end, score.tolist(), logit[order].tolist(), start_logit, end_logit, strict=True):
        seen.setdefault(fields[:2], Candidate(*fields))
    return list(seen.values())


def _whole(ranked: Sequence[Candidate], stand_ins: Sequence[Candidate], context: _Context) -> list[Candidate]:
    """The candidates without those that hold half a pair of marks: others stand in for them."""
    result: dict[tuple[int, int], Candidate] = {}
    for candidate in ranked:
        found = candidate
        if half := context.marks.halves(candidate.start, candidate.end):
            # Behind a mark that closes what the answer began in, something else begins.
            closing = (i for i in half if context.marks.partner(i) < i and i > candidate.start)
            end = next(closing, candidate.end)
            there = (c for c in stand_ins if c.start < end and c.end > candidate.start)
            span = next(
                (Span(c.start, c.end) for c in there if c.logit >= candidate.logit - _WORSE), None
            ) or _cut_at_marks(candidate, context)
            found = replace(candidate, start=span.start, end=span.end)
        result.setdefault((found.start, found.end), found)
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
