"""The official KorQuAD 1.0 metric, to the last bit.

Exact match compares normalised strings; F1 compares the bags of their characters (not words); the best
reference answer counts. Sums run in the order of the data set and are scaled as ``100.0 * sum / total``,
because floating-point results depend on that.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from string import punctuation
from typing import Any, TypeVar

from komrc.data import read_json
from komrc.errors import DataError
from komrc.types import Example

VERSION = "KorQuAD_v1.0"

References = TypeVar("References")  # one question's, in the form that its metric takes

_SPACES = str.maketrans(dict.fromkeys("'\"《》<>〈〉()‘’", " "))
_DROPPED = str.maketrans("", "", punctuation)
_BOTH = _DROPPED | _SPACES


Scores = dict[str, float]  # exact_match and f1, as in the official script: percentages, 0 to 100


def normalize(text: str) -> str:
    """Quotes and brackets become spaces, lower case, ASCII punctuation dropped, white space collapsed."""
    if "Σ" in text:  # the one letter whose lower case depends on its neighbours: keep the official order
        return " ".join(text.translate(_SPACES).lower().translate(_DROPPED).split())
    return " ".join(text.translate(_BOTH).lower().split())


def character_f1(prediction: str, gold: str) -> float:
    """F1 of two normalized strings over their bags of characters, 0 to 1; spaces don't count."""
    predicted = prediction.replace(" ", "")
    wanted = gold.replace(" ", "")
    if predicted == wanted:
        return 1.0 if predicted else 0.0
    counts = Counter(wanted)
    same = 0
    for character, count in Counter(predicted).items():
        other = counts.get(character, 0)
        same += count if count < other else other
    if same == 0:
        return 0.0
    precision = same / len(predicted)
    recall = same / len(wanted)
    return (2 * precision * recall) / (precision + recall)


def exact_match(prediction: str, gold: str) -> bool:
    """Whether the two are equal once normalised."""
    return normalize(prediction) == normalize(gold)


def f1(prediction: str, gold: str) -> float:
    """F1 on the bags of characters once normalised, 0 to 1; two empty strings score 0, as officially."""
    return character_f1(normalize(prediction), normalize(gold))


def best(prediction: str, golds: Sequence[str]) -> tuple[bool, float]:
    """Exact match and F1 against the best of ``golds``, each on its own.

    Without golds (a question that can't be answered) the empty prediction scores 1 and 1, as in SQuAD 2.0;
    the official script has no such questions.
    """
    normal = normalize(prediction)
    if not golds:
        return not normal, float(not normal)
    references = [normalize(gold) for gold in golds]
    return normal in references, max(character_f1(normal, reference) for reference in references)


def score_golds(
    predictions: Mapping[str, str],
    golds: Iterable[tuple[str, Sequence[str]]],
    *,
    on_missing: Callable[[str], None] | None = None,
) -> Scores:
    """Score ``(id, reference texts)`` pairs; an id without a prediction scores 0.

    ``on_missing`` is called with each such id. Raises DataError where there is nothing to score.
    """
    return score_each(predictions, golds, best, on_missing=on_missing)


def score_each(
    predictions: Mapping[str, str],
    golds: Iterable[tuple[str, References]],
    scored: Callable[[str, References], tuple[bool, float]],
    *,
    on_missing: Callable[[str], None] | None = None,
) -> Scores:
    """Mean exact match and F1, in percent, where ``scored(prediction, references)`` gives those of one
    question.

    An id without a prediction scores 0, and ``on_missing`` is called with it. Raises DataError if there is
    nothing to score.
    """
    matches = total = 0
    overlap = 0.0
    for name, gold in golds:
        total += 1
        prediction = predictions.get(name)
        if prediction is None:
            if on_missing is not None:
                on_missing(name)
            continue
        exact, partial = scored(prediction, gold)
        matches += exact
        overlap += partial
    if total == 0:
        raise DataError("there is no question to score", fix="give a data file that contains questions")
    return {"exact_match": 100.0 * matches / total, "f1": 100.0 * overlap / total}


def score(
    predictions: Mapping[str, str],
    examples: Iterable[Example],
    *,
    on_missing: Callable[[str], None] | None = None,
) -> Scores:
    """Score predictions (id -> text) on examples. See :func:`score_golds`."""
    golds = ((example.id, [gold.text for gold in example.answers]) for example in examples)
    return score_golds(predictions, golds, on_missing=on_missing)


def score_files(data: str | Path, predictions: str | Path, *, report: Callable[[str], None]) -> Scores:
    """Score a predictions file on a data file, as the official script does from the command line.

    As there, only ids and answer texts count; offsets, questions and repeated ids do not. ``report``
    gets the official messages: another data version, each unanswered question. Raises DataError for files
    that the official script would fail on.
    """
    document = _read_object(data)
    stated = document.get("version")
    version = "_".join(stated.split("_")[:-1]) if isinstance(stated, str) else str(stated)
    if version != VERSION:
        report(f"Evaluation expects {VERSION}, but got dataset with {version}")
    golds = list(_golds(document, str(data)))
    answers = _read_object(predictions)
    for name, text in answers.items():
        if not isinstance(text, str):
            raise DataError(
                f"the prediction for id {name} is {type(text).__name__}, not text",
                where=str(predictions),
                fix='write {"question id": "answer text", …}, as komrc predict does',
            )
    return score_golds(
        answers, golds, on_missing=lambda name: report(f"Unanswered question {name} will receive score 0.")
    )


def _read_object(path: str | Path) -> dict[str, Any]:
    document = read_json(path)
    if document.problems:
        raise DataError("can't be scored", where=str(path), problems=tuple(document.problems.values()))
    if not isinstance(document.value, dict):
        raise DataError(
            f"contains a JSON {type(document.value).__name__}, not an object",
            where=str(path),
            fix="the data file comes first, then the predictions",
        )
    return document.value


def _golds(document: dict[str, Any], where: str) -> Iterator[tuple[str, list[str]]]:
    """``(id, reference texts)`` in file order; KLUE's "guid" counts as id."""
    at = "$"
    try:
        for i, article in enumerate(document["data"]):
            for j, paragraph in enumerate(article["paragraphs"]):
                for k, qa in enumerate(paragraph["qas"]):
                    at = f"$.data[{i}].paragraphs[{j}].qas[{k}]"
                    name = qa["id"] if "id" in qa else qa["guid"]
                    texts = [answer["text"] for answer in qa["answers"]]
                    if not isinstance(name, str | int) or not all(isinstance(text, str) for text in texts):
                        raise TypeError
                    yield str(name), texts
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"is not in the KorQuAD format (at {at} or after)",
            where=where,
            fix="give the data file first, then the predictions; komrc data lint shows what is wrong",
        ) from error
