"""The visible text and the way back to the raw one."""

from __future__ import annotations

import unicodedata

import numpy as np
import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st

from komrc.text.invisible import visible
from komrc.types import Span

LISTED = [
    *map(chr, (0, 0xAD, 0x2060, 0xFEFF, 0x61C, 0x3164)),
    *(chr(code) for first, last in ((0x200B, 0x200F), (0x202A, 0x202E), (0x2066, 0x2069), (0xFE00, 0xFE0F))
      for code in range(first, last + 1)),
]  # fmt: skip


@pytest.mark.parametrize("character", LISTED, ids=lambda c: f"U+{ord(c):04X}")
def test_is_left_out_wherever_it_is(character: str) -> None:
    text = f"{character}세{character}종{character * 2}"
    seen = visible(text)
    assert seen.text == "세종"
    assert seen.raw(Span(0, 2)) == Span(1, 4)
    assert seen.raw(Span(1, 2)) == Span(3, 4)
    assert seen.position(np.arange(len(text) + 1)).tolist() == [0, 0, 1, 1, 2, 2, 2]


def test_the_kind_is_what_unicode_calls_ignorable_and_the_controls() -> None:
    notes = {"\ufff9", "\ufffa", "\ufffb"}
    for code in range(0x110000):
        if 0xD800 <= code < 0xE000:
            continue
        character = chr(code)
        control = unicodedata.category(character) == "Cc" and not character.isspace()
        ignorable = regex.match(r"\p{Default_Ignorable_Code_Point}", character) is not None
        assert (visible(character).text == "") == (control or ignorable or character in notes), hex(code)


@pytest.mark.parametrize(
    "emoji",
    [
        "❤️",
        "👩‍🔬",
        "👁️‍🗨️",
        "👩🏽‍❤️‍👨🏻",
        "1️⃣",
        "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
        "🇰🇷",
        "⚠︎",
    ],
)
def test_an_emoji_stays_whole(emoji: str) -> None:
    seen = visible(f"\u200b{emoji}\u200b")
    assert seen.text == emoji
    assert seen.raw(Span(0, len(emoji))) == Span(1, 1 + len(emoji))


def test_what_only_looks_like_the_beginning_of_an_emoji_is_left_out() -> None:
    assert visible("1446\ufe0f년 👩\u200d이").text == "1446년 👩이"


@given(st.text(st.sampled_from("가a \u200b\u200d\ufe0f👩🔬❤\x00\u0301")))
def test_places_lead_back(text: str) -> None:
    seen = visible(text)
    for i, character in enumerate(seen.text):
        place = seen.raw(Span(i, i + 1))
        assert text[place.start : place.end] == character
    assert visible(seen.text).text == seen.text
