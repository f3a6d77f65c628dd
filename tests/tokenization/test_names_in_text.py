"""A text never yields a special token, whatever names it holds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import tokenizers
from support.own_tokenizers import wordpiece_files
from tokenizers import models, pre_tokenizers, processors

from komrc.tokenization import ReaderTokenizer, load_tokenizer

AROUND = ("{}", "가격은 {} 3,000원", "가{}나", "{0}{0}", "<{}>", "[{}]", "{}.", "({})", "`{}`")


def check(tokenizer: ReaderTokenizer, unknown: str) -> None:
    """Every special token, in every surrounding: not its id, and offsets that cover the text."""
    backend = tokenizer.backend
    special = {
        token.content: number for number, token in backend.get_added_tokens_decoder().items() if token.special
    }
    assert {*tokenizer.template.prefix, *tokenizer.template.suffix, tokenizer.pad_id} <= set(special.values())
    names = [
        *special,
        *("".join(chr(ord(c) + 0xFEE0) for c in name) for name in special),
    ]  # in full width too
    forbidden = set(special.values()) - {special[unknown]}
    for name in names:
        for text in (around.format(name) for around in AROUND):
            found = tokenizer.encode_many([text])[0]
            assert not forbidden & set(found.ids), text
            covered = {i for start, end in found.offsets for i in range(start, end)}
            assert covered == {i for i, character in enumerate(text) if not character.isspace()}
    # The unknown token's own name is a text of several tokens, one of which may be unknown.
    assert len(tokenizer.encode_many([unknown])[0].ids) >= 3


def test_the_files_of_kobert(kobert: ReaderTokenizer) -> None:
    check(kobert, "[UNK]")


@pytest.mark.parametrize("special_last", [False, True])
def test_a_vocabulary_of_word_pieces(special_last: bool, tmp_path: Path) -> None:
    check(load_tokenizer(wordpiece_files(tmp_path, special_last=special_last)), "[UNK]")


def test_the_embedded_tokenizer() -> None:
    tokenizer = load_tokenizer(None)
    check(tokenizer, "<unk>")
    struck = tokenizer.encode_many(["가격은 <s>3,000원</s>"])[0]
    pieces = [tokenizer.backend.id_to_token(number) for number in struck.ids]
    assert pieces == ["▁가격", "은", "▁<", "s", ">", "3,000", "원", "<", "/", "s", ">"]


def test_saved_and_transformers_tokenizers_keep_their_own_way(
    kobert: ReaderTokenizer, tmp_path: Path
) -> None:
    before = kobert.fingerprint
    kobert.backend.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "tokenizer_config.json").write_text('{"pad_token": "[PAD]"}')
    saved = load_tokenizer(tmp_path)
    assert saved.fingerprint == before
    assert saved.backend.encode("가[MASK]나", add_special_tokens=False).ids.count(4) == 1
    assert 4 not in saved.encode_many(["가[MASK]나"])[0].ids


def made(model: Any, special: list[str], words: list[str]) -> ReaderTokenizer:
    backend = tokenizers.Tokenizer(model)
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    backend.add_tokens(words)
    backend.add_special_tokens(special)
    backend.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return ReaderTokenizer(backend, pad_id=1, model_max_length=512)


VOCAB = {
    piece: n for n, piece in enumerate(["[UNK]", "[PAD]", "[CLS]", "[SEP]", "가", "[", "]", "SEP]", "S"])
}


@pytest.mark.parametrize("words", [[], ["훈민정음", "[표]"]])
def test_names_that_are_words_of_the_vocabulary(words: list[str]) -> None:
    special = ["[UNK]", "[PAD]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer = made(models.WordLevel(VOCAB, "[UNK]"), special, words)
    found = tokenizer.encode_many(["가 [SEP] 가", "[MASK] 가 " + " ".join(words)])
    assert found[0].ids == [4, 5, 7, 4]
    assert found[0].offsets == [(0, 1), (2, 3), (3, 7), (8, 9)]
    assert found[1].ids[-1 - len(words) :] == [4, *range(len(VOCAB), len(VOCAB) + len(words))]


def test_a_name_that_is_a_piece_of_a_unigram_vocabulary_and_not_marked(tmp_path: Path) -> None:
    pieces = [
        ("<unk>", 0.0),
        ("<pad>", 0.0),
        ("<s>", 0.0),
        ("</s>", 0.0),
        ("<", -2.0),
        ("s", -2.0),
        (">", -2.0),
    ]
    backend = tokenizers.Tokenizer(models.Unigram(pieces, unk_id=0))
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> $B:1 </s>:1", special_tokens=[("<s>", 2), ("</s>", 3)]
    )
    backend.save(str(tmp_path / "tokenizer.json"))
    assert json.loads((tmp_path / "tokenizer.json").read_text())["added_tokens"] == []
    tokenizer = load_tokenizer(tmp_path)
    assert tokenizer.encode_many(["<s>"])[0].ids == [4, 5, 6]
    assert tokenizer.template.prefix == (2,)
