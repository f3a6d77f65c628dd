"""The right place of an answer whose offset was counted in another way."""

from __future__ import annotations

import re
import unicodedata

from komrc.text.locate import occurrences
from komrc.types import Gold


def right_place(text: str, start: int | None, context: str) -> Gold | None:
    """The one place in the context that an answer can mean, or None where there is none or several.

    The text of the result is the context's: its white space and Unicode form may differ from ``text``. A
    text that occurs once is meant there. Of several places the one is meant that ``start`` counts in another
    way: UTF-16 units, bytes of UTF-8, other line ends, white space collapsed or cut off, another Unicode
    form, or one off. Where two ways of counting give two places, the result is None.
    """
    if not text.strip():
        return None
    places = [place.start for place in occurrences(context, text)]
    if len(places) > 1:
        places = list(set(places) & _readings(start, context)) if start is not None else []
        return Gold(text, places[0]) if len(places) == 1 else None
    return Gold(text, places[0]) if places else _written_otherwise(text, start, context)


def _written_otherwise(text: str, start: int | None, context: str) -> Gold | None:
    """The place of a text that occurs with other white space, or in another Unicode form."""
    bare = text.strip()
    if bare != text:
        lead = len(text) - len(text.lstrip())
        return right_place(bare, None if start is None else start + lead, context)
    for form in ("NFC", "NFD"):
        other = unicodedata.normalize(form, text)
        if other in context:
            return right_place(other, start, context)
    spaced = list(re.finditer(r"\s+".join(map(re.escape, text.split())), context))
    return Gold(spaced[0].group(), spaced[0].start()) if len(spaced) == 1 else None


def _readings(start: int, context: str) -> set[int]:
    """The places that ``start`` means in each other way of counting."""
    lead = len(context) - len(context.lstrip())
    starts = {start - 1, start + 1, start + lead, start - lead} - {start}
    counts = [0] * 7  # of what is before the character, in each way
    previous = ""
    for i, character in enumerate(context):
        starts.update({i} if start in counts and i != start else ())
        following = context[i + 1 : i + 2]
        counts[0] += 1 + (character > "\uffff")  # UTF-16
        counts[1] += len(character.encode("utf-8", "surrogatepass"))
        counts[2] += 1 + (character == "\n" and previous != "\r")  # line ends of Windows
        counts[3] += not (character == "\r" and following == "\n")  # without them
        counts[4] += not (character.isspace() and previous.isspace())  # white space collapsed
        counts[5] += len(unicodedata.normalize("NFD", character))
        counts[6] += not (unicodedata.combining(character) or "\u1160" <= character <= "\u11ff")  # NFC
        previous = character
    return starts
