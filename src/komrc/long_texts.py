"""Long texts: which windows are worth reading for a question.

A text of 200,000 characters has some 800 windows, and an encoder needs tens of milliseconds for each. The
windows that share the rarest character bigrams with the question are read, the others are left out. The
score of a window is BM25 (Robertson and Zaragoza 2009, section 3.4) over the windows of its text.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from komrc.index.bigrams import bigrams
from komrc.types import Example
from komrc.windows import Windows

LONG = 20_000  # characters; of a longer text only some windows are read
READ_TOKENS = 4096  # of a long text, counted from the start of one window to the start of the next
_K1 = 1.2  # the usual constant of BM25; its other one, for lengths, has no use where all are equal


def promising_windows(windows: Windows, examples: Sequence[Example]) -> Windows:
    """The windows without those of long texts that share the least with their question.

    Of every text up to LONG characters all windows stay, of a longer one READ_TOKENS / (tokens between the
    starts of two windows): 32 with the usual lengths.
    """
    if all(len(example.context) <= LONG for example in examples):
        return windows
    counts = np.bincount(windows.example, minlength=len(examples))
    begins = np.cumsum(counts) - counts
    kept: list[NDArray[np.int64]] = []
    for example, begin, count in zip(examples, begins.tolist(), counts.tolist(), strict=True):
        own = np.arange(begin, begin + count)
        if len(example.context) > LONG and count > 1:
            step = int(windows.first_token[begin + 1] - windows.first_token[begin])
            best = np.argsort(-_scores(windows, own, example), kind="stable")
            own = own[np.sort(best[: max(1, READ_TOKENS // step)])]
        kept.append(own)
    return windows.subset(np.concatenate(kept))


def _scores(windows: Windows, own: NDArray[np.int64], example: Example) -> NDArray[np.float64]:
    """BM25 of the windows of one example, [len(own)]."""
    begin = windows.context_indptr[windows.context[windows.example[own[0]]]]
    first = begin + windows.first_token[own]
    starts = windows.char_start[first].astype(np.int64)
    ends = windows.char_end[first + windows.context_length[own] - 1].astype(np.int64)
    # The text is counted once, in the pieces between the starts of windows; a window is several pieces.
    rows = {gram: row for row, gram in enumerate(dict.fromkeys(bigrams(example.question)))}
    times = np.zeros((len(rows), len(own) + 1))
    edges = [*starts.tolist(), len(example.context)]
    for piece in range(len(own)):
        grams = bigrams(example.context[edges[piece] : edges[piece + 1]])
        for gram, count in Counter(gram for gram in grams if gram in rows).items():
            times[rows[gram], piece + 1] = count
    until = np.cumsum(times, axis=1)
    last = np.searchsorted(starts, ends, side="left")
    inside = until[:, last] - until[:, : len(own)]  # [bigrams, windows]
    holding = (inside > 0).sum(axis=1)
    idf = np.log(1 + (len(own) - holding + 0.5) / (holding + 0.5))
    scores: NDArray[np.float64] = idf @ (inside * (_K1 + 1) / (inside + _K1))
    return scores
