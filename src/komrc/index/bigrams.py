"""The terms that a text is searched by: one function for texts and for questions.

Korean words end in particles and endings, so white-space words rarely match; pairs of neighbouring
characters do, and need no dictionary. Figures of each kind of term: docs/results/search.md.
"""

from __future__ import annotations

import re
import unicodedata
from itertools import pairwise

TERMS_VERSION = 1  # written into each index; raise it when the same text gives other terms

_WORD = re.compile(r"\w+")
_INVISIBLE = re.compile(
    "[\u00ad\u034f\u200b-\u200f\u2060-\u2064\ufeff]"
)  # inside words, most of all in web pages


def bigrams(text: str) -> list[str]:
    """The terms of a text, after NFKC and case folding; punctuation only separates words.

    For each word: the pairs of neighbouring characters, a word of one character whole; ``^`` and its first
    two characters; and with the next word ``+`` between the first two characters of both. No term contains
    white space.
    """
    if _INVISIBLE.search(text):
        text = _INVISIBLE.sub("", text)
    words: list[str] = _WORD.findall(unicodedata.normalize("NFKC", text).casefold())
    terms = [word[i : i + 2] for word in words for i in range(len(word) - 1 or 1)]
    starts = [word[:2] for word in words]
    terms += ["^" + start for start in starts]
    terms += [f"{first}+{second}" for first, second in pairwise(starts)]
    return terms
