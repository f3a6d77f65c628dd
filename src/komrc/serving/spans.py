"""Offsets in UTF-16 units, and the white space clean-up of 2020."""

from __future__ import annotations

import numpy as np


class Utf16Offsets:
    """Code-point offsets of one text as offsets in UTF-16 units, which JavaScript's strings count."""

    def __init__(self, text: str) -> None:
        codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
        self._pairs = np.nonzero(codes > 0xFFFF)[0]  # characters that take two units

    def offset(self, position: int) -> int:
        """The position in UTF-16 units."""
        return position + int(np.searchsorted(self._pairs, position))


_CLEANED = (
    (" .", "."), (" ?", "?"), (" !", "!"), (" ,", ","), (" ' ", "'"),
    (" n't", "n't"), (" 'm", "'m"), (" 's", "'s"), (" 've", "'ve"), (" 're", "'re"),
)  # fmt: skip


def clean_up_tokenization(text: str) -> str:
    """``cleanup_tokenization_spaces`` of 2020: no space before punctuation and English endings."""
    for spaced, close in _CLEANED:
        text = text.replace(spaced, close)
    return text
