"""Step 3: cut the vocabulary to what Korean text needs, so that the embedded model stays small.

Keeps every piece with Hangul, the single characters of KS X 1001 (its 4,888 hanja, kana, Latin, Greek,
symbols), the pieces that ``--texts`` use, and then Latin and digit pieces by frequency up to ``--size``.
Segmentation of ``--texts`` does not change: a unigram model only ever picks kept pieces there.

    python recipes/komrc-small/cut.py --model work/japanese --texts work/data/korean.json … --output work/cut
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from pathlib import Path

from base import build_tokenizer, has_hangul, texts_of
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer

EMBEDDING = "bert.embeddings.word_embeddings.weight"
SIZE = 23_600


def in_ks_x_1001(character: str) -> bool:
    """Whether the Korean standard character set has it."""
    try:
        return len(character) == 1 and bool(character.encode("euc-kr"))
    except UnicodeEncodeError:
        return False


def kept_pieces(
    vocab: list[tuple[str, float]], tokenizer: Tokenizer, texts: list[str], size: int
) -> list[int]:
    """Ids to keep, in their old order; the last one of ``vocab`` is not <mask>."""
    bare = [piece.removeprefix("▁") for piece, _ in vocab]
    kept = {0, 1, 2, 3} | {i for i, b in enumerate(bare) if not b or has_hangul(b) or in_ks_x_1001(b)}
    for encoding in tokenizer.encode_batch_fast(texts, add_special_tokens=False):
        kept.update(encoding.ids)
    latin = [i for i, b in enumerate(bare) if b and b.isascii() and i not in kept]
    latin.sort(key=lambda i: -vocab[i][1])
    kept.update(latin[: max(0, size - 1 - len(kept))])
    kept.discard(len(vocab))
    return sorted(kept)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, required=True, help="folder with the wide vocabulary")
    parser.add_argument(
        "--texts", type=Path, nargs="+", required=True, help="JSON files whose tokens must not change"
    )
    parser.add_argument("--size", type=int, default=SIZE, help=f"pieces to keep (default: {SIZE})")
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    args = parser.parse_args()
    old = Tokenizer.from_file(str(args.model / "tokenizer.json"))
    model = json.loads((args.model / "tokenizer.json").read_text(encoding="utf-8"))["model"]
    vocab = [(piece, score) for piece, score in model["vocab"] if piece != "<mask>"]
    texts = sorted({t for file in args.texts for t in texts_of(json.loads(file.read_text(encoding="utf-8")))})
    kept = kept_pieces(vocab, old, texts, args.size)
    new = build_tokenizer([vocab[i] for i in kept], mask_id=len(kept))
    before, after = (t.encode_batch(texts, add_special_tokens=False) for t in (old, new))
    changed = sum(b.tokens != a.tokens for b, a in zip(before, after, strict=True))
    args.output.mkdir(parents=True, exist_ok=True)
    state = load_file(args.model / "model.safetensors")
    state[EMBEDDING] = state[EMBEDDING][[*kept, len(vocab)]].contiguous()
    save_file(state, args.output / "model.safetensors", {"format": "pt"})
    config = json.loads((args.model / "config.json").read_text(encoding="utf-8"))
    config["vocab_size"] = len(kept) + 1
    (args.output / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    shutil.copy(args.model / "tokenizer_config.json", args.output)
    new.save(str(args.output / "tokenizer.json"))
    print(
        f"{args.output}: {len(kept) + 1} of {len(vocab) + 1} pieces; tokens of {changed} texts change",
        file=sys.stderr,
    )


if __name__ == "__main__":
    main()
