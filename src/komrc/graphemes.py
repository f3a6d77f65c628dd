"""Where a text may be cut: between grapheme clusters, what a reader sees as one character."""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

# Characters that each stand alone whatever is beside them, as long as only such ones are there: nearly
# every context is made of these, and needs no search.
_PLAIN = re.compile(
    r"[\x00-\x0c\x0e-\xa8\xaa-\xac\xaf-\u02ff\u2010-\u2027\u3000-\u3029\u3040-\u3098\u309b-\u3296"
    r"\u329a-\u9fff\uac00-\ud7a3\uf900-\ufaff\uff01-\uff9d]*"
)


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
    cuts[[match.end() for match in regex.finditer(r"\X", text)]] = True
    return cuts
