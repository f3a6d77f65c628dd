"""KLUE-MRC's exact match and ROUGE-W, as the benchmark's own code computes them.

ROUGE-W here is the F1 of the longest common contiguous run of characters.
"""

from __future__ import annotations

import re
import string
from collections.abc import Mapping, Sequence
from difflib import SequenceMatcher

from komrc.types import Example

# KLUE's own pattern: the class closes early, so it takes out only the sequence of one of these and
# "()‘’". Kept as it is, for the benchmark's figures were computed with it.
_MARKS = re.compile(r"""['"《》<>〈〉]\(\)‘’""")
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalize(text: str) -> str:
    """Lowercase, ASCII punctuation dropped, white space collapsed."""
    return " ".join(_MARKS.sub(" ", text.lower()).translate(_NO_PUNCTUATION).split())


def exact_match(prediction: str, gold: str) -> float:
    """1.0 where the normalized texts are equal, else 0.0."""
    return float(normalize(prediction) == normalize(gold))


def rouge_w(prediction: str, gold: str) -> float:
    """F1 of the longest common run of characters of the normalized texts, 0..1.

    An empty gold (no answer) gives 1.0 to an empty prediction and 0.0 to any other.
    """
    predicted, reference = normalize(prediction), normalize(gold)
    if not reference or not predicted:
        return float(predicted == reference)
    # difflib with its defaults, as KLUE does: they matter for references of 200 characters and more.
    common = SequenceMatcher(None, predicted, reference).find_longest_match().size
    if common == 0:
        return 0.0
    precision, recall = common / len(predicted), common / len(reference)
    return 2 * (precision * recall) / (precision + recall)


def score(predictions: Mapping[str, str], examples: Sequence[Example]) -> dict[str, float]:
    """``{"exact_match", "rouge_w"}`` in percent, best over the references; a missing prediction scores 0.

    Unanswerable questions expect the empty answer.
    """
    total_match = total_rouge = 0.0
    for example in examples:
        prediction = predictions.get(example.id)
        if prediction is None:
            continue
        golds = [answer.text for answer in example.answers] if not example.is_impossible else []
        total_match += max(exact_match(prediction, gold) for gold in golds or [""])
        total_rouge += max(rouge_w(prediction, gold) for gold in golds or [""])
    count = max(len(examples), 1)
    return {"exact_match": 100.0 * total_match / count, "rouge_w": 100.0 * total_rouge / count}
