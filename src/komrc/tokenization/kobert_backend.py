"""KoBERT's SentencePiece file as a Rust tokenizer that gives the ids of the 2020 class.

What that class did, in order, and what does it here:

1. white space squeezed: the pre-tokenizer splits at it
2. `` and '' become ": Replace
3. NFKD, combining marks dropped: NFKD, Replace
4. SentencePiece's nmt_nfkc map: after step 3 all it still does is to put jamo together (NFC) and to turn a
   few characters into spaces (Replace)
5. unigram: Unigram, with vocab.txt's order and the model file's scores
6. a piece that ends in a comma after a digit is encoded again without it: no piece of the published file
   ends so, which is checked when the files are read
"""

from __future__ import annotations

import struct
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from komrc.errors import ModelError
from komrc.models.files import KOBERT_MODEL
from komrc.tokenization.vocabulary import read_vocab

SPECIAL_TOKENS = ("[UNK]", "[PAD]", "[CLS]", "[SEP]", "[MASK]")

# Low enough that no text reaches a special token through the unigram lattice ("［ＣＬＳ］" normalizes to its
# name). It lowers the score of unknown characters too, which decides nothing: every character of a piece is a
# piece itself, so an unknown one has no other way through the lattice.
_NEVER = -1000.0
# The scores are 32-bit floats from 2 to 32: multiples of 2**-22. As whole numbers they add up without
# rounding and pass through JSON unchanged; else ties in the lattice would be broken by the last bit.
_SCALE = 2.0**22
# What Python splits at beyond Rust's white space, and what nmt_nfkc makes a space.
_SPACES = "[\x1c-\x1f\u200b\u200e\u200f\u2581\ufeff\ufffd]"
_FIRST_MARK, _LAST_MARK = 0x300, 0x20000  # combining marks lie between them


def is_kobert(spm: Path) -> bool:
    """Whether a SentencePiece model is KoBERT's with the pieces in the order of the ids."""
    try:
        pieces, _ = _read_model(spm)
    except ModelError:
        return False
    return tuple(pieces[: len(SPECIAL_TOKENS)]) == SPECIAL_TOKENS


def build_backend(spm: Path, vocab: Path | None, *, do_lower_case: bool = False) -> Tokenizer:
    """Build the tokenizer from the published files.

    Args:
        spm: the SentencePiece model, ``tokenizer_78b3253a26.model`` or ``spiece.model``.
        vocab: ``vocab.txt``, one piece a line, in the order of the ids; None where the model has that order.
        do_lower_case: lower the text, as the 2020 class did on demand.

    Raises:
        ModelError: a file is missing, damaged or of another model.
    """
    ordered, scores = _read_model(spm)
    pieces = ordered if vocab is None else _read_pieces(vocab)
    unknown = [piece for piece in pieces if piece not in scores and piece not in SPECIAL_TOKENS]
    if unknown:
        raise ModelError(
            f"{len(unknown)} pieces are not in {spm.name}, such as {unknown[0]!r}",
            where=str(vocab or spm),
            fix="take both files from one repository, such as monologg/kobert",
        )
    backend = Tokenizer(models.Unigram([(p, scores.get(p, _NEVER) * _SCALE) for p in pieces], unk_id=0))
    steps = [
        normalizers.Replace(Regex("``|''"), '"'),
        normalizers.NFKD(),
        normalizers.Replace(Regex(_mark_class()), ""),
        *([normalizers.Lowercase()] if do_lower_case else []),
        normalizers.NFC(),
        normalizers.Replace(Regex(_SPACES), " "),
    ]
    backend.normalizer = normalizers.Sequence(steps)
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(prepend_scheme="always")]
    )
    backend.decoder = decoders.Metaspace(prepend_scheme="always")
    backend.add_special_tokens(list(SPECIAL_TOKENS))
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0",
        pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1",
        special_tokens=[(token, pieces.index(token)) for token in ("[CLS]", "[SEP]")],
    )
    return backend


def _mark_class() -> str:
    """A regular expression for characters with a combining class: those that the 2020 class dropped."""
    marks = (code for code in range(_FIRST_MARK, _LAST_MARK) if unicodedata.combining(chr(code)))
    ranges: list[list[int]] = []
    for code in marks:
        if ranges and ranges[-1][1] == code - 1:
            ranges[-1][1] = code
        else:
            ranges.append([code, code])
    return "[" + "".join(f"\\x{{{first:x}}}-\\x{{{last:x}}}" for first, last in ranges) + "]+"


def _read_pieces(path: Path) -> list[str]:
    pieces = read_vocab(path)
    if tuple(pieces[:5]) != SPECIAL_TOKENS or len(set(pieces)) != len(pieces):
        raise ModelError(
            f"is not KoBERT's vocabulary: it starts with {', '.join(pieces[:5])}",
            where=str(path),
            fix=f"it must start with {', '.join(SPECIAL_TOKENS)} and repeat no piece",
        )
    return pieces


def _read_model(path: Path) -> tuple[list[str], dict[str, float]]:
    """A SentencePiece file's pieces in their order, and the log probabilities of the ordinary ones.

    The file is a protocol buffer, read without its library.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelError(f"can't be read ({error})", where=str(path), fix="download it again") from error
    pieces: list[str] = []
    scores: dict[str, float] = {}
    name = b""
    try:
        for field, value in _fields(data):
            if field == 1 and isinstance(
                value, bytes
            ):  # a piece: 1 text, 2 score, 3 type (1: an ordinary one)
                piece = dict(_fields(value))
                pieces.append(_bytes(piece[1]).decode("utf-8"))
                if piece.get(3, 1) == 1:
                    score: float = struct.unpack("<f", _bytes(piece[2]))[0]
                    scores[pieces[-1]] = score
            elif field == 3 and isinstance(value, bytes):  # the normalizer: 1 its name
                name = _bytes(dict(_fields(value)).get(1, b""))
    except (ValueError, KeyError, IndexError, struct.error) as error:
        raise ModelError(
            "is no SentencePiece model, or cut off", where=str(path), fix="download it again"
        ) from error
    if name != b"nmt_nfkc" or _ends_in_number_comma(scores):
        raise ModelError(
            "is a SentencePiece model, but not KoBERT's",
            where=str(path),
            fix=f"take {KOBERT_MODEL} from monologg/kobert or monologg/distilkobert",
        )
    return pieces, scores


def _ends_in_number_comma(pieces: Iterable[str]) -> bool:
    return any(len(piece) > 1 and piece[-1] == "," and piece[-2].isdigit() for piece in pieces)


def _bytes(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise ValueError("a number where bytes belong")
    return value


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The fields of a protocol buffer message, in order: (number, varint or bytes)."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        kind = key & 7
        if kind == 0:
            value, at = _varint(data, at)
            yield key >> 3, value
            continue
        if kind == 2:
            size, at = _varint(data, at)
        elif kind in (1, 5):
            size = 8 if kind == 1 else 4
        else:
            raise ValueError(f"wire type {kind}")
        if at + size > len(data):
            raise ValueError("cut off")
        yield key >> 3, data[at : at + size]
        at += size


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
