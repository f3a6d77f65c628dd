"""The tokenizer as the rest of KoMRC sees it: ids and exact raw offsets, no transformers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from functools import cached_property

import tokenizers

from komrc.errors import InputError
from komrc.tokenization.offsets import OffsetRepair, TokenizedText
from komrc.tokenization.template import PairTemplate

_UNKNOWN = ("[UNK]", "<unk>")


class ReaderTokenizer:
    """A Rust tokenizer, the template of a question-context pair and the few numbers around them.

    Args:
        backend: the tokenizer; its truncation and padding are switched off, since windows are cut elsewhere.
        pad_id: the id that fills a batch's rows.
        model_max_length: the most tokens a window may have, special tokens included.
    """

    def __init__(self, backend: tokenizers.Tokenizer, *, pad_id: int, model_max_length: int) -> None:
        backend.no_truncation()
        backend.no_padding()
        self.backend = backend
        self._repair = OffsetRepair(backend)
        self.template = PairTemplate.observe(backend)
        self.pad_id = pad_id
        self.model_max_length = model_max_length

    @cached_property
    def unknown_ids(self) -> frozenset[int]:
        """Ids of what stands for text that the vocabulary lacks; empty where it lacks none."""
        found = (self.backend.token_to_id(name) for name in _UNKNOWN)
        return frozenset(number for number in found if number is not None)

    @cached_property
    def fingerprint(self) -> str:
        """Hex SHA-256 of everything that decides ids: the backend and the template."""
        state = self.backend.to_str() + json.dumps(asdict(self.template), sort_keys=True)
        return hashlib.sha256(state.encode("utf-8")).hexdigest()

    def encode_many(self, texts: Sequence[str]) -> list[TokenizedText]:
        """Encode texts without special tokens or truncation; offsets are code points of the raw texts.

        Raises InputError for a text with half a surrogate pair.
        """
        texts = list(texts)
        try:
            encodings = self.backend.encode_batch(texts, add_special_tokens=False)
        except Exception as error:  # the Rust library raises bare Exception for a broken vocabulary
            raise _unreadable(texts, error) from error
        return [
            TokenizedText(text, found, self._repair) for text, found in zip(texts, encodings, strict=True)
        ]


def _unreadable(texts: Sequence[str], error: Exception) -> InputError:
    for text in texts:
        try:
            text.encode("utf-8")
        except UnicodeError as found:
            return InputError(
                f"half a surrogate pair, which is no character ({found})",
                where=repr(text[:40]),
                fix="decode the text again with the right encoding",
            )
    return InputError(f"can't be tokenized ({error})", fix="give texts only")
