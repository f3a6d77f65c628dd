"""A tokenizer whose tokens are words, for tests that count tokens."""

from __future__ import annotations

import tokenizers
from tokenizers import models, pre_tokenizers, processors

from komrc.tokenization import ReaderTokenizer

WORDS = [f"w{n}" for n in range(40)]


def word_tokenizer() -> ReaderTokenizer:
    """A token a word; pairs as BERT has them."""
    names = ["[UNK]", "[PAD]", "[CLS]", "[SEP]", *WORDS]
    backend = tokenizers.Tokenizer(models.WordLevel({name: n for n, name in enumerate(names)}, "[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    backend.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return ReaderTokenizer(backend, pad_id=1, model_max_length=512)
