"""The tokenizer as the rest of KoMRC sees it: ids and exact raw offsets, no transformers.

What a text contains is text: a name such as "<s>" or "[SEP]" in it never becomes the model's own token, and
invisible characters are left out before the text is cut into tokens.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import asdict
from functools import cached_property

import tokenizers
from tokenizers import pre_tokenizers

from komrc.errors import InputError
from komrc.text.invisible import visible
from komrc.tokenization.offsets import OffsetRepair, TokenizedText
from komrc.tokenization.template import PairTemplate

_USUAL_NAMES = (
    "<s>", "</s>", "<unk>", "<pad>", "<mask>", "<cls>", "<sep>", "<eop>", "<eod>",
    "[CLS]", "[SEP]", "[UNK]", "[PAD]", "[MASK]", "[BOS]", "[EOS]", "<|endoftext|>",
)  # fmt: skip
_UNKNOWN = ("[UNK]", "<unk>")


class ReaderTokenizer:
    """A Rust tokenizer, the template of a question-context pair and the few numbers around them.

    Args:
        backend: the tokenizer as its model's makers saved it, in which the names of special tokens count;
            its truncation and padding are switched off, since windows are cut elsewhere.
        pad_id: the id that fills a batch's rows.
        model_max_length: the most tokens a window may have, special tokens included.
    """

    def __init__(self, backend: tokenizers.Tokenizer, *, pad_id: int, model_max_length: int) -> None:
        backend.no_truncation()
        backend.no_padding()
        self.backend = backend
        self._for_text = _for_text(backend)
        self._repair = OffsetRepair(self._for_text)
        self.template = PairTemplate.observe(backend)
        self.pad_id = pad_id
        self.model_max_length = model_max_length

    @cached_property
    def unknown_ids(self) -> frozenset[int]:
        """Ids of the tokens for text that the vocabulary lacks; empty if it lacks none."""
        ids = (self.backend.token_to_id(name) for name in _UNKNOWN)
        return frozenset(number for number in ids if number is not None)

    @cached_property
    def fingerprint(self) -> str:
        """Hex SHA-256 of everything that decides ids: the backend and the template."""
        state = self.backend.to_str() + json.dumps(asdict(self.template), sort_keys=True)
        return hashlib.sha256(state.encode("utf-8")).hexdigest()

    def encode_many(self, texts: Sequence[str]) -> list[TokenizedText]:
        """Encode texts without special tokens or truncation; offsets are code points of the raw texts.

        Raises InputError for a text with half a surrogate pair.
        """
        seen = [visible(text) for text in texts]
        try:
            encodings = self._for_text.encode_batch([view.text for view in seen], add_special_tokens=False)
        except Exception as error:  # the Rust library raises bare Exception for a broken vocabulary
            raise _unreadable([view.text for view in seen], error) from error
        return [TokenizedText(view, found, self._repair) for view, found in zip(seen, encodings, strict=True)]


def _for_text(backend: tokenizers.Tokenizer) -> tokenizers.Tokenizer:
    """The tokenizer for texts: the same model, so the same ids, but no special token has a name in it.

    A name is not looked for in the text, and the text is cut inside each one after normalization, since the
    vocabulary may hold the name as a piece, too.
    """
    added = backend.get_added_tokens_decoder().values()
    if all(token.special for token in added):
        result = tokenizers.Tokenizer(backend.model)  # shares it
        if backend.normalizer is not None:
            result.normalizer = backend.normalizer
    else:  # words that were added to the vocabulary keep their ids
        result = tokenizers.Tokenizer.from_str(backend.to_str())
        result.encode_special_tokens = True
    names = {token.content for token in added if token.special}
    names |= {name for name in _USUAL_NAMES if backend.token_to_id(name) is not None}
    # Oniguruma reads what re.escape writes.
    inside = "|".join(f"{re.escape(name[0])}(?={re.escape(name[1:])})" for name in sorted(names) if name[1:])
    steps = [backend.pre_tokenizer] if backend.pre_tokenizer is not None else []
    if inside:
        steps.append(pre_tokenizers.Split(tokenizers.Regex(inside), "merged_with_previous"))
    if steps:
        result.pre_tokenizer = pre_tokenizers.Sequence(steps)
    return result


def _unreadable(texts: Sequence[str], error: Exception) -> InputError:
    for text in texts:
        try:
            text.encode("utf-8")
        except UnicodeError as cause:
            return InputError(
                f"half a surrogate pair, which is no character ({cause})",
                where=repr(text[:40]),
                fix="decode the text again with the right encoding",
            )
    return InputError(f"can't be tokenized ({error})", fix="give texts only")
