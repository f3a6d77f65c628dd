"""Long texts: which windows are read for a question, and how much the search counts.

A text of 200,000 characters has some 800 windows, and an encoder needs tens of milliseconds for each. The
windows that share the rarest terms with the question are read, the others are left out. The score of a window
is BM25 (Robertson and Zaragoza 2009, section 3.4) over the windows of its text.

Among hundreds of windows some span without any relation to the question often has a higher logit than the
right one. So the score counts as it does for the passages of an index (``komrc.asking``): with a window's
score as a share ``b`` of the best one's, its spans have the logit ``l + PRIOR * T * (b - 1)`` at the
temperature ``T``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from komrc.engines import Logits
from komrc.index.bigrams import bigrams
from komrc.types import Example
from komrc.windows import Windows

LONG = 10_000  # characters; of a longer text only some windows are read
READ_TOKENS = 4096  # of a longer text, counted from the start of a window to the start of the next
PRIOR = 6.0  # fitted on questions over passages: docs/results/asking.md
_K1 = 1.2  # the usual constant of BM25; its other one, for lengths, has no use where all are equal


def promising_windows(
    windows: Windows, examples: Sequence[Example], *, exhaustive: bool = False
) -> tuple[Windows, NDArray[np.float32] | None]:
    """The windows without those of long texts that share the least with their question, and the shares.

    Of every text up to LONG characters all windows stay, of a longer one READ_TOKENS / (tokens between the
    starts of two windows): 32 with the usual lengths, about as many as LONG characters have. With
    ``exhaustive`` all stay.

    The shares, [N]: the score of each window as a share of the best one of its text, 0 to 1; 1 in texts that
    are not long. None if no text is long.
    """
    if all(len(example.context) <= LONG for example in examples):
        return windows, None
    counts = np.bincount(windows.example, minlength=len(examples))
    begins = np.cumsum(counts) - counts
    kept = np.ones(len(windows), np.bool_)
    shares = np.ones(len(windows), np.float32)
    for example, begin, count in zip(examples, begins.tolist(), counts.tolist(), strict=True):
        if len(example.context) <= LONG or count == 1:
            continue
        own = np.arange(begin, begin + count)
        scores = _scores(windows, own, example)
        if scores.max() > 0:  # else the text has no term of the question, and all windows are alike
            shares[own] = scores / scores.max()
        if not exhaustive:
            step = int(windows.first_token[begin + 1] - windows.first_token[begin])
            kept[own[np.argsort(-scores, kind="stable")[max(1, READ_TOKENS // step) :]]] = False
    return windows.subset(np.nonzero(kept)[0]), shares[kept]


def with_prior(logits: Logits, windows: Windows, shares: NDArray[np.float32], temperature: float) -> Logits:
    """The logits with the prior of each window; those of "no answer" stay.

    Args:
        logits: of all windows' tokens, T = windows.indptr[-1].
        shares: of the windows, [N], as ``promising_windows`` gives them.
        temperature: the model's.
    """
    of_token = np.repeat(np.float32(PRIOR * temperature / 2) * (shares - 1), windows.lengths)
    of_token[windows.indptr[:-1]] = 0  # "no answer" is at the first token of a window
    return replace(logits, start=logits.start + of_token, end=logits.end + of_token)


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
    return _bm25(inside)


def question_scores(question: str, counts: Sequence[Mapping[str, int]]) -> NDArray[np.float64]:
    """BM25 of the pieces of one text for a question, [pieces].

    Args:
        counts: how often each term (``komrc.index.bigrams``) is in each piece; 0 for one that is not.
    """
    terms = list(dict.fromkeys(bigrams(question)))
    times = np.array([[count.get(term, 0) for count in counts] for term in terms], np.float64)
    return _bm25(times.reshape(len(terms), len(counts)))


def _bm25(times: NDArray[np.float64]) -> NDArray[np.float64]:
    """``times``: how often each term of the question is in each piece, [terms, pieces]."""
    holding = (times > 0).sum(axis=1)
    idf = np.log(1 + (times.shape[1] - holding + 0.5) / (holding + 0.5))
    scores: NDArray[np.float64] = idf @ (times * (_K1 + 1) / (times + _K1))
    return scores
