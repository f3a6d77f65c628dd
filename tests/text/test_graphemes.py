"""Cut points against the regex module's extended grapheme clusters."""

from __future__ import annotations

import random

import numpy as np
import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st

from komrc.text.graphemes import cut_points


def clusters(text: str) -> list[int]:
    return [0, *(match.end() for match in regex.finditer(r"\X", text))]


@given(st.text(max_size=8))
def test_equals_unicode_clusters(text: str) -> None:
    cuts = cut_points(text)
    found = list(range(len(text) + 1)) if cuts is None else np.nonzero(cuts)[0].tolist()
    assert found == clusters(text)


def test_no_plain_character_joins_another_plain_one() -> None:
    """The shortcut is right for every character that takes it, beside every kind of neighbour that does."""
    plain = [
        chr(code) for code in range(0x11000) if not 0xD800 <= code < 0xE000 and cut_points(chr(code)) is None
    ]
    assert len(plain) > 30_000
    text = "".join(character + neighbour for character in plain for neighbour in ("가", "a"))
    assert len(clusters(text)) == len(text) + 1


@pytest.mark.parametrize(
    "text", ["\u1112\u1161\u11ab", "e\u0301", "👩‍🔬", "👍🏽", "🇰🇷", "☀️", "\r\n", "각\u11a8"]
)
def test_one_cluster(text: str) -> None:
    cuts = cut_points(text)
    assert cuts is not None
    assert np.nonzero(cuts)[0].tolist() == [0, len(text)]


def test_long_rows_of_flags_are_cut_as_short_ones_are() -> None:
    draw = random.Random(5)
    for _ in range(60):
        text = "".join(
            draw.choice(["🇰", "🇷"]) * draw.randrange(150)
            + draw.choice(["a", "\u0301", "\u200d", "\u0600", "👩"])
            for _ in range(3)
        )
        cuts = cut_points(text)
        assert cuts is not None
        assert np.flatnonzero(cuts).tolist() == clusters(text)
