"""The markers of blocks as tokens: one row of the vocabulary for each kind, and a view's tokens with them.

A marker needs a row that no text uses. BERT's and ELECTRA's vocabularies keep such rows ("[unused0]", …).
KoBERT, enliple and KoMRC's own encoder have none: there a marker is the row of a rare symbol such as "☞",
which the encoder has at least seen as a symbol. If a page has that symbol itself, it gets the same row, which
costs nothing but the difference between the two.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from komrc.errors import ModelError
from komrc.html.view import MARKERS
from komrc.tokenization import ReaderTokenizer

_UNUSED = re.compile(r"[\[<]unused_?(\d+)[\]>]")
_RARE_SYMBOLS = (  # the rarest in Korean text first
    "☞♣♠◑◈▣♡☏♨▽△◁▷◇□◎☜♧♤◐♥♪♬▦▤▥▧▨▩◆■▲▼◀▶●○★☆※→←↑↓↔⇒∴∵∞≪≫∽∝∮§¶†‡【】『』〔〕「」〓"
)
_PIECE = re.compile(f"[{''.join(MARKERS.values())}]|[^{''.join(MARKERS.values())}]+")


@dataclass(frozen=True, slots=True)
class MarkedTokens:
    """Tokens of a view without special tokens: ids, and half-open code-point offsets in the view."""

    ids: list[int]
    offsets: list[tuple[int, int]]


@lru_cache(maxsize=4)
def marker_ids(tokenizer: ReaderTokenizer) -> dict[str, int]:
    """The vocabulary row of each marker, all different; the same for the same tokenizer.

    Raises ModelError for a vocabulary with too few free rows and rare symbols.
    """
    unused = sorted(
        (int(match[1]), row)
        for name, row in tokenizer.backend.get_vocab().items()
        if (match := _UNUSED.fullmatch(name))
    )
    rows = [row for _, row in unused]
    if len(rows) < len(MARKERS):
        encodings = tokenizer.encode_many(list(_RARE_SYMBOLS))
        # A SentencePiece vocabulary may have a token for the beginning of the word in front of it.
        single = [
            encoding.ids[-1]
            for encoding in encodings
            if all(start == end for start, end in encoding.offsets[:-1])
        ]
        rows += [row for row in dict.fromkeys(single) if row not in tokenizer.unknown_ids]
    if len(rows) < len(MARKERS):
        raise ModelError(
            f"the tokenizer has {len(rows)} rows for the {len(MARKERS)} kinds of blocks of an HTML page",
            fix="use a tokenizer with [unused] tokens",
        )
    return dict(zip(MARKERS.values(), rows, strict=False))


def encode_view(tokenizer: ReaderTokenizer, text: str, rows: dict[str, int]) -> MarkedTokens:
    """The tokens of a view's text: a marker is one token, text between two markers is tokenized alone."""
    pieces = [(match.start(), match[0]) for match in _PIECE.finditer(text)]
    texts = [piece for _, piece in pieces if piece not in rows]
    encodings = iter(tokenizer.encode_many(texts))
    ids: list[int] = []
    offsets: list[tuple[int, int]] = []
    for place, piece in pieces:
        if piece in rows:
            ids.append(rows[piece])
            offsets.append((place, place + 1))
            continue
        encoding = next(encodings)
        ids += encoding.ids
        offsets += [(place + start, place + end) for start, end in encoding.offsets]
    return MarkedTokens(ids, offsets)


def encode_views(tokenizer: ReaderTokenizer, texts: Sequence[str]) -> list[MarkedTokens]:
    """The tokens of each text; see ``encode_view``."""
    rows = marker_ids(tokenizer)
    return [encode_view(tokenizer, text, rows) for text in texts]
