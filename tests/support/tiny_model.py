"""A tiny random reader on a real tokenizer file, and some questions of a data file, for training tests."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from komrc.models import hub


def tiny_model(
    folder: Path, shared: Path | None = None, *, architecture: str = "bert", dropout: float = 0.1
) -> Path:
    """A random BERT or DistilBERT over the embedded model's tokenizer or, with ``shared``, over KoBERT's
    vocabulary in the layout of the hub's repositories."""
    import torch
    from transformers import BertConfig, BertModel, DistilBertConfig, DistilBertModel

    torch.manual_seed(0)
    source = shared / "tokenizers/kobert" if shared else hub.embedded_model()
    pieces = 8002 if shared else json.loads((source / "config.json").read_text())["vocab_size"]
    if architecture == "bert":
        model: Any = BertModel(
            BertConfig(
                vocab_size=pieces, hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
                intermediate_size=64, max_position_embeddings=512, pad_token_id=1,
                hidden_dropout_prob=dropout,
            )
        )  # fmt: skip
    else:
        model = DistilBertModel(
            DistilBertConfig(vocab_size=pieces, dim=32, n_layers=2, n_heads=2, hidden_dim=64, pad_token_id=1)
        )
    folder.mkdir(parents=True)
    model.save_pretrained(folder)
    kobert = ("tokenizer_78b3253a26.model", "vocab.txt")
    for name in kobert if shared else ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(source / name, folder / name)
    return folder


def some_questions(source: Path, target: Path, count: int, *, skip: int = 0, one_each: bool = False) -> Path:
    """``count`` questions of a KorQuAD file, in a file of the same form; maybe one a paragraph."""
    document = json.loads(source.read_text(encoding="utf-8"))
    data = []
    seen = 0
    for article in document["data"]:
        for paragraph in article["paragraphs"]:
            questions = paragraph["qas"][: 1 if one_each else None]
            chosen = [qa for n, qa in enumerate(questions, seen) if skip <= n < skip + count]
            seen += len(questions)
            if chosen:
                data.append({**article, "paragraphs": [{**paragraph, "qas": chosen}]})
    text = json.dumps({**document, "data": data}, ensure_ascii=False)
    target.write_text(text, encoding="utf-8")
    return target
