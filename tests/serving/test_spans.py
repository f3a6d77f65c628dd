"""Offsets in UTF-16, sentences, words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from komrc.answers import whole_words
from komrc.serving.spans import Utf16Offsets, clean_up_tokenization, sentence_around
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
def test_sentence_and_words_hold_the_span(case):
    text, span = case
    words = whole_words(text, span)
    assert words.start <= span.start <= span.end <= words.end
    sentence = sentence_around(text, span)
    held = text[span.start : span.end].strip()
    assert held in text[sentence.start : sentence.end]


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        ("1443년", "훈민정음은 1443년에 창제되었다."),
        ("3.14", "원주율은 3.14이다!"),
        ("끝", "끝"),
        ("나왔다.", "해설서가 (1446년) 나왔다."),
    ],
)
def test_the_sentence_around(answer, sentence):
    text = "훈민정음은 1443년에 창제되었다. 해설서가 (1446년) 나왔다.\n원주율은 3.14이다! 끝"
    start = text.index(answer)
    found = sentence_around(text, Span(start, start + len(answer)))
    assert text[found.start : found.end] == sentence


def test_a_long_sentence_is_cut():
    text = "가" * 5000
    found = sentence_around(text, Span(2000, 2001))
    assert found.end - found.start < 1000


def test_clean_up():
    assert clean_up_tokenization("It 's done , isn 't it ?") == "It's done, isn 't it?"
