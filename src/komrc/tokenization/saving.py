"""A tokenizer's files in Hugging Face's layout."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from komrc.errors import ModelError
from komrc.models import files
from komrc.models.writing import copy_files
from komrc.tokenization.loading import load_tokenizer
from komrc.tokenization.reader_tokenizer import ReaderTokenizer


def save_tokenizer(tokenizer: ReaderTokenizer, folder: Path) -> None:
    """Write tokenizer.json and a tokenizer_config.json that ``AutoTokenizer`` understands."""
    backend, template = tokenizer.backend, tokenizer.template
    backend.save(str(folder / files.TOKENIZER_JSON))
    config: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": tokenizer.model_max_length,
        "pad_token": backend.id_to_token(tokenizer.pad_id),
        "padding_side": "right",
        "clean_up_tokenization_spaces": False,
    }
    if template.context_type != template.question_type:  # else AutoTokenizer would leave the token types out
        config["model_input_names"] = ["input_ids", "token_type_ids", "attention_mask"]
    if template.prefix:
        config["cls_token"] = backend.id_to_token(template.prefix[0])
    if template.suffix:
        config["sep_token"] = backend.id_to_token(template.suffix[0])
    for name, spellings in (("unk_token", ("[UNK]", "<unk>")), ("mask_token", ("[MASK]", "<mask>"))):
        in_vocabulary = [text for text in spellings if backend.token_to_id(text) is not None]
        if in_vocabulary:
            config[name] = in_vocabulary[0]
    text = json.dumps(config, ensure_ascii=False, indent=2)
    (folder / files.TOKENIZER_CONFIG).write_text(text + "\n", encoding="utf-8")


def keep_tokenizer(tokenizer: ReaderTokenizer, source: Path, folder: Path) -> None:
    """Write a tokenizer: the files of the model folder ``source`` if they give the same one, else its own."""
    if load_tokenizer(source).fingerprint == tokenizer.fingerprint:
        copy_files(source, folder, files.TOKENIZER_PARTS)
    else:
        save_tokenizer(tokenizer, folder)


def convert_tokenizer(tokenizer: ReaderTokenizer, source: Path, folder: Path) -> None:
    """Write tokenizer.json, whatever files ``source`` has, beside its tokenizer_config.json.

    Raises ModelError if the tokenizer that was written differs from the one that was read.
    """
    copy_files(source, folder, [files.TOKENIZER_CONFIG])
    tokenizer.backend.save(str(folder / files.TOKENIZER_JSON))
    if load_tokenizer(folder).fingerprint != tokenizer.fingerprint:
        raise ModelError(
            "the tokenizer reads differently after it was saved",
            where=str(source),
            fix="save a tokenizer.json into the model folder first",
        )
