"""Whether a tokenizer can read Korean, and whether it is the model's own."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from komrc.errors import ModelError
from komrc.tokenization.reader_tokenizer import ReaderTokenizer

# Of common words only: every Korean vocabulary has pieces for them.
_KOREAN = (
    "서울은 한국의 수도이며 한강이 도시를 지나 서해로 흐른다.",
    "이 도서관은 매주 월요일에 쉬고 나머지 날에는 오전 아홉 시에 문을 연다.",
    "그는 어린 시절을 부산에서 보내고 대학을 졸업한 뒤 신문사에서 일했다.",
)
_HANGUL = re.compile("[가-힣]")
_KOREAN_PIECES = 500  # a vocabulary with so many pieces of Hangul is meant for Korean
_MOST_UNKNOWN = 0.3  # share of tokens; vocabularies that fit have less than 0.02
_SPARE_ROWS = 1000  # of the embedding table; models round theirs up


def unknown_tokens(tokenizer: ReaderTokenizer, texts: Iterable[str]) -> tuple[int, int]:
    """How many tokens of the texts are the unknown token, and how many tokens there are."""
    unknown = total = 0
    for encoding in tokenizer.encode_many(list(texts)):
        unknown += sum(token in tokenizer.unknown_ids for token in encoding.ids)
        total += len(encoding.ids)
    return unknown, total


def check_fit(
    tokenizer: ReaderTokenizer, config: Mapping[str, Any], where: str, *, trained_with: str = ""
) -> None:
    """The guard of everything that reads with a model, and of training.

    Args:
        config: the model's configuration.
        where: the tokenizer's folder or name.
        trained_with: tokenizer_sha256 of the model's komrc.json; empty where there is none.

    Raises ModelError where the tokenizer is not the model's own, or can't read Korean although its
    vocabulary is meant for it.
    """
    _check_same(tokenizer, trained_with, where)
    _check_fits(tokenizer, config, where)
    _check_reads_korean(tokenizer, where)


def _check_reads_korean(tokenizer: ReaderTokenizer, where: str) -> None:
    unknown, total = unknown_tokens(tokenizer, _KOREAN)
    if unknown <= _MOST_UNKNOWN * total:
        return
    korean = sum(_HANGUL.search(piece) is not None for piece in tokenizer.backend.get_vocab())
    if korean >= _KOREAN_PIECES:
        raise _unknown(unknown, total, "a Korean text", where)


def check_reads(tokenizer: ReaderTokenizer, texts: Iterable[str], what: str, where: str) -> None:
    """Raises ModelError if the tokenizer has no token for too much of the texts; ``what`` they are called."""
    unknown, total = unknown_tokens(tokenizer, texts)
    if unknown > _MOST_UNKNOWN * total:
        raise _unknown(unknown, total, what, where)


def _unknown(unknown: int, total: int, what: str, where: str) -> ModelError:
    return ModelError(
        f"{100 * unknown / total:.0f} % of the tokens of {what} are unknown to the tokenizer",
        where=where,
        fix="leave do_lower_case out if the vocabulary is cased (it also takes Hangul apart; see "
        "tokenizer_config.json), and take all files of the tokenizer from the model's own repository",
    )


def _check_fits(tokenizer: ReaderTokenizer, config: Mapping[str, Any], where: str) -> None:
    """Pieces and token types within the model's tables, and the tables not made for many more pieces."""
    rows, types = config.get("vocab_size"), config.get("type_vocab_size")
    template, backend = tokenizer.template, tokenizer.backend
    # Special tokens that no pair contains, such as one for masks, need no row.
    used = {number for number, token in backend.get_added_tokens_decoder().items() if not token.special}
    used |= {tokenizer.pad_id, *template.prefix, *template.middle, *template.suffix}
    pieces = max(backend.get_vocab_size(with_added_tokens=False), 1 + max(used))
    problem = None
    if isinstance(rows, int) and rows > 0:
        if pieces > rows:
            problem = f"the tokenizer has {pieces:,} pieces, the model has rows for {rows:,}"
        elif rows > max(2 * pieces, pieces + _SPARE_ROWS):
            problem = f"the tokenizer has only {pieces:,} pieces, the model has rows for {rows:,}"
    inner = (*template.prefix_types, *template.middle_types, *template.suffix_types)
    given = max(template.question_type, template.context_type, *inner)
    if isinstance(types, int) and 1 < types <= given:
        problem = f"the tokenizer gives the token type {given}, the model has {types} types"
    if problem:
        raise ModelError(
            problem,
            where=where,
            fix="use the tokenizer that belongs to the model (--tokenizer, or its files)",
        )


def _check_same(tokenizer: ReaderTokenizer, trained_with: str, where: str) -> None:
    if trained_with and tokenizer.fingerprint != trained_with:
        raise ModelError(
            f"the tokenizer is not the one that the model was trained with: its SHA-256 is "
            f"{tokenizer.fingerprint}, komrc.json names {trained_with}",
            where=where,
            fix="restore the tokenizer's files, or copy or download the model again",
        )
