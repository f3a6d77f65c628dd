"""Offsets in UTF-16, words, the clean-up of 2020."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from komrc.answers import whole_words
from komrc.serving.spans import Utf16Offsets, clean_up_tokenization
from komrc.types import Span

texts = st.text(st.sampled_from("가나 .\n!?😀한’a"), min_size=1, max_size=60)


@st.composite
def spans(draw):
    text = draw(texts)
    start = draw(st.integers(0, len(text) - 1))
    return text, Span(start, draw(st.integers(start + 1, len(text))))


@given(st.text())
def test_utf16_offsets_are_those_of_the_encoding(text):
    units = Utf16Offsets(text)
    for n in range(len(text) + 1):
        assert units.offset(n) == len(text[:n].encode("utf-16-le", "surrogatepass")) // 2


@given(spans())
def test_words_hold_the_span(case):
    text, span = case
    words = whole_words(text, span)
    assert words.start <= span.start <= span.end <= words.end


def test_clean_up():
    assert clean_up_tokenization("It 's done , isn 't it ?") == "It's done, isn 't it?"
