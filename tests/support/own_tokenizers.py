"""Tokenizer files of our own in the forms of the published ones, counted from data/everyday (CC0).

They have what tests need to see: single characters, whole words, the forms that normalization makes, and
characters that are missing. Counting is deterministic, so expected ids and offsets don't depend on a trainer.
"""

from __future__ import annotations

import io
import json
import math
import unicodedata
from collections import Counter
from functools import cache
from pathlib import Path

from komrc.models.files import KOBERT_MODEL, VOCAB
from komrc.tokenization.kobert_backend import SPECIAL_TOKENS

EVERYDAY = Path(__file__).resolve().parents[2] / "data/everyday"
# Pieces that tests ask for by name. KoBERT has them, too.
NAMED = ("▁한국", "한국", "▁세종", "▁모델", "▁공유", "▁BC", "▁1⁄2", "▁각", "1,000", '"')
NAMED_SCORE = -5.0  # better than any way through single characters
SIZE = 3000


@cache
def everyday_texts(part: str) -> tuple[str, ...]:
    """The contexts and questions of one part of data/everyday: "train", "dev" or "test"."""
    document = json.loads((EVERYDAY / f"{part}.json").read_text(encoding="utf-8"))
    paragraphs = [paragraph for article in document["data"] for paragraph in article["paragraphs"]]
    return tuple(
        text for paragraph in paragraphs
        for text in (paragraph["context"], *(question["question"] for question in paragraph["qas"]))
    )  # fmt: skip


def kobert_files(folder: Path) -> Path:
    """Write a SentencePiece model and ``vocab.txt`` in KoBERT's form; returns the folder.

    As in KoBERT's, the two files have different orders, the normalizer is ``nmt_nfkc``, scores are 32-bit
    floats below -2, and no piece ends in a comma after a digit.
    """
    import sentencepiece
    from sentencepiece import sentencepiece_model_pb2

    folder.mkdir(parents=True, exist_ok=True)
    rules = folder / "rules.tsv"
    rules.write_text(_normalizer_rules(), encoding="utf-8")
    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.Train(  # only for the compiled rules
        sentence_iterator=iter(["가 나 다 라"]), model_writer=written, vocab_size=8, hard_vocab_limit=False,
        normalization_rule_tsv=str(rules), minloglevel=2, num_threads=1,
    )  # fmt: skip
    rules.unlink()
    model = sentencepiece_model_pb2.ModelProto()
    model.ParseFromString(written.getvalue())
    del model.pieces[:]
    for name, kind in (("<unk>", 2), ("<s>", 3), ("</s>", 3)):
        model.pieces.add(piece=name, score=0.0, type=kind)
    scores = _piece_scores()
    for piece, score in sorted(scores.items(), key=lambda entry: (-entry[1], entry[0])):
        model.pieces.add(piece=piece, score=score, type=1)
    model.trainer_spec.vocab_size = len(model.pieces)
    model.normalizer_spec.name = "nmt_nfkc"
    (folder / KOBERT_MODEL).write_bytes(model.SerializeToString())
    (folder / VOCAB).write_text(
        "".join(f"{p}\n" for p in (*SPECIAL_TOKENS, *sorted(scores))), encoding="utf-8"
    )
    return folder


def _piece_scores() -> dict[str, float]:
    """Log frequencies of the characters and the most frequent parts of words, as multiples of 2**-22."""
    counts: Counter[str] = Counter()
    characters = set()
    for text in everyday_texts("dev"):
        decomposed = unicodedata.normalize("NFKD", text)
        kept = "".join(c for c in decomposed if not unicodedata.combining(c))
        for word in unicodedata.normalize("NFC", kept).split():
            marked = "".join(c if _has_piece(c) else " " for c in f"▁{word}")
            characters |= set(marked) - {" "}
            for run in marked.split():
                parts = (run[i : i + size] for i in range(len(run)) for size in (1, 2, 3, 4))
                counts.update(part for part in parts if not _number_comma(part))
    frequent = [piece for piece, _ in sorted(counts.items(), key=lambda entry: (-entry[1], entry[0]))]
    # Every character of a piece is a piece itself, as in every SentencePiece model.
    characters |= set("".join(NAMED)) | {chr(code) for code in range(0x21, 0x7F)}
    chosen = dict.fromkeys([*sorted(characters), *frequent[:SIZE]])
    total = counts.total()
    scores = {piece: min(math.log((counts[piece] or 0.5) / total), -2.5) for piece in chosen}
    scores |= dict.fromkeys((piece for piece in NAMED if len(piece) > 1), NAMED_SCORE)
    return {piece: math.floor(score * 2**18) / 2**18 for piece, score in scores.items()}


def _normalizer_rules() -> str:
    """What the ``nmt_nfkc`` of KoBERT's file does with text in NFKD without marks: composes jamo and makes
    some invisible characters spaces. The table of today's sentencepiece also drops control characters."""
    rules = [f"{ord(character):X}\t20" for character in "\u200b\u200e\u200f\u2581\ufeff\ufffd"]
    for character in map(chr, range(0xA0, 0x20000)):
        parts = unicodedata.normalize("NFD", character)
        marked = any(unicodedata.combining(part) for part in parts)
        if len(parts) > 1 and not marked and unicodedata.normalize("NFC", parts) == character:
            rules.append(f"{' '.join(f'{ord(part):X}' for part in parts)}\t{ord(character):X}")
    return "\n".join(rules) + "\n"


def _has_piece(character: str) -> bool:
    """Hangul, ASCII and punctuation; emoji and hanja stay unknown."""
    return (
        character < "\x7f"
        or "가" <= character <= "힣"
        or unicodedata.category(character)[0] == "P"
        or character == "▁"
    )


def _number_comma(piece: str) -> bool:
    return len(piece) > 1 and piece[-1] == "," and piece[-2].isdigit()


def wordpiece_files(folder: Path, *, special_last: bool = False, parts: bool = True) -> Path:
    """Write ``vocab.txt`` of a BERT: special tokens first or last; whole words and characters only, or with
    frequent parts of words, too. Returns the folder."""
    counts: Counter[str] = Counter()
    characters: set[str] = set()
    for text in everyday_texts("dev"):
        for word in unicodedata.normalize("NFC", text).split():
            letters = "".join(c for c in word if c.isalnum())
            characters |= set(word)
            counts[letters] += 1
            if parts:
                starts = range(1, len(letters))
                counts.update(f"##{letters[i : i + size]}" for i in starts for size in (2, 3))
    singles = [form for c in sorted(characters) for form in (c, f"##{c}")]
    frequent = [
        piece for piece, _ in sorted(counts.items(), key=lambda entry: (-entry[1], entry[0])) if piece
    ]
    pieces = list(dict.fromkeys([*singles, *frequent[:SIZE]]))
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    folder.mkdir(parents=True, exist_ok=True)
    ordered = [*pieces, *special] if special_last else [*special, *pieces]
    (folder / VOCAB).write_text("".join(f"{piece}\n" for piece in ordered), encoding="utf-8")
    return folder
