"""What a data set looks like, and how much of it a tokenizer can answer exactly."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

from komrc.metrics import korquad
from komrc.progress import track
from komrc.tokenization import ReaderTokenizer
from komrc.types import Example, Gold

_BATCH = 64  # contexts tokenized at a time: bounds the memory their offsets take


@dataclass(frozen=True, slots=True)
class Lengths:
    """Of some texts, in characters or tokens."""

    shortest: int
    median: int
    mean: float
    longest: int


@dataclass(frozen=True, slots=True)
class Statistics:
    """Lengths in characters; None where there is nothing to measure.

    ``whole_words`` counts answers that begin and end where a word between white space does.
    """

    context: Lengths | None
    question: Lengths | None
    answer: Lengths | None
    unanswerable: int
    whole_words: int


@dataclass(frozen=True, slots=True)
class Reach:
    """How far spans of whole tokens get, were every choice right. ``em`` and ``f1`` in percent.

    ``exact`` of ``answers`` references begin and end with a token; ``em`` and ``f1`` are the official figures
    of the tightest spans of tokens round the references, cut to the length that is allowed, over the
    ``questions`` that have an answer.
    """

    questions: int
    answers: int
    exact: int
    em: float
    f1: float
    context_tokens: Lengths
    unknown_tokens: int = 0  # of all tokens of the contexts
    tokens: int = 0


def describe(examples: Sequence[Example]) -> Statistics:
    """Statistics of examples; a paragraph shared by neighbouring examples counts once."""
    golds = [(example.context, gold) for example in examples for gold in example.answers]
    return Statistics(
        context=lengths_of(len(context) for context, _ in _by_context(examples)),
        question=lengths_of(len(example.question) for example in examples),
        answer=lengths_of(len(gold.text) for _, gold in golds),
        unanswerable=sum(example.is_impossible for example in examples),
        whole_words=sum(_stands_alone(context, gold) for context, gold in golds),
    )


def reach(
    examples: Sequence[Example], tokenizer: ReaderTokenizer, *, max_answer_tokens: int | None = None
) -> Reach | None:
    """What spans of whole tokens can reach, of ``max_answer_tokens`` tokens at most; None without answers."""
    groups = _by_context([example for example in examples if example.answers])
    batches = [groups[i : i + _BATCH] for i in range(0, len(groups), _BATCH)]
    questions = answers = exact = 0
    em = f1 = 0.0
    lengths: list[int] = []
    unknown = 0
    for batch in track(batches, total=len(batches), what="tokenizing"):
        encodings = tokenizer.encode_many([context for context, _ in batch])
        for (context, group), encoding in zip(batch, encodings, strict=True):
            starts = [start for start, _ in encoding.offsets]
            ends = [end for _, end in encoding.offsets]
            lengths.append(len(starts))
            unknown += sum(token in tokenizer.unknown_ids for token in encoding.ids)
            for example in group:
                spans = [_cover(context, gold, starts, ends, max_answer_tokens) for gold in example.answers]
                texts = [gold.text for gold in example.answers]
                scores = [korquad.best(context[start:end], texts) for start, end in spans]
                questions += 1
                answers += len(spans)
                pairs = zip(spans, example.answers, strict=True)
                exact += sum(span == _bare(context, gold.start, gold.end) for span, gold in pairs)
                em += max(matched for matched, _ in scores)
                f1 += max(partial for _, partial in scores)
    context_tokens = lengths_of(lengths)
    if context_tokens is None:
        return None
    return Reach(
        questions,
        answers,
        exact,
        100.0 * em / questions,
        100.0 * f1 / questions,
        context_tokens,
        unknown,
        sum(lengths),
    )


def _by_context(examples: Sequence[Example]) -> list[tuple[str, list[Example]]]:
    return [
        (context, list(group)) for context, group in groupby(examples, key=lambda example: example.context)
    ]


def lengths_of(values: Iterable[int]) -> Lengths | None:
    """Of some lengths; None without any."""
    ordered = sorted(values)
    if not ordered:
        return None
    return Lengths(ordered[0], ordered[len(ordered) // 2], sum(ordered) / len(ordered), ordered[-1])


def _stands_alone(context: str, gold: Gold) -> bool:
    before = context[gold.start - 1 : gold.start] if gold.start else ""
    after = context[gold.end : gold.end + 1]
    return (not before or before.isspace()) and (not after or after.isspace())


def _bare(context: str, start: int, end: int) -> tuple[int, int]:
    """The span without white space at its edges: some tokenizers count the space before a word to it."""
    text = context[start:end]
    return start + len(text) - len(text.lstrip()), end - (len(text) - len(text.rstrip()))


def _cover(
    context: str, gold: Gold, starts: Sequence[int], ends: Sequence[int], limit: int | None
) -> tuple[int, int]:
    """Characters of the tightest span of tokens that contains the answer; (0, 0) where no token touches it.

    Of one with more tokens than the limit, the ``limit`` tokens that hold the most characters.
    """
    first = bisect_right(ends, gold.start)
    last = bisect_left(starts, gold.end) - 1
    if first > last:
        return 0, 0
    if limit is not None and last - first + 1 > limit:
        first = max(range(first, last - limit + 2), key=lambda at: ends[at + limit - 1] - starts[at])
        last = first + limit - 1
    return _bare(context, starts[first], ends[last])
