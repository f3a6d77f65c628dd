"""The headings of Korean laws, rules and contracts, which are plain text: "제1장 총칙", "제3조(연차)"."""

from __future__ import annotations

import re

_LEVELS = {"편": 1, "장": 2, "절": 3, "관": 4, "조": 5}
_NUMBER = r"제\s?\d{1,4}\s?"

# An article has its title in brackets, and its text often follows on the same line. What follows the bracket
# directly is a reference: "제3조(연차)에 따라".
_ARTICLE = re.compile(_NUMBER + r"조(?:의\s?\d{1,3})?\s?(?:\([^()\n]{1,60}\)|\[[^\[\]\n]{1,60}\])(?=[ \t]|$)")
_PART = re.compile(_NUMBER + r"([편장절관])(?:의\s?\d{1,3})?(?:[ \t]+\S[^\n]{0,38})?$")
_SENTENCE_END = re.compile(r"(?:[.?!,;:]|다|요|며|고|서)$")


def heading_at(line: str) -> tuple[int, int] | None:
    """The length and the level (1 to 6) of the statute heading that a line begins with, or None.

    A line of a part, chapter or section is a heading as a whole; of an article, up to the closing bracket.
    """
    if not line.startswith("제"):
        return None
    if article := _ARTICLE.match(line):
        return article.end(), _LEVELS["조"]
    part = _PART.match(line.rstrip())
    if part and not _SENTENCE_END.search(part[0]):
        return part.end(), _LEVELS[part[1]]
    return None
