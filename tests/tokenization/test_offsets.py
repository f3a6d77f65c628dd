"""Offsets are code points of the raw text: what a token came from, and nothing left out."""

from __future__ import annotations

import unicodedata
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from support.hard_texts import TEXTS

from komrc.errors import InputError
from komrc.text.invisible import visible
from komrc.tokenization import ReaderTokenizer, load_tokenizer

BLANK = "\u200b\u200e\u200f\ufeff\ufffd▁"  # what KoBERT's normalizer makes white space


def spans(tokenizer: ReaderTokenizer, text: str) -> list[str]:
    return [text[start:end] for start, end in tokenizer.encode_many([text])[0].offsets if start < end]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("세종  대왕은\t한글을\n", ["세종", "대", "왕", "은", "한", "글", "을"]),
        ("가각 갂", ["가", "각", "갂"]),
        ("café", ["c", "a", "f", "é"]),
        ("㈜한국", ["㈜", "㈜", "㈜", "한국"]),
        ("½ ＢＣ", ["½", "ＢＣ"]),
        ("이모지 😀👍🏽 혼합", ["이", "모", "지", "😀👍🏽", "혼", "합"]),
        ("``인용''", ["``", "인", "용", "''"]),
        ("''''", ["''", "''"]),
        ("漢字", ["漢字"]),
        ("끝\u200b", ["끝"]),
        ("\ufeff끝", ["끝"]),
        ("가 \u200b나", ["가", "나"]),
        ("가 \u200b 나", ["가", "나"]),
        ("세\u00ad종\x00\u200d", ["세\u00ad종"]),
        ("한\u200b국", ["한\u200b국"]),  # one token
        ("\u200b", []),
    ],
)
def test_known_texts(kobert: ReaderTokenizer, text: str, expected: list[str]) -> None:
    assert spans(kobert, text) == expected


@pytest.mark.parametrize("text", ["가각 한글 갂", "반포하였다", "뷁은"])
@pytest.mark.parametrize("name", ["kobert", "embedded"])
def test_a_syllable_of_jamo_is_covered_whole(text: str, name: str, kobert: ReaderTokenizer) -> None:
    tokenizer = kobert if name == "kobert" else load_tokenizer(None)
    decomposed = unicodedata.normalize("NFD", text)
    assert [unicodedata.normalize("NFC", span) for span in spans(tokenizer, decomposed)] == spans(
        tokenizer, text
    )


def test_a_mark_of_a_word_s_start_is_an_empty_span_there(kobert: ReaderTokenizer, reference: Any) -> None:
    tokens = kobert.encode_many(["가 漢字 x"])[0]
    assert (tokens.ids[1:3], tokens.offsets[1:3]) == ([reference.numbers["▁"], 0], [(2, 2), (2, 4)])


@settings(max_examples=400, deadline=None)
@given(text=TEXTS)
def test_tokens_cover_the_text_and_span_what_they_came_from(
    kobert: ReaderTokenizer, reference: Any, text: str
) -> None:
    tokens = kobert.encode_many([text])[0]
    covered = bytearray(len(text))
    for number, (start, end) in zip(tokens.ids, tokens.offsets, strict=True):
        covered[start:end] = b"\1" * (end - start)
        piece = reference.pieces[number].strip("▁")
        assert start < end or not piece
        if start < end:
            assert not text[start].isspace()
            assert not text[end - 1].isspace()
        if number > 4:
            source = unicodedata.normalize("NFC", reference.clean(visible(text[start:end]).text))
            assert piece in "".join(c for c in source if c not in BLANK and not c.isspace())
    if tokens.ids:
        assert not _uncovered(text, covered)
    assert tokens.offsets == sorted(tokens.offsets)
    ends = [end for _, end in tokens.offsets]
    assert ends == sorted(ends)


@settings(max_examples=150, deadline=None)
@given(text=TEXTS)
def test_the_embedded_kind_covers_the_text_too(text: str) -> None:
    tokens = embedded_tokenizer().encode_many([text])[0]
    covered = bytearray(len(text))
    for start, end in tokens.offsets:
        covered[start:end] = b"\1" * (end - start)
        assert start == end or not (text[start].isspace() or text[end - 1].isspace())
    if tokens.ids:
        assert not _uncovered(text, covered)


def _uncovered(text: str, covered: bytearray) -> list[int]:
    """The places of visible characters, white space aside, that no token covers."""
    seen = visible(text)
    places = range(len(text)) if seen.places is None else seen.places[:-1].tolist()
    return [i for i in places if not covered[i] and not text[i].isspace()]


@cache
def embedded_tokenizer() -> ReaderTokenizer:
    return load_tokenizer(None)


def test_white_space_is_cut_off_tokens_that_take_it() -> None:
    """As in tokenizers that mark words by Metaspace alone, without splitting at white space first."""
    import tokenizers
    from tokenizers import models, pre_tokenizers, processors

    pieces = ["<unk>", "<pad>", "<s>", "▁", "▁대", "왕", "▁세종"]
    backend = tokenizers.Tokenizer(models.Unigram([(piece, -1.0) for piece in pieces], unk_id=0))
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A <s>", pair="<s> $A <s> $B:1 <s>:1", special_tokens=[("<s>", 2)]
    )
    tokenizer = ReaderTokenizer(backend, pad_id=1, model_max_length=512)
    assert tokenizer.encode_many(["세종 대왕 x"])[0].offsets == [(0, 2), (3, 4), (4, 5), (6, 6), (6, 7)]


def test_half_a_surrogate_pair_is_named(kobert: ReaderTokenizer) -> None:
    with pytest.raises(InputError, match="surrogate"):
        kobert.encode_many(["괜찮다", "아니 \ud83d"])
