"""The one rule for where a sentence ends."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from komrc.text.sentences import sentence_around, sentences
from komrc.types import Span

texts = st.text(st.sampled_from("가나 .\n!?😀한’a"), min_size=1, max_size=60)


@given(texts)
def test_sentences_are_the_whole_text(text):
    assert "".join(text[s.start : s.end] for s in sentences(text)) == text


@given(texts, st.data(), st.integers(0, 70))
def test_the_sentence_holds_the_span(text, data, reach):
    start = data.draw(st.integers(0, len(text) - 1))
    span = Span(start, data.draw(st.integers(start + 1, len(text))))
    sentence = sentence_around(text, span, reach=reach)
    assert sentence.start <= span.start and span.end <= sentence.end
    assert span.start - sentence.start <= reach and sentence.end - span.end <= reach


def test_a_closing_mark_belongs_to_its_sentence():
    text = "그는 “간다.” 하고 말했다. 끝"
    assert [text[s.start : s.end] for s in sentences(text)] == ["그는 “간다.” ", "하고 말했다. ", "끝"]


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


def test_a_long_sentence_is_cut_at_white_space():
    text = "가나다 " * 500
    found = sentence_around(text, Span(1000, 1003))
    assert text[found.start : found.end].split() == ["가나다"] * ((found.end - found.start + 1) // 4)
