"""The one builder of tiny random encoders, over real tokenizer files."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from komrc.models import hub
from komrc.models.files import KOBERT_MODEL, VOCAB
from komrc.tokenization import load_tokenizer

TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", KOBERT_MODEL, VOCAB)


def tiny_model(
    folder: Path,
    *,
    tokenizer: Path | None = None,
    architecture: str = "bert",
    hidden_size: int = 32,
    layers: int = 2,
    dropout: float = 0.1,
) -> Path:
    """Write a random BERT or DistilBERT with a tokenizer's files into a new folder; returns the folder.

    Args:
        tokenizer: folder whose tokenizer files are copied; the embedded model's without one.
        architecture: "bert" or "distilbert".
    """
    import torch
    from transformers import BertConfig, BertModel, DistilBertConfig, DistilBertModel

    torch.manual_seed(0)
    source = tokenizer or hub.embedded_model()
    loaded = load_tokenizer(source)
    common: dict[str, Any] = {
        "vocab_size": loaded.backend.get_vocab_size(), "max_position_embeddings": 512,
        "pad_token_id": loaded.pad_id,
    }  # fmt: skip
    if architecture == "bert":
        model: Any = BertModel(
            BertConfig(
                hidden_size=hidden_size, num_hidden_layers=layers, num_attention_heads=2,
                intermediate_size=2 * hidden_size, hidden_dropout_prob=dropout, **common,
            )
        )  # fmt: skip
    else:
        model = DistilBertModel(
            DistilBertConfig(
                dim=hidden_size, n_layers=layers, n_heads=2, hidden_dim=2 * hidden_size, dropout=dropout,
                **common,
            )
        )  # fmt: skip
    folder.mkdir(parents=True)
    model.save_pretrained(folder)
    for name in TOKENIZER_FILES:
        if (source / name).is_file():
            shutil.copy(source / name, folder / name)
    return folder


def without_dropout(model: Path, folder: Path) -> Path:
    """A copy of a model folder with every dropout off."""
    if not folder.exists():
        shutil.copytree(model, folder)
        config = json.loads((folder / "config.json").read_text())
        changed = {name: 0.0 for name in config if name.endswith("_dropout_prob")}
        (folder / "config.json").write_text(json.dumps({**config, **changed}))
    return folder
