"""Groups of questions, each split into slices by one property of the question, its answer or its place."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from komrc.types import Example, Gold

if TYPE_CHECKING:
    from komrc.config import WindowConfig
    from komrc.tokenization import ReaderTokenizer

_QUOTES = frozenset("'\"‘’“”《》〈〉「」『』´`")
_HANJA = re.compile("[\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
_LATIN = re.compile("[A-Za-z\u00c0-\u024f]")
_DIGITS_ALONE = re.compile(r"[\d\s.,~:/+−–-]*")

# The first that is in the question decides; counting words come before "무엇", for "몇 년" asks when.
_QUESTION_WORDS = (
    ("who", re.compile("누구|누가|누군|누굴")),
    ("how_many", re.compile("몇|얼마")),
    ("when", re.compile("언제")),
    ("where", re.compile("어디|어딜|어딘")),
    ("why", re.compile("왜|이유|까닭|원인")),
    ("how", re.compile("어떻게")),
    ("what", re.compile("무엇|무슨|무얼|뭐|뭘|뭔")),
    ("which", re.compile("어떤|어느")),
)


def _bands(limits: Sequence[float], names: Sequence[str], value: float) -> str:
    return names[sum(value > limit for limit in limits)]


def _gold(example: Example) -> Gold:
    return example.answers[0]


def _particle(example: Example) -> str:
    """Whether a letter follows the answer without a space: in Korean a particle, copula or suffix."""
    following = example.context[_gold(example).end : _gold(example).end + 1]
    return "attached" if following and unicodedata.category(following)[0] == "L" else "free"


def _length(example: Example) -> str:
    return _bands((3, 6, 12), ("1-3", "4-6", "7-12", "13+"), len(_gold(example).text))


def _number(example: Example) -> str:
    text = _gold(example).text
    if not any(character.isdigit() for character in text):
        return "none"
    return "digits" if _DIGITS_ALONE.fullmatch(text) else "digits_and_unit"


def _quoted(example: Example) -> str:
    gold = _gold(example)
    around = example.context[max(0, gold.start - 1) : gold.start] + example.context[gold.end : gold.end + 1]
    if any(character in _QUOTES for character in gold.text):
        return "inside"
    return "around" if any(character in _QUOTES for character in around) else "none"


def _question_word(example: Example) -> str:
    return next((name for name, word in _QUESTION_WORDS if word.search(example.question)), "other")


def _paragraph(example: Example) -> str:
    return _bands((400, 600, 1000), ("<=400", "401-600", "601-1000", ">1000"), len(example.context))


def _position(example: Example) -> str:
    share = _gold(example).start / max(1, len(example.context))
    return _bands((0.25, 0.5, 0.75), ("q1", "q2", "q3", "q4"), share)


_BY_TEXT: dict[str, tuple[tuple[str, ...], Callable[[Example], str]]] = {
    "particle": (("attached", "free"), _particle),
    "answer_length": (("1-3", "4-6", "7-12", "13+"), _length),
    "number": (("none", "digits", "digits_and_unit"), _number),
    "hanja": (("no", "yes"), lambda e: "yes" if _HANJA.search(_gold(e).text) else "no"),
    "latin": (("no", "yes"), lambda e: "yes" if _LATIN.search(_gold(e).text) else "no"),
    "quotes": (("none", "around", "inside"), _quoted),
    "question_word": ((*(name for name, _ in _QUESTION_WORDS), "other"), _question_word),
    "paragraph_length": (("<=400", "401-600", "601-1000", ">1000"), _paragraph),
    "position": (("q1", "q2", "q3", "q4"), _position),
}
_BY_TOKENS = {"tokens": ("reachable", "unreachable"), "windows": ("one", "whole", "cut")}

SLICES: dict[str, tuple[str, ...]] = {name: names for name, (names, _) in _BY_TEXT.items()} | _BY_TOKENS


def by_text(examples: Sequence[Example]) -> dict[str, list[str]]:
    """For each group that needs no tokenizer the slice of every example. All must have an answer."""
    return {name: [choose(example) for example in examples] for name, (_, choose) in _BY_TEXT.items()}


def by_tokens(
    examples: Sequence[Example], tokenizer: ReaderTokenizer, config: WindowConfig
) -> dict[str, list[str]]:
    """The groups that depend on tokens: whether whole tokens reach the first reference exactly, and whether
    it is in one window (``one``), whole in each window it touches (``whole``), or is cut by the edge of one
    (``cut``). All examples must have an answer."""
    from komrc.windows import build_windows

    windows = build_windows(examples, tokenizer, config, labels=True)
    first = windows.context_indptr[windows.context[windows.example]] + windows.first_token
    last = first + windows.context_length - 1
    filled = windows.context_length > 0
    low = np.where(filled, windows.char_start[np.where(filled, first, 0)], 0)
    high = np.where(filled, windows.char_end[np.where(filled, last, 0)], 0)
    gold_start = np.array([_gold(example).start for example in examples])[windows.example]
    gold_end = np.array([_gold(example).end for example in examples])[windows.example]
    touches = (low < gold_end) & (gold_start < high)
    holds = windows.start_position > 0
    exact = holds & (windows.drop_front == 0) & (windows.drop_back == 0)

    count = len(examples)
    number = np.bincount(windows.example, minlength=count)
    cut = np.bincount(windows.example, weights=touches & ~holds, minlength=count) > 0
    reachable = np.bincount(windows.example, weights=exact, minlength=count) > 0
    return {
        "tokens": np.where(reachable, "reachable", "unreachable").tolist(),
        "windows": np.where(number == 1, "one", np.where(cut, "cut", "whole")).tolist(),
    }
