"""Where a text may be cut: between grapheme clusters, what a reader sees as one character."""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

# Characters that each are a cluster of their own, as long as a text has only such ones: nearly
# every context is made of these, and needs no search.
_PLAIN = re.compile(
    r"[\x00-\x0c\x0e-\xa8\xaa-\xac\xaf-\u02ff\u2010-\u2027\u3000-\u3029\u3040-\u3098\u309b-\u3296"
    r"\u329a-\u9fff\uac00-\ud7a3\uf900-\ufaff\uff01-\uff9d]*"
)
# Flags are pairs, counted from the first: behind an even number of letters, with another to follow, is a cut.
# The library counts back to the first letter at each one, which takes hours on many.
_MANY_FLAGS = re.compile("[\U0001f1e6-\U0001f1ff]{64}(?=[\U0001f1e6-\U0001f1ff])")


def cut_points(text: str) -> NDArray[np.bool_] | None:
    """Whether ``text`` may be cut before each code point and at its end, [len(text) + 1]; None: anywhere.

    Kept whole (Unicode Annex 29, extended grapheme clusters): a syllable written as jamo, a letter with
    its combining marks, emoji with modifiers or joined by ZWJ, flags, CR LF.
    """
    if _PLAIN.fullmatch(text):
        return None
    import regex

    cuts = np.zeros(len(text) + 1, np.bool_)
    cuts[0] = True
    begin = 0
    for end in (*(flags.end() for flags in _MANY_FLAGS.finditer(text)), len(text)):
        cuts[[begin + match.end() for match in regex.finditer(r"\X", text[begin:end])]] = True
        begin = end
    return cuts
