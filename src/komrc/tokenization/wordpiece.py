"""A ``vocab.txt`` as a WordPiece tokenizer: BERT's pipeline, as transformers builds it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors

from komrc.errors import ModelError
from komrc.tokenization.vocabulary import read_vocab

_ROLES = ("unk", "pad", "cls", "sep", "mask")
_WORD_START = "▁"  # begins a word in SentencePiece's pieces, and never in WordPiece's


def build_wordpiece(
    vocab: Path,
    settings: dict[str, Any],
    special: dict[str, Any],
    added: dict[str, Any],
    *,
    lower: bool,
) -> tokenizers.Tokenizer:
    """BERT's pipeline over a vocabulary.

    Args:
        vocab: one piece a line, in the order of the ids.
        settings: tokenizer_config.json.
        special: special_tokens_map.json.
        added: added_tokens.json: pieces that are not in the vocabulary, with their ids.
        lower: lower the text's case.

    Raises ModelError where the files are damaged or don't belong together.
    """
    lines = read_vocab(vocab)
    pieces = {piece: number for number, piece in enumerate(lines)}
    if sum(piece.startswith(_WORD_START) for piece in lines) > len(lines) // 5:
        raise ModelError(
            "is a vocabulary of SentencePiece, and the SentencePiece model beside it is missing",
            where=str(vocab),
            fix="copy the .model file of the same repository into the folder "
            "(KoBERT's is tokenizer_78b3253a26.model)",
        )
    names = {role: _name(role, pieces, settings, special) for role in _ROLES}
    if missing := [names[role] for role in _ROLES[:4] if names[role] not in pieces]:
        raise ModelError(
            f"no WordPiece vocabulary: {', '.join(missing)} missing",
            where=str(vocab),
            fix="it needs one piece a line, special tokens among them; others than BERT's are named in "
            "tokenizer_config.json (unk_token, pad_token, cls_token, sep_token)",
        )
    backend = tokenizers.Tokenizer(models.WordPiece(vocab=pieces, unk_token=names["unk"]))
    backend.add_special_tokens([name for name in names.values() if name in pieces])
    backend.normalizer = normalizers.BertNormalizer(
        lowercase=lower,
        strip_accents=settings.get("strip_accents"),
        handle_chinese_chars=settings.get("tokenize_chinese_chars", True),
    )
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    sep, cls = names["sep"], names["cls"]
    backend.post_processor = processors.BertProcessing((sep, pieces[sep]), (cls, pieces[cls]))
    backend.decoder = decoders.WordPiece()
    _add(backend, _added(settings, added), lines, vocab.parent)
    return backend


def _name(role: str, pieces: dict[str, int], settings: dict[str, Any], special: dict[str, Any]) -> str:
    """What the special token of a role is called: as in the files, else as BERT or RoBERTa have it."""
    for values in (settings, special):
        value = values.get(f"{role}_token")
        name = value.get("content") if isinstance(value, dict) else value
        if isinstance(name, str) and name in pieces:
            return name
    usual = f"[{role.upper()}]"
    other = {"cls": "<s>", "sep": "</s>"}.get(role, f"<{role}>")
    return other if usual not in pieces and other in pieces else usual


def _added(settings: dict[str, Any], added: dict[str, Any]) -> dict[int, str]:
    """Tokens beside the vocabulary by their ids, of both places where transformers has written them."""
    tokens = {number: token for token, number in added.items() if isinstance(number, int)}
    decoder = settings.get("added_tokens_decoder")
    for number, entry in decoder.items() if isinstance(decoder, dict) else ():
        content = entry.get("content") if isinstance(entry, dict) else entry
        if number.isdecimal() and isinstance(content, str):
            tokens[int(number)] = content
    return tokens


def _add(backend: tokenizers.Tokenizer, added: dict[int, str], lines: Sequence[str], folder: Path) -> None:
    """Give the added tokens their ids. They are ordinary ones: texts hold them on purpose."""
    for number, token in sorted(added.items()):
        if number < len(lines) and lines[number] == token:
            if token not in {entry.content for entry in backend.get_added_tokens_decoder().values()}:
                backend.add_tokens([tokenizers.AddedToken(token, normalized=False)])
            continue
        backend.add_tokens([tokenizers.AddedToken(token, normalized=False)])
        if backend.token_to_id(token) != number:
            raise ModelError(
                f"the added token {token!r} should have the id {number}, but the vocabulary and the added "
                f"tokens before it give {backend.token_to_id(token)}",
                where=str(folder),
                fix="take vocab.txt, added_tokens.json and tokenizer_config.json from one model",
            )
