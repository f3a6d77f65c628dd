"""What the KoBERT tokenizer of 2020 did, as a reference for its ids."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from komrc.tokenization import ReaderTokenizer


class Reference2020:
    """The steps of the 2020 KoBertTokenizer, on the sentencepiece package."""

    def __init__(self, folder: Path) -> None:
        import sentencepiece

        self.model = sentencepiece.SentencePieceProcessor()
        self.model.Load(str(folder / "tokenizer_78b3253a26.model"))
        self.pieces = (folder / "vocab.txt").read_text(encoding="utf-8").rstrip("\n").split("\n")
        self.numbers = {piece: number for number, piece in enumerate(self.pieces)}

    def clean(self, text: str) -> str:
        text = " ".join(text.strip().split()).replace("``", '"').replace("''", '"')
        return "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))

    def tokenize(self, text: str) -> list[str]:
        pieces: list[str] = []
        for piece in self.model.EncodeAsPieces(self.clean(text)):
            if len(piece) > 1 and piece[-1] == "," and piece[-2].isdigit():
                again = self.model.EncodeAsPieces(piece[:-1].replace("▁", ""))
                if piece[0] != "▁" and again[0][0] == "▁":
                    again = again[1:] if len(again[0]) == 1 else [again[0][1:], *again[1:]]
                pieces += [*again, piece[-1]]
            else:
                pieces.append(piece)
        return pieces

    def ids(self, text: str) -> list[int]:
        return [self.numbers.get(piece, 0) for piece in self.tokenize(text)]

    def score(self, pieces: list[str]) -> float:
        """Log probability of a segmentation; unknown pieces count nothing."""
        known = (self.model.PieceToId(piece) for piece in pieces)
        return sum(self.model.GetScore(number) for number in known if number != self.model.unk_id())


def differing(tokenizer: ReaderTokenizer, reference: Reference2020, texts: list[str]) -> list[str]:
    """The texts whose ids are others than in 2020, ties left out.

    A tie: two ways through the lattice with the same pieces in another order, such as 00+0 and 0+00. The 2020
    class let the rounding of its 32-bit sums decide; here sums are exact and the first way found wins.
    """
    different = []
    encodings = tokenizer.backend.encode_batch(texts, add_special_tokens=False)
    for text, tokens in zip(texts, encodings, strict=True):
        before = reference.tokenize(text)
        if reference.ids(text) != tokens.ids:
            now = [reference.pieces[number] for number in tokens.ids]
            tie = reference.score(before) == pytest.approx(reference.score(now), abs=1e-4)
            if not tie or sum(map(len, before)) < len(now):
                different.append(text)
    return different
