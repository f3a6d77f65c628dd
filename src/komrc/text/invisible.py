"""A text as a reader sees it: without the characters that have no shape, and where each other one is.

Zero-width characters, marks of direction, soft hyphens, variation selectors, fillers and control characters
come with pasted text. They change neither a passage's meaning nor where an answer begins, so the model gets
the text without them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from komrc.types import Span

if TYPE_CHECKING:
    import regex

# Unicode's Default_Ignorable_Code_Point, the control characters but for white space (str.isspace), and the
# marks of interlinear notes.
_INVISIBLE = re.compile(
    "[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f"
    "\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3"
    "\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
_OF_EMOJI = re.compile("[\u200d\ufe0e\ufe0f\U000e007f]")


@cache
def _emoji() -> regex.Pattern[str]:
    """Emoji whose look depends on invisible characters: selectors, joined ones, flags of regions, keycaps."""
    import regex

    one = r"\p{Extended_Pictographic}\p{Emoji_Modifier}?[\ufe0e\ufe0f]?"
    flag = "\U0001f3f4[\U000e0020-\U000e007e]{1,16}\U000e007f"
    return regex.compile(rf"{flag}|{one}(?:\u200d{one})*|[0-9#*]\ufe0f\u20e3")


@dataclass(frozen=True, slots=True)
class VisibleText:
    """A text without its invisible characters; those that an emoji is made of stay.

    ``places[i]`` is where character i is in the raw text, ``places[len(text)]`` where the raw text ends;
    None where nothing was left out.
    """

    text: str
    places: NDArray[np.int64] | None = None

    def raw(self, span: Span) -> Span:
        """The place of a span of this text in the raw one. It neither begins nor ends with an invisible
        character; an empty span gives an empty one."""
        if self.places is None:
            return span
        start = int(self.places[span.start])
        return Span(start, int(self.places[span.end - 1]) + 1 if span.end > span.start else start)

    def position(self, raw: ArrayLike) -> NDArray[np.int64]:
        """How many visible characters precede each of these positions of the raw text."""
        at = np.asarray(raw, np.int64)
        return at if self.places is None else np.searchsorted(self.places, at)


def visible(text: str) -> VisibleText:
    """The text without its invisible characters."""
    if _INVISIBLE.search(text) is None:
        return VisibleText(text)
    hidden = np.zeros(len(text), np.bool_)
    hidden[[match.start() for match in _INVISIBLE.finditer(text)]] = True
    if _OF_EMOJI.search(text):
        for match in _emoji().finditer(text):
            hidden[match.start() : match.end()] = False
    (places,) = np.nonzero(~hidden)
    return VisibleText("".join(text[i] for i in places), np.append(places, len(text)))
