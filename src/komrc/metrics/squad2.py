"""SQuAD 2.0's figures: exact match and F1 over words, split by answerable or not, and the best threshold."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Mapping, Sequence

from komrc.types import Example

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalize(text: str) -> str:
    """Lowercase, ASCII punctuation and English articles dropped, white space collapsed."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_NO_PUNCTUATION)).split())


def exact_match(prediction: str, gold: str) -> float:
    """1.0 where the normalized texts are equal, else 0.0."""
    return float(normalize(prediction) == normalize(gold))


def f1(prediction: str, gold: str) -> float:
    """F1 over the bags of words, 0..1; an empty side (no answer) must meet an empty side."""
    predicted, reference = normalize(prediction).split(), normalize(gold).split()
    if not predicted or not reference:
        return float(predicted == reference)
    common = sum((Counter(predicted) & Counter(reference)).values())
    if common == 0:
        return 0.0
    precision, recall = common / len(predicted), common / len(reference)
    return 2 * precision * recall / (precision + recall)


def _references(example: Example) -> list[str]:
    """Golds that normalize to something, as the official script filters them; ``[""]`` for no answer."""
    if example.is_impossible:
        return [""]
    return [answer.text for answer in example.answers if normalize(answer.text)] or [""]


def best_threshold(
    scores: Mapping[str, float],
    no_answer_scores: Mapping[str, float],
    answerable: Mapping[str, bool],
    predictions: Mapping[str, str],
) -> tuple[float, float]:
    """The share of points (percent) and the threshold that give the most points.

    A question is answered where its no-answer score is at most the threshold. ``scores`` are the points
    (0..1) of the answer itself, by id. Raising the threshold answers the questions one by one.
    """
    current = best = float(sum(not has for has in answerable.values()))
    threshold = 0.0
    for key in sorted(no_answer_scores, key=lambda key: no_answer_scores[key]):
        if key not in scores:
            continue
        if answerable[key]:
            current += scores[key]
        elif predictions[key]:
            current -= 1
        if current > best:
            best, threshold = current, no_answer_scores[key]
    return 100.0 * best / max(len(scores), 1), threshold


def score(
    predictions: Mapping[str, str],
    examples: Sequence[Example],
    no_answer_scores: Mapping[str, float] | None = None,
    *,
    threshold: float = 1.0,
) -> dict[str, float]:
    """The official script's figures, in percent: ``exact``, ``f1``, ``total`` and the same for ``HasAns_``
    and ``NoAns_``; with ``no_answer_scores`` also ``best_exact``, ``best_f1`` and their thresholds.

    A question whose no-answer score is above ``threshold`` counts as answered with nothing. A missing
    prediction scores 0 (the official script would leave it out of the total).
    """
    answerable = {e.id: not e.is_impossible and bool(e.answers) for e in examples}
    exact: dict[str, float] = {}
    overlap: dict[str, float] = {}
    for example in examples:
        prediction = predictions.get(example.id)
        golds = _references(example) if prediction is not None else []
        exact[example.id] = max((exact_match(prediction or "", gold) for gold in golds), default=0.0)
        overlap[example.id] = max((f1(prediction or "", gold) for gold in golds), default=0.0)

    def applied(points: Mapping[str, float]) -> dict[str, float]:
        if no_answer_scores is None:
            return dict(points)
        return {
            key: float(not answerable[key]) if no_answer_scores.get(key, 0.0) > threshold else value
            for key, value in points.items()
        }

    final_exact, final_f1 = applied(exact), applied(overlap)
    result: dict[str, float] = {}
    groups = {
        "": list(answerable),
        "HasAns_": [key for key, has in answerable.items() if has],
        "NoAns_": [key for key, has in answerable.items() if not has],
    }
    for prefix, keys in groups.items():
        if not keys:
            continue
        result[f"{prefix}exact"] = 100.0 * sum(final_exact[key] for key in keys) / len(keys)
        result[f"{prefix}f1"] = 100.0 * sum(final_f1[key] for key in keys) / len(keys)
        result[f"{prefix}total"] = len(keys)
    if no_answer_scores is not None:
        known = {key: value for key, value in no_answer_scores.items() if key in predictions}
        for name, points in (("exact", exact), ("f1", overlap)):
            best, at = best_threshold(points, known, answerable, predictions)
            result[f"best_{name}"], result[f"best_{name}_thresh"] = best, at
    return result
