"""Brackets and quotation marks: which two belong together in a text."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import Counter

PAIRS = {
    "'": "'", '"': '"', "‘": "’", "“": "”", "《": "》", "〈": "〉", "「": "」", "『": "』",
    "(": ")", "[": "]", "<": ">", "{": "}", "【": "】", "（": "）", "«": "»", "‹": "›", "´": "´", "`": "`",
    "〔": "〕", "［": "］", "｛": "｝", "＜": "＞", "｢": "｣", "≪": "≫", "〖": "〗", "〘": "〙",
}  # fmt: skip
CLOSING = {close: opening for opening, close in PAIRS.items()}
_MARK = re.compile("[\n" + re.escape("".join({*PAIRS, *CLOSING})) + "]")


class Marks:
    """The marks of a text that have a partner in it.

    A mark without one (an apostrophe, "1)", an emoticon) is left aside. Time grows with the text's length.
    """

    def __init__(self, text: str) -> None:
        partner: dict[int, int] = {}
        opened: list[int] = []
        waiting: Counter[str] = Counter()  # opened ones of each kind

        def forget() -> None:
            waiting[text[opened.pop()]] -= 1

        for match in _MARK.finditer(text):
            mark, i = match.group(), match.start()
            before, after = text[i - 1 : i], text[i + 1 : i + 2]
            if mark == "\n":
                while opened and _same(text[opened[-1]]):  # a quotation in straight marks ends with its line
                    forget()
                continue
            if mark in "'’" and _latin(before) and (_latin(after) or not waiting[CLOSING[mark]]):
                continue  # an apostrophe
            kind = CLOSING.get(mark, mark)
            if waiting[kind] and _same(mark) and (not before.strip() or before in PAIRS) and after.strip():
                while text[opened[-1]] != kind:  # begins a quotation: the open one was none
                    forget()
                forget()
            if mark in CLOSING and waiting[kind]:
                while text[opened[-1]] != kind:
                    forget()
                partner[opened[-1]], partner[i] = i, opened[-1]
                forget()
            elif mark in PAIRS and (after.strip() or not _same(mark)):
                opened.append(i)
                waiting[mark] += 1
        self._places = sorted(partner)
        self._partner = partner

    def partner(self, place: int) -> int:
        """Where the other mark of the pair is."""
        return self._partner[place]

    def halves(self, start: int, end: int) -> list[int]:
        """The places in ``[start, end)`` of marks whose partner is outside of it."""
        inside = self._places[bisect_left(self._places, start) : bisect_left(self._places, end)]
        return [place for place in inside if not start <= self._partner[place] < end]


def _same(mark: str) -> bool:
    """Whether one character opens and closes."""
    return PAIRS.get(mark) == mark


def _latin(character: str) -> bool:
    return character.isascii() and character.isalnum()
