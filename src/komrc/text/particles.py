"""Cutting particles (조사), the copula (이다) and endings (어미) off the end of an answer.

For checkpoints that answer with whole words. The sentence around the answer is analysed by kiwipiepy, not
the answer alone: "이" is a particle in "왕이 왔다" and a part of the word in "적색편이가 크다".
"""

from __future__ import annotations

import os
import re
import unicodedata
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from komrc import system
from komrc.errors import require
from komrc.text.graphemes import cut_points
from komrc.text.marks import CLOSING, PAIRS
from komrc.text.sentences import sentence_around, sentences
from komrc.types import Span

if TYPE_CHECKING:
    from kiwipiepy import Kiwi

_REACH = 160  # characters of the sentence on either side of the answer
_WORD = re.compile(r"\S+")
_TEXTS_AT_ONCE = 64
_PUNCTUATION = ".,;:!?…·。、，"
_NOMINAL = frozenset({"NNG", "NNP", "NNB", "NR", "NP", "XSN", "XR", "SL", "SH", "SN", "SW", "SSC", "ETN"})
_STACKED_NEVER = frozenset({"JKS", "JKC", "JKO", "JKG"})  # no particle of case follows these


_AFTER_SYMBOL = re.compile(
    r"[%‰°℃℉㎜㎝㎞㎡㎢㎎㎏](?:으로|로|에서|에게|에|까지|부터|보다|이|가|을|를|의|와|과)?(?:는|은|도|만|의)?$"
)
# What an unknown name swallows, by whether the syllable before it has a final consonant.
_SWALLOWED = {
    True: ("으로", "에서", "은", "이", "을", "과", "의", "에"),
    False: ("로", "에서", "는", "가", "를", "와", "의", "에"),
}


@dataclass(frozen=True, slots=True)
class _Token:
    """A morpheme; ``start`` and ``end`` are code points of the raw context."""

    tag: str
    start: int
    end: int


@cache
def _kiwi(process: int) -> Kiwi:  # noqa: ARG001 -- a fork has none of its parent's threads, so needs its own
    require(
        "kiwipiepy",
        extra="kiwi",
        purpose="the analysis of particles",
        where="--trim-particles kiwi, --particle-labels",
        instead="leave the option out, or train with --no-particle-labels",
    )
    from kiwipiepy import Kiwi

    return Kiwi(num_workers=min(4, system.cores()))


_lock = Lock()


def _analyse(texts: list[str]) -> list[list[_Token]]:
    """Morphemes of each text, offsets in its code points; several texts at once use several threads."""
    with _lock:  # one batch at a time: kiwipiepy spreads it over its own threads
        results = list(_kiwi(os.getpid()).tokenize(texts, z_coda=False))
    return [[_Token(str(t.tag), t.start, t.start + t.len) for t in result] for result in results]


def _compose(text: str) -> tuple[str, list[int] | None]:
    """The text in NFC, which kiwipiepy expects, and for each of its code points (and the end) the start of
    its grapheme in the given text; None where the two are the same."""
    if unicodedata.is_normalized("NFC", text):
        return text, None
    cuts = cut_points(text)
    starts = range(len(text) + 1) if cuts is None else np.flatnonzero(cuts).tolist()
    composed: list[str] = []
    places: list[int] = []
    for start, end in pairwise(starts):
        cluster = unicodedata.normalize("NFC", text[start:end])
        composed.append(cluster)
        places += [start] * len(cluster)
    return "".join(composed), [*places, len(text)]


def _unmatched(text: str) -> tuple[list[int], list[int]]:
    """The opening marks that are not closed in the text, and the closing ones not opened in it."""
    opened: list[int] = []
    closed: list[int] = []
    for i, character in enumerate(text):
        partner = next((j for j in reversed(opened) if PAIRS[text[j]] == character), None)
        if partner is not None:  # what was opened since then, such as an apostrophe, stays alone
            del opened[opened.index(partner) :]
        elif character in PAIRS:
            opened.append(i)
        elif character in CLOSING:
            closed.append(i)
    return opened, closed


def _enclosed(text: str) -> bool:
    """Whether one pair of marks is around the whole text, and something in it."""
    return len(text) > 2 and PAIRS.get(text[0]) == text[-1] and _unmatched(text[1:-1]) == ([], [])


def _strip_marks(context: str, start: int, end: int) -> tuple[int, int]:
    """The span without white space and punctuation at its ends, marks whose other half is outside, and a
    gloss that is cut off in its middle, as in "존(John"."""
    while start < end:
        first, last = context[start], context[end - 1]
        opened, closed = _unmatched(context[start:end])
        gloss = next((i for i in opened if context[start + i] in "([（"), 0)
        abbreviated = last in ".!?" and _latin(context[end - 2 : end - 1])
        if last.isspace() or end - start - 1 in closed or (last in _PUNCTUATION and not abbreviated):
            end -= 1
        elif first.isspace() or 0 in opened:
            start += 1
        elif gloss:
            end = start + gloss
        else:
            break
    return start, end


def _latin(text: str) -> bool:
    return text.isascii() and text.isalpha()


def _readable(text: str) -> bool:
    return any(character.isalnum() for character in text)


def _tail(context: str, start: int, end: int, tokens: Sequence[_Token]) -> int:
    """Where the answer ends once the particles, copula and endings at its end are cut."""
    inside = [token for token in tokens if token.start < end and token.end > start]
    if not inside:
        return end
    following = next((token for token in tokens if token.start >= end), None)
    symbol = _AFTER_SYMBOL.search(context, start, end)
    if symbol and symbol.start() + 1 < end and inside[-1].end == end:
        return symbol.start() + 1  # kiwipiepy takes the syllable in "41%를" for a word
    keep = len(inside)  # tokens that stay
    while keep > 1:
        step = _step(context, inside, keep)
        if not step:
            break
        keep -= step
    if keep == len(inside):
        return _swallowed(context, inside[-1], end)
    cut = inside[keep].start
    removed = inside[keep:]
    joined = following.tag if following is not None and following.start == end else ""
    stays = (
        cut <= start
        or any(token.end > cut for token in inside[:keep])  # a contraction: two morphemes, one syllable
        or (joined and _never_before(removed[-1].tag, joined))  # as in "적색편이|가"
        or (len(removed) == 1 and _part_of_name(context, cut, end))
        or not _readable(context[start:cut])
    )
    return end if stays else cut


def _never_before(tag: str, following: str) -> bool:
    """Whether a particle or ending is never right before a morpheme of the other kind."""
    if following == "XSN" or tag in _STACKED_NEVER:
        return following == "XSN" or following[0] in "JV"
    return tag[0] == "E" and following in ("JKS", "JKC", "JKO", "JKG", "JKB")


def _part_of_name(context: str, cut: int, end: int) -> bool:
    """Whether the syllable at ``[cut, end)`` belongs to the word: elsewhere in the context the word carries
    another particle behind it, as in "적색편이가", and is never used without it."""
    if context[cut:end] not in ("이", "가", "로", "의"):
        return False
    start = cut
    while start > 0 and context[start - 1].isalnum():
        start -= 1
    stem, whole = context[start:cut], context[start:end]
    if len(stem) < 2 or context.count(stem) > context.count(whole):
        return False
    return re.search(re.escape(whole) + "[을를은는가의와과]", context) is not None


def _swallowed(context: str, last: _Token, end: int) -> int:
    """Where the answer ends without the particle that the analysis took for the end of an unknown name.

    The name must be elsewhere in the context without it.
    """
    if last.tag not in ("NNP", "NNG") or last.end != end or context[end : end + 1].isalnum():
        return end
    for length in (2, 1):
        cut = end - length
        if cut - last.start < 2 or not "가" <= context[cut - 1] <= "힣":
            continue
        stem, whole = context[last.start : cut], context[last.start : end]
        coda = (ord(context[cut - 1]) - ord("가")) % 28 > 0
        if context[cut:end] in _SWALLOWED[coda] and context.count(stem) > context.count(whole):
            return cut
    return end


def _step(context: str, inside: Sequence[_Token], keep: int) -> int:
    """How many of the last of ``inside[:keep]`` are cut next: a particle, or endings with their copula."""
    last, before = inside[keep - 1], inside[keep - 2]
    word = context[last.start : last.end]
    if last.tag.startswith("J"):
        unit = word in ("만", "도") and context[before.end - 1].isdigit()
        return 0 if unit and before.end == last.start else 1
    if last.tag == "NNB" and word in ("때문", "만") and keep < len(inside):  # "전쟁 때문에", "나흘 만에"
        return 0 if context[before.end - 1].isdigit() else 1
    endings = 0
    while endings < keep and inside[keep - 1 - endings].tag in ("EP", "EF", "EC", "ETM"):
        endings += 1
    if endings in (0, keep):
        return 0
    base = inside[keep - 1 - endings]
    if base.tag == "VCP":
        return endings + 1 if keep > endings + 1 else 0
    if base.tag in _NOMINAL:
        return endings
    clause = any(token.tag in ("JKS", "JKO") for token in inside[: keep - endings])
    verb = base.tag in ("XSV", "XSA") and not clause
    return endings + 1 if verb and keep > endings + 1 else 0


def _trimmed(context: str, start: int, end: int, tokens: Sequence[_Token]) -> Span:
    if start > 0 and end < len(context) and PAIRS.get(context[start - 1]) == context[end]:
        return Span(start, end)  # a whole title or quotation
    low, high = start, end
    particle = False
    while not _enclosed(context[low:high]):
        first, last = _strip_marks(context, low, high)
        if first < last and not _enclosed(context[first:last]):
            tail = _tail(context, first, last, tokens)
            particle = particle or tail < last
            last = _without_gloss(context, first, tail) if particle else tail
        if (first, last) == (low, high):
            break
        low, high = first, last
    if _enclosed(context[low:high]):  # a whole title: what ends it is its own
        low, high = low + 1, high - 1
    cuts = cut_points(context[start:end])
    whole = cuts is None or bool(cuts[low - start] and cuts[high - start])
    return Span(low, high) if whole and _readable(context[low:high]) else Span(start, end)


def _without_gloss(context: str, start: int, end: int) -> int:
    """The end of the answer before a gloss in brackets that a particle followed, as in "세종(世宗)은": seven
    in eight references leave it out."""
    if context[end - 1] not in ")）":
        return end
    opened = _unmatched(context[start : end - 1])[0]
    return start + opened[-1] if opened and _readable(context[start : start + opened[-1]]) else end


def trim_many(items: Sequence[tuple[str, int, int]]) -> list[Span]:
    """The answers ``context[start:end]`` without particles at their ends, in the order given.

    Args:
        items: context, start and end of each answer, in code points.

    Returns:
        Spans that lie within the given ones; equal to them where nothing is to be cut.

    Raises:
        UsageError: kiwipiepy is not installed.
    """
    windows: dict[str, int] = {}
    where: list[tuple[int, int]] = []
    for context, start, end in items:
        around = sentence_around(context, Span(start, end), reach=_REACH)
        text = context[around.start : around.end]
        where.append((around.start, windows.setdefault(text, len(windows))))
    composed = [_compose(text) for text in windows]
    analysed = _analyse([text for text, _ in composed]) if windows else []
    spans = []
    for (context, start, end), (low, number) in zip(items, where, strict=True):
        tokens = _placed(analysed[number], low, composed[number][1])
        spans.append(_trimmed(context, start, end, tokens))
    return spans


def trim_tokens(
    contexts: Sequence[str], tokens: Sequence[NDArray[np.int32]], *, advance: Callable[[int], object]
) -> list[NDArray[np.int32]]:
    """Where an answer would end, were each of these tokens its last one.

    Each sentence is analysed once, and the answer is taken to begin with the token's word.

    Args:
        contexts: D texts.
        tokens: of each text, the characters ``[start, end)`` of its tokens in order, [tokens, 2].
        advance: called with the number of texts done since the last call.

    Returns: of each text, the ends, [tokens]; the token's own end where nothing is to be cut.
    """
    ends = []
    for at in range(0, len(contexts), _TEXTS_AT_ONCE):
        chunk = contexts[at : at + _TEXTS_AT_ONCE]
        bounds_of = [sentences(context) for context in chunk]
        composed = [
            _compose(context[sentence.start : sentence.end])
            for context, bounds in zip(chunk, bounds_of, strict=True)
            for sentence in bounds
        ]
        analysed = zip(_analyse([text for text, _ in composed]), composed, strict=True)
        for context, bounds, spans in zip(chunk, bounds_of, tokens[at:], strict=False):
            morphemes = [
                m
                for sentence, (tokens_found, (_, places)) in zip(bounds, analysed, strict=False)
                for m in _placed(tokens_found, sentence.start, places)
            ]
            ends.append(_token_ends(context, spans, morphemes))
        advance(len(chunk))
    return ends


def _token_ends(context: str, spans: NDArray[np.int32], morphemes: Sequence[_Token]) -> NDArray[np.int32]:
    words = [match.span() for match in _WORD.finditer(context)]
    word_starts = [start for start, _ in words]
    begins = [morpheme.start for morpheme in morphemes]
    ends = spans[:, 1].copy()
    for i, (_, end) in enumerate(spans.tolist()):
        number = bisect_left(word_starts, end) - 1
        if number < 0 or words[number][1] < end:
            continue  # white space, or a token that reaches over words
        low, high = words[number]
        near = morphemes[bisect_left(begins, low) : bisect_left(begins, high) + 1]
        ends[i] = _trimmed(context, low, end, near).end
    return ends


def _placed(tokens: Sequence[_Token], low: int, places: list[int] | None) -> list[_Token]:
    """Morphemes of a text that begins at ``low``, in the context's code points."""
    if places is None:
        return [_Token(t.tag, low + t.start, low + t.end) for t in tokens]
    return [_Token(t.tag, low + places[t.start], low + places[t.end]) for t in tokens]


def trim(context: str, start: int, end: int) -> Span:
    """One answer ``context[start:end]`` without particles at its end. See :func:`trim_many`."""
    return trim_many([(context, start, end)])[0]
