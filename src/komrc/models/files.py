"""Which files a model folder consists of, and the longest window in its config.json."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from komrc.errors import ModelError

CONFIG = "config.json"
SETTINGS = "komrc.json"
WEIGHTS = "model.safetensors"
SHARDS = "model.safetensors.index.json"
PICKLED = "pytorch_model.bin"
GRAPHS = {"onnx": "model.onnx", "onnx-int8": "model-int8.onnx"}
VOCAB = "vocab.txt"
TOKENIZER_JSON = "tokenizer.json"
TOKENIZER_CONFIG = "tokenizer_config.json"
SPECIAL_TOKENS = "special_tokens_map.json"
CARD = "README.md"
KOBERT_MODEL = "tokenizer_78b3253a26.model"  # SentencePiece, beside VOCAB
KOBERT_SPIECE = "spiece.model"  # skt/kobert-base-v1: one file, its pieces in the order of the ids

# Name patterns of what is downloaded of a hub's repository: all of a model, and pickles where it has no other
# weights; of its tokenizer; of KoBERT's.
DOWNLOADED = ("*.safetensors", "*.json", "*.txt", "*.model", *GRAPHS.values(), "*.onnx_data", "*.onnx.data")
OLD_WEIGHTS = ("pytorch_model*.bin",)
TOKENIZER = ("*.json", "*.txt", "*.model")
KOBERT_TOKENIZER = (
    KOBERT_MODEL, KOBERT_SPIECE, VOCAB, TOKENIZER_JSON, TOKENIZER_CONFIG, SPECIAL_TOKENS,
)  # fmt: skip
# Of what a tokenizer is made from, where it has no tokenizer.json.
VOCABULARIES = ("vocab*", "*.model", "merges.txt")
# Of what makes a tokenizer.
TOKENIZER_PARTS = ("*token*.json", *VOCABULARIES)
# Of what a loader may open: the model's own files.
OPENED = (
    CONFIG, "generation_config.json", SETTINGS, *TOKENIZER_PARTS, "*.safetensors",
    "*.safetensors.index.json", "pytorch_model*.bin", "*.onnx", "*.onnx_data", "*.onnx.data",
)  # fmt: skip

LARGEST_JSON = 64 << 20  # bytes; tokenizer.json of a vocabulary of 250,000 pieces has 17 MB
LARGEST_CONFIG = 1 << 20
_AGAIN = "copy or download the model again"


def named(name: str, patterns: Sequence[str]) -> bool:
    """Whether a file's name fits one of the patterns."""
    return any(fnmatch(name, pattern) for pattern in patterns)


def own_files(folder: Path) -> list[Path]:
    """The files of a model folder that belong to the model, by name: not a README, predictions or logs."""
    files = (path for path in folder.iterdir() if path.is_file())
    return sorted(path for path in files if named(path.name, OPENED))


def read_json(path: Path, *, limit: int = LARGEST_JSON) -> dict[str, Any]:
    """The object in a JSON file. Raises FileNotFoundError, ModelError for all else."""
    try:
        if path.stat().st_size > limit:
            raise ModelError(f"is larger than {limit:,} bytes", where=str(path), fix=_AGAIN)
        value = json.loads(path.read_bytes())
    except (FileNotFoundError, ModelError):
        raise
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"can't be read as JSON ({error})", where=str(path), fix=_AGAIN) from error
    if not isinstance(value, dict):
        raise ModelError("is not a JSON object", where=str(path), fix=_AGAIN)
    return value


def read_config(folder: Path) -> dict[str, Any]:
    """The folder's config.json; empty where it has none. Raises ModelError."""
    try:
        return read_json(folder / CONFIG, limit=LARGEST_CONFIG)
    except FileNotFoundError:
        return {}


# Of these max_position_embeddings counts from the padding id on.
_POSITIONS_AFTER_PADDING = {
    "roberta", "xlm-roberta", "camembert", "xlm-roberta-xl", "longformer", "data2vec-text", "ibert",
    "roberta-prelayernorm", "xmod", "mpnet", "luke", "lilt", "markuplm",
}  # fmt: skip


def longest_window(values: Mapping[str, Any]) -> int | None:
    """How many tokens a model with this configuration can read; None: any number (positions are relative)."""
    limit = values.get("max_position_embeddings")
    if not isinstance(limit, int) or limit <= 0:
        return None
    if values.get("model_type") in _POSITIONS_AFTER_PADDING:
        padding = values.get("pad_token_id")
        limit -= (1 if padding is None else int(padding)) + 1
    return limit
