"""KoBERT's files and what the 2020 class made of texts."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from komrc.tokenization import ReaderTokenizer, load_tokenizer

SPECIAL = ("[UNK]", "[PAD]", "[CLS]", "[SEP]", "[MASK]")


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


@pytest.fixture(scope="session")
def kobert_folder(shared: Path) -> Path:
    return shared / "tokenizers/kobert"


@pytest.fixture(scope="session")
def kobert(kobert_folder: Path) -> ReaderTokenizer:
    return load_tokenizer(kobert_folder)


@pytest.fixture(scope="session")
def reference(kobert_folder: Path) -> Reference2020:
    return Reference2020(kobert_folder)
