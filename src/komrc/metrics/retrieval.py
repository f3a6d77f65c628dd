"""How well a search finds the passage with the answer: recall at k and the mean reciprocal rank."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from komrc.metrics.korquad import normalize
from komrc.types import Example

RECALL_AT = (1, 5, 10)


def score(passages: Mapping[str, Sequence[str]], examples: Iterable[Example]) -> dict[str, float]:
    """Percentages: ``recall@1``, ``recall@5``, ``recall@10``, and ``mrr``, over the questions with an answer.

    A passage is right if it contains a reference answer and, for a question with a context, is a part of that
    context. The reciprocal rank of a question is 1 / (rank of its first right passage), 0 without one
    (Voorhees 1999, "The TREC-8 Question Answering Track Report"). Empty if no question has an answer.

    Args:
        passages: the texts found for each question, best first, by question id; a missing id has none.
        examples: with reference answers, and a context or "".
    """
    ranks = [first_right(passages.get(example.id, ()), example) for example in examples if example.answers]
    if not ranks:
        return {}
    recall = {f"recall@{k}": sum(rank is not None and rank <= k for rank in ranks) for k in RECALL_AT}
    reciprocal = sum(1 / rank for rank in ranks if rank is not None)
    return {name: 100.0 * value / len(ranks) for name, value in {**recall, "mrr": reciprocal}.items()}


def first_right(passages: Sequence[str], example: Example) -> int | None:
    """The rank, from 1, of the first passage that is right; None if none is."""
    golds = [_plain(gold.text) for gold in example.answers]
    context = _plain(example.context)
    for rank, passage in enumerate(passages, 1):
        text = _plain(passage)
        if any(gold in text for gold in golds) and (not context or text in context or context in text):
            return rank
    return None


def _plain(text: str) -> str:
    """As the official script normalizes an answer, without white space, which documents wrap anywhere."""
    return "".join(normalize(text).split())
