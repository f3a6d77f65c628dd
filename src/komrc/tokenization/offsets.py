"""The one place that makes offsets exact where the Rust pipeline can't.

The Rust normalizers map a character that several raw ones were merged into (a syllable from three jamo) to
one of them only, and forget raw characters that they remove (accents, zero-width characters). A token that is
nothing but the mark of a word's start gets the first character of that word. Here every raw character but
white space ends up in a token, and such marks become empty spans.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import tokenizers

from komrc.text.invisible import VisibleText
from komrc.types import Span

Offsets = tuple[int, int]
WORD_START = "▁"

# Characters that no normalizer merges or removes: ASCII, letters, syllables, ideographs, symbols. Any other
# (jamo, marks, controls, zero-width, spacing accents, doubled quotes) makes a text need care.
_CARE = re.compile(
    "``|''|[^\t\n\r -~\xa0-\xa7\xa9-\xac\xae\xb0-\xb3\xb5-\xb7\xb9-\u02af"
    "\u0391-\u03ff\u0400-\u0482\u048a-\u052f"
    "\u1e00-\u1eff\u2010-\u2016\u2018-\u2027\u2030-\u203d\u20a0-\u20bf\u2100-\u2580\u2582-\u26ff\u3000-\u3029\u3041-\u3096"
    "\u30a1-\u30fc\u3200-\u33ff\u4e00-\u9fff\uac00-\ud7a3\uff01-\uff5e]"
)
_SOLID = re.compile(r"\S+")


@dataclass(frozen=True, slots=True)
class Edges:
    """Token edges that must move, in one text: old position -> new position."""

    starts: Mapping[int, int]
    ends: Mapping[int, int]

    def move(self, offsets: Offsets) -> Offsets:
        """The exact span of a token."""
        start, end = offsets
        return self.starts.get(start, start), self.ends.get(end, end)


def needs_care(text: str) -> bool:
    """Whether a normalizer may merge or remove characters of the text."""
    return _CARE.search(text) is not None


def moved_edges(text: str, offsets: Iterable[Offsets]) -> Edges:
    """Find the edges to move so that the tokens cover every character but white space.

    Args:
        text: the raw text.
        offsets: half-open code-point spans of all its tokens, in order, without marks of a word's start.
    """
    starts: dict[int, int] = {}
    ends: dict[int, int] = {}
    reached: int | None = None  # where the tokens so far end
    for start, end in offsets:
        lost = list(_SOLID.finditer(text, reached or 0, start)) if start > (reached or 0) else []
        if lost:
            cut = lost[0].start() if reached is None else _cut(text, reached, start, lost[-1])
            if cut < start:
                starts[start] = cut
            kept = [min(run.end(), cut) for run in lost if run.start() < cut]
            if kept and reached is not None:
                ends[reached] = kept[-1]
        reached = max(reached or 0, end)
    if reached is not None and (lost := list(_SOLID.finditer(text, reached))):
        ends[reached] = lost[-1].end()
    return Edges(starts, ends)


def _cut(text: str, reached: int, start: int, last: re.Match[str]) -> int:
    """From which position on the characters lost between two tokens belong to the second one.

    Args:
        text: the raw text.
        reached: where the first token ends.
        start: where the second token starts.
        last: the last run of lost characters between them.
    """
    if last.end() < start:
        return start
    if text[start - 1] == text[start] and text[start] in "`'":
        return start - 1  # a doubled quote became one character, mapped to its second half
    return last.start() if last.start() > reached else start


class OffsetRepair:
    """Exact offsets for one backend.

    Args:
        backend: a tokenizer without truncation.
    """

    def __init__(self, backend: tokenizers.Tokenizer) -> None:
        self._backend = backend
        marks_words = "Metaspace" in str(backend.pre_tokenizer)
        self._mark = backend.token_to_id(WORD_START) if marks_words else None
        probe = "가 나 1 2 a b"
        spans = backend.encode(probe, add_special_tokens=False).offsets
        self._takes_spaces = any(probe[start:end] != probe[start:end].strip() for start, end in spans)

    def edges(self, text: str, encoding: tokenizers.Encoding | None = None) -> Edges | None:
        """The edges to move in a text, None where none can need it.

        ``encoding`` is that of the whole text, where it is known.
        """
        if not needs_care(text):
            return None
        if encoding is None:
            encoding = self._backend.encode(text, add_special_tokens=False)
        pairs = zip(encoding.ids, encoding.offsets, strict=True)
        return moved_edges(text, [span for token, span in pairs if token != self._mark])

    def exact(
        self, text: str, ids: Sequence[int], offsets: list[Offsets], edges: Edges | None
    ) -> list[Offsets]:
        """The exact spans of a text's tokens, or of some of them in a row."""
        if edges is not None:
            offsets = [edges.move(span) for span in offsets]
        if self._takes_spaces:
            offsets = [_stripped(text, span) for span in offsets]
        if self._mark is not None and self._mark in ids:
            offsets = [
                (span[0], span[0]) if token == self._mark else span
                for token, span in zip(ids, offsets, strict=True)
            ]
        return offsets


def _stripped(text: str, span: Offsets) -> Offsets:
    start, end = span
    piece = text[start:end]
    start += len(piece) - len(piece.lstrip())
    return start, max(start, start + len(piece.strip()))


class TokenizedText:
    """The tokens of a whole text, without special tokens.

    Args:
        seen: the text without its invisible characters.
        encoding: what the backend made of that.
        repair: of the backend.
    """

    def __init__(self, seen: VisibleText, encoding: tokenizers.Encoding, repair: OffsetRepair) -> None:
        self.ids: list[int] = encoding.ids
        self._seen = seen
        self._encoding = encoding
        self._repair = repair

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def offsets(self) -> list[Offsets]:
        """Half-open code-point spans of the raw text; none begins or ends in white space or with an
        invisible character.

        The span of a token that only marks a word's start is empty and at that start.
        """
        text = self._seen.text
        edges = self._repair.edges(text, self._encoding)
        found = self._repair.exact(text, self.ids, self._encoding.offsets, edges)
        if self._seen.places is None:
            return found
        raw = [self._seen.raw(Span(*span)) for span in found]
        return [(span.start, span.end) for span in raw]


class ExactEncoding:
    """A ``tokenizers.Encoding`` whose answers about characters are exact; all else is passed through.

    Args:
        encoding: what the backend returned, special tokens and all.
        texts: the raw text or the pair of them.
        edges: of each text.
        repair: of the backend.
    """

    def __init__(
        self,
        encoding: tokenizers.Encoding,
        texts: Sequence[str],
        edges: Sequence[Edges | None],
        repair: OffsetRepair,
    ) -> None:
        self._encoding = encoding
        self._texts = texts
        self._edges = edges
        self._repair = repair

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self._encoding, name)

    def __len__(self) -> int:
        return len(self._encoding)

    @property
    def overflowing(self) -> list[ExactEncoding]:
        """The further windows, as ``tokenizers.Encoding.overflowing`` gives them."""
        return [
            ExactEncoding(part, self._texts, self._edges, self._repair) for part in self._encoding.overflowing
        ]

    @cached_property
    def offsets(self) -> list[Offsets]:
        """Half-open code-point spans; (0, 0) for special tokens."""
        exact = list(self._encoding.offsets)
        sides = self._encoding.sequence_ids
        ids = self._encoding.ids
        for side, text in enumerate(self._texts):
            at = [i for i, found in enumerate(sides) if found == side]
            spans = self._repair.exact(text, [ids[i] for i in at], [exact[i] for i in at], self._edges[side])
            for i, span in zip(at, spans, strict=True):
                exact[i] = span
        return exact

    def token_to_chars(self, token_index: int) -> Offsets | None:
        """The characters of a token; None for a special token."""
        return None if self._encoding.token_to_sequence(token_index) is None else self.offsets[token_index]

    def char_to_token(self, char_pos: int, sequence_index: int = 0) -> int | None:
        """The first token that covers a character."""
        sides = self._encoding.sequence_ids
        for i, (start, end) in enumerate(self.offsets):
            if sides[i] == sequence_index and start <= char_pos < end:
                return i
        return None

    def word_to_chars(self, word_index: int, sequence_index: int = 0) -> Offsets | None:
        """The characters of a word."""
        tokens = self._encoding.word_to_tokens(word_index, sequence_index)
        return None if tokens is None else (self.offsets[tokens[0]][0], self.offsets[tokens[1] - 1][1])

    def char_to_word(self, char_pos: int, sequence_index: int = 0) -> int | None:
        """The word that covers a character."""
        token = self.char_to_token(char_pos, sequence_index)
        return None if token is None else self._encoding.word_ids[token]
