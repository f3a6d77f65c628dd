"""All spans of windows' tokens with their logits, in NumPy: what decoding ranks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from komrc.engines import BOUNDARY_CLASSES, Logits
from komrc.types import Span
from komrc.windows import Windows

NEVER = np.float32(-np.inf)  # the logit of what can't be an answer


def shared_edges(windows: Windows) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which context tokens begin, and which end, at the same character as another one, like char_start."""
    (usable,) = np.nonzero(windows.char_start < windows.char_end)
    shared = []
    for edges in (windows.char_start[usable], windows.char_end[usable]):
        same = edges[1:] == edges[:-1]  # offsets never decrease: equal ones are neighbours
        mask = np.zeros(len(windows.char_start), np.bool_)
        mask[usable[1:][same]] = mask[usable[:-1][same]] = True
        shared.append(mask)
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
class Tokens:
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
    ) -> Tokens:
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
            start=np.where(usable, logits.start[at], NEVER),
            end=np.where(usable, logits.end[at], NEVER),
            front=None if logits.boundary is None else _log_softmax(logits.boundary.front[at]),
            back=None if logits.boundary is None else _log_softmax(logits.boundary.back[at]),
        )

    def spans(
        self, start: NDArray[np.float32], end: NDArray[np.float32], longest: int
    ) -> NDArray[np.float32]:
        """Sums of start and end of all spans, [B, P, longest]: the span of tokens i to i + k is at
        [i, k], with the best of the windows that hold it; -inf where there is none."""
        ahead = sliding_window_view(np.append(end, np.full(longest - 1, NEVER)), longest)
        band = np.full((len(self.window_of) * self.size, longest), NEVER)
        for place, rank in enumerate(self.ranks):
            cells = ahead[rank] + start[rank, None]
            cells[np.arange(longest) >= self.room[rank, None]] = NEVER
            rows = self.row[rank]
            band[rows] = np.maximum(band[rows], cells) if place else cells
        return band.reshape(-1, self.size, longest)


@dataclass(frozen=True, slots=True)
class Spans:
    """All spans of B examples, as ``Tokens.spans`` lays them out."""

    start: NDArray[np.float32]  # [M], of the tokens, with the best of their drops
    end: NDArray[np.float32]  # [M]
    band: NDArray[np.float32]  # [B, P, longest], no span's logit is above its value here
    log_total: NDArray[np.float64]  # [B], log of the sum over all spans, at the temperature

    @classmethod
    def over(
        cls,
        tokens: Tokens,
        windows: Windows,
        group: NDArray[np.intp],
        shared: tuple[NDArray[np.bool_], NDArray[np.bool_]],
        *,
        longest: int,
        temperature: float,
    ) -> Spans:
        start, end = tokens.start, tokens.end
        longest = max(1, min(longest, tokens.size))
        if tokens.front is not None and tokens.back is not None:
            size = tokens.char_end - tokens.char_start
            start = start + _best_drop(tokens.front, size)
            end = end + _best_drop(tokens.back, size)
        band = tokens.spans(start, end, longest)
        if tokens.front is None or tokens.back is None:
            every = band / np.float32(temperature)
        elif temperature == 1.0:
            every = tokens.spans(tokens.start, tokens.end, longest)  # a token's drops sum to 1
        else:
            every = tokens.spans(
                tokens.start / np.float32(temperature) + _log_sum(tokens.front / np.float32(temperature)),
                tokens.end / np.float32(temperature) + _log_sum(tokens.back / np.float32(temperature)),
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

    def best(self, tokens: Tokens, examples: NDArray[np.intp], n: int) -> BestSpans:
        """The n best of these examples; fewer columns where no example has so many cells."""
        band, longest = self.band[examples], self.band.shape[2]
        # The n best cells are in the n rows with the best maxima. Stable sorts make equal ones rank by place.
        rows = np.sort(np.argsort(-band.max(axis=2), axis=1, kind="stable")[:, :n], axis=1)
        cells = np.take_along_axis(band, rows[:, :, None], axis=1).reshape(len(examples), -1)
        top = np.argsort(-cells, axis=1, kind="stable")[:, :n]
        value = np.take_along_axis(cells, top, axis=1)
        token, more = np.take_along_axis(rows, top // longest, axis=1), top % longest
        first = self._place(tokens, examples, token, more)
        return BestSpans(first, first + np.where(value > NEVER, more, 0), value)

    def _place(
        self,
        tokens: Tokens,
        examples: NDArray[np.intp],
        token: NDArray[np.int64],
        more: NDArray[np.int64],
    ) -> NDArray[np.int64]:
        """Where the start tokens of these spans are, in the window that gives the span its best logit."""
        window_of = tokens.window_of[examples]
        last, most = _covering(tokens, window_of, token)
        best = np.full(token.shape, NEVER)
        place = np.zeros(token.shape, np.int64)
        for rank in (last - back for back in range(most - 1, -1, -1)):  # the earliest window first
            window = np.take_along_axis(window_of, np.maximum(rank, 0), axis=1)
            inside = (rank >= 0) & (window >= 0) & (token >= tokens.window_first[window])
            inside &= token + more < tokens.window_first[window] + tokens.window_length[window]
            at = np.where(inside, tokens.window_begin[window] + token - tokens.window_first[window], 0)
            value = np.where(inside, self.start[at] + self.end[np.where(inside, at + more, 0)], NEVER)
            place = np.where(value > best, at, place)
            best = np.maximum(best, value)
        return place

    def leave_out(
        self, b: int, span: Span, char_start: NDArray[np.int32], char_end: NDArray[np.int32]
    ) -> None:
        """Take the spans of an example that surely share a character with this one out of the band.

        Whatever is dropped, a span has the last character of its first token and the first one of its last.

        Args:
            char_start: of the tokens of the example's context.
            char_end: likewise.
        """
        band, longest = self.band[b], self.band.shape[2]
        last = int(np.searchsorted(char_end, span.end, side="right"))  # first tokens: below it
        first = int(np.searchsorted(char_start, span.start, side="left"))  # last tokens: from it on
        begin = max(0, first - longest + 1)
        steps = np.arange(longest)
        part = band[begin : max(begin, last)]
        part[(steps > 0) & (np.arange(begin, begin + len(part))[:, None] + steps >= first)] = NEVER
        band[first:last, 0] = NEVER


@dataclass(frozen=True, slots=True)
class BestSpans:
    """The n best spans of each of B examples."""

    first: NDArray[np.int64]  # [B, n], the start token's place among the Tokens
    last: NDArray[np.int64]  # [B, n]
    value: NDArray[np.float32]  # [B, n], as in the band, descending; -inf where there are fewer


def _covering(
    tokens: Tokens, window_of: NDArray[np.int64], token: NDArray[np.int64]
) -> tuple[NDArray[np.int64], int]:
    """For each token [B, n] the rank of the last window that begins at it or before; how many windows hold
    the same token at most. A long text has thousands of windows, but a token is in a few of them."""
    last, most = np.zeros(token.shape, np.int64), 1
    for b, windows in enumerate(window_of):
        own = windows[windows >= 0]
        first, end = tokens.window_first[own], tokens.window_first[own] + tokens.window_length[own]
        last[b] = np.searchsorted(first, token[b], side="right") - 1
        overlap = np.arange(1, len(own) + 1) - np.searchsorted(end, first, side="right")
        most = max(most, int(overlap.max(initial=1)))
    return last, most


def _best_drop(drop: NDArray[np.float32], size: NDArray[np.int32]) -> NDArray[np.float32]:
    """The best log-probability among drops that leave something of the token."""
    allowed = np.arange(BOUNDARY_CLASSES)[:, None] < np.maximum(size, 1)
    result: NDArray[np.float32] = np.where(allowed, drop, NEVER).max(axis=0)
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
    first, more = np.nonzero((start_shared[:, None] | ends_shared) & (cells[:size] > NEVER))
    value = cells[first, more]
    start, end = char_start[first], char_end[first + more]
    order = np.lexsort((-value, end, start))
    again = np.zeros(len(order), np.bool_)
    again[1:] = (np.diff(start[order]) == 0) & (np.diff(end[order]) == 0)
    lost = order[again]
    cells[first[lost], more[lost]] = NEVER


@dataclass(frozen=True, slots=True)
class Edges:
    """Characters and logits of the spans found, each [B, n]."""

    start: NDArray[np.int64]
    end: NDArray[np.int64]
    logit: NDArray[np.float32]
    start_logit: NDArray[np.float32]
    end_logit: NDArray[np.float32]


def choose_edges(tokens: Tokens, best_spans: BestSpans, cuts: Sequence[NDArray[np.bool_] | None]) -> Edges:
    start = tokens.char_start[best_spans.first].astype(np.int64)
    end = tokens.char_end[best_spans.last].astype(np.int64)
    logit = tokens.start[best_spans.first] + tokens.end[best_spans.last]
    if tokens.front is not None and tokens.back is not None:
        drops = np.arange(BOUNDARY_CLASSES).reshape(-1, 1, 1)
        front_at, back_at = start + drops, end - drops  # [classes, B, n]
        front_ok = front_at < tokens.char_end[best_spans.first]
        back_ok = back_at > tokens.char_start[best_spans.last]
        for b, cut in enumerate(cuts):
            if cut is not None:
                front_ok[:, b] &= cut[np.minimum(front_at[:, b], len(cut) - 1)]
                back_ok[:, b] &= cut[np.clip(back_at[:, b], 0, len(cut) - 1)]
        front, back = tokens.front[:, best_spans.first], tokens.back[:, best_spans.last]
        pair = np.where(front_ok, front, NEVER)[:, None] + np.where(back_ok, back, NEVER)[None]
        pair[front_at[:, None] >= back_at[None]] = NEVER
        # If a token is inside a grapheme, no pair may be left: then nothing is dropped.
        none = pair.max(axis=(0, 1)) == NEVER
        pair[0, 0][none] = (front[0] + back[0])[none]
        flat = pair.reshape(BOUNDARY_CLASSES**2, *start.shape)
        best = flat.argmax(axis=0)
        logit = logit + np.take_along_axis(flat, best[None], axis=0)[0]
        start, end = start + best // BOUNDARY_CLASSES, end - best % BOUNDARY_CLASSES
    for b, cut in enumerate(cuts):
        if cut is not None:  # a token's own edge may be inside a grapheme: use all of it
            (at,) = np.nonzero(cut)
            start[b] = at[np.searchsorted(at, start[b], side="right") - 1]
            # Rows short of spans are filled with other rows' tokens, which may be beyond this text.
            end[b] = at[np.searchsorted(at, np.minimum(end[b], at[-1]), side="left")]
    return Edges(
        start,
        end,
        np.where(best_spans.value > NEVER, logit, NEVER),
        tokens.start[best_spans.first],
        tokens.end[best_spans.last],
    )
