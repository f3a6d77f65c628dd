"""The place of an answer in its text: offsets in UTF-16 units, and the sentence around it."""

from __future__ import annotations

import re

import numpy as np

from komrc.types import Span

_SENTENCE_END = re.compile(r"[.!?。！？…]+[\"'”’)\]」』》]*\s+|\n+")
_SENTENCE_REACH = 400  # characters to either side; a longer sentence is cut there


class Utf16Offsets:
    """Code-point offsets of one text as offsets in UTF-16 units, which JavaScript's strings count."""

    def __init__(self, text: str) -> None:
        codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
        self._pairs = np.nonzero(codes > 0xFFFF)[0]  # characters that take two units

    def offset(self, position: int) -> int:
        """The position in UTF-16 units."""
        return position + int(np.searchsorted(self._pairs, position))


def sentence_around(text: str, span: Span) -> Span:
    """The sentence, or sentences, around the span, without white space at the edges."""
    low, high = max(0, span.start - _SENTENCE_REACH), min(len(text), span.end + _SENTENCE_REACH)
    start = low
    for match in _SENTENCE_END.finditer(text, low, span.start):
        start = match.end()
    after = _SENTENCE_END.search(text, max(span.start, span.end - 1), high)
    end = after.end() if after and after.end() >= span.end else high
    piece = text[start:end]
    return Span(start + len(piece) - len(piece.lstrip()), start + len(piece.rstrip()))


_CLEANED = (
    (" .", "."), (" ?", "?"), (" !", "!"), (" ,", ","), (" ' ", "'"),
    (" n't", "n't"), (" 'm", "'m"), (" 's", "'s"), (" 've", "'ve"), (" 're", "'re"),
)  # fmt: skip


def clean_up_tokenization(text: str) -> str:
    """``cleanup_tokenization_spaces`` of 2020: no space before punctuation and English endings."""
    for spaced, close in _CLEANED:
        text = text.replace(spaced, close)
    return text
