"""The terms of texts and questions."""

from __future__ import annotations

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from komrc.index.bigrams import bigrams


def test_terms_are_pairs_inside_words_starts_and_neighbours() -> None:
    assert bigrams("연차는 5일") == ["연차", "차는", "5일", "^연차", "^5일", "연차+5일"]
    assert bigrams("가 나") == ["가", "나", "^가", "^나", "가+나"]
    assert bigrams("?! …") == []


def test_spelling_that_looks_the_same_is_the_same() -> None:
    assert bigrams("한글") == bigrams(unicodedata.normalize("NFD", "한글"))
    assert bigrams("ＫＢＳ") == bigrams("kbs") == bigrams("KBS")
    assert bigrams("연\u200b차, 휴\u00ad가") == bigrams("연차 휴가")
    assert bigrams("(연차)·「휴가」") == bigrams("연차 휴가")


@given(st.text())
def test_a_term_is_a_word_of_its_own_and_can_be_encoded(text: str) -> None:
    for term in bigrams(text + "\ud800"):
        assert term and not any(character.isspace() for character in term)
        term.encode()
