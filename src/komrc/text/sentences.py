"""Where a sentence ends: one rule for the terminal, the page and the analysis of particles."""

from __future__ import annotations

import re
from itertools import pairwise

from komrc.types import Span

# Final punctuation, closing marks and white space behind it; or the end of a line.
_END = re.compile(r"[.!?。！？…]+[\"'”’)\]」』》]*\s+|\n+")
REACH = 400  # characters on either side of an answer


def sentences(text: str) -> list[Span]:
    """The sentences and lines of a text, in order: together they are the whole text."""
    cuts = [0, *(end.end() for end in _END.finditer(text)), len(text)]
    return [Span(low, high) for low, high in pairwise(cuts) if low < high]


def sentence_around(text: str, span: Span, *, reach: int = REACH) -> Span:
    """The sentence or sentences that hold the span, without white space at the edges.

    One that is longer than ``reach`` characters on a side is cut there, at white space where there is some.
    """
    low, high = max(0, span.start - reach), min(len(text), span.end + reach)
    if low > 0:
        low = next((i for i in range(low, span.start) if text[i - 1].isspace()), low)
    if high < len(text):
        high = next((i for i in range(high, span.end, -1) if text[i].isspace()), high)
    start = low
    for before in _END.finditer(text, low, span.start):
        start = before.end()
    after = _END.search(text, max(span.start, span.end - 1), high)
    end = after.end() if after and after.end() >= span.end else high
    piece = text[start:end]
    return Span(
        min(span.start, start + len(piece) - len(piece.lstrip())),
        max(span.end, start + len(piece.rstrip())),
    )
