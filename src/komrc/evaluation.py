"""Scoring of predictions: any metric, with or without particle trimming, from a file or from a Reader."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from komrc.data import EVALUATING, SCORING, load_korquad2, read_json, read_passages, read_predictions
from komrc.errors import DataError
from komrc.metrics import klue, korquad, retrieval, squad2
from komrc.progress import showing
from komrc.text import particles
from komrc.text.locate import locate
from komrc.types import Example

if TYPE_CHECKING:
    from komrc.engines.loading import EngineName

Metric = Literal["korquad", "klue", "squad2"]


def load_predictions(path: Path) -> dict[str, str]:
    """Predictions, question id -> answer text, from a file or a folder of shards.

    Raises DataError for anything else, StorageError where the file can't be read. See
    :func:`komrc.data.read_predictions`.
    """
    return read_predictions(path)


def require_common_ids(
    ids: Iterable[str], predictions: Mapping[str, str], *, data: Path, where: Path
) -> None:
    """Raises DataError where there are predictions, and none for a question of the data."""
    if predictions and not any(name in predictions for name in ids):
        raise DataError(
            f"no id of PREDICTIONS is in DATA ({data})",
            where=str(where),
            fix="give the data file that these predictions answer; DATA comes first",
        )


def load_no_answer_scores(path: Path) -> dict[str, float]:
    """No-answer scores: one JSON object, question id -> number. Raises DataError for anything else."""
    value = read_json(path).value
    if not isinstance(value, dict) or not all(
        isinstance(score, int | float) and math.isfinite(score) for score in value.values()
    ):
        raise DataError(
            "is not a JSON object of numbers", where=str(path), fix='write {"question id": 0.12, ...}'
        )
    return {key: float(score) for key, score in value.items()}


def korquad2_golds(path: str | Path, *, skip_invalid: bool = False) -> Iterator[tuple[str, str]]:
    """``(id, reference HTML)`` of each question of KorQuAD 2 data, page by page.

    The JSON files of a folder come in the order in which the operating system lists them, as in the official
    script: the last bits of a sum depend on its order. Raises DataError, StorageError; see ``load_korquad2``.
    """
    folder = Path(path)
    files = [folder / name for name in os.listdir(folder)] if folder.is_dir() else []  # noqa: PTH208
    files = [file for file in files if file.name.endswith("json")]
    for page in load_korquad2(files or folder, needs=SCORING, skip_invalid=skip_invalid):
        for example in page.examples:
            yield example.id, example.answers[0].text if example.answers else ""


def evaluate(
    examples: Sequence[Example],
    predictions: Mapping[str, str],
    metric: Metric = "korquad",
    *,
    no_answer_scores: Mapping[str, float] | None = None,
    threshold: float = 1.0,
) -> dict[str, float]:
    """Scores in percent: the metric's own keys in its own order. A missing prediction scores 0.

    ``no_answer_scores`` and ``threshold`` concern ``squad2`` alone.
    """
    if metric == "klue":
        return klue.score(predictions, examples)
    if metric == "squad2":
        return squad2.score(predictions, examples, no_answer_scores, threshold=threshold)
    return korquad.score(predictions, examples)


def evaluate_open(
    examples: Sequence[Example], predictions: Mapping[str, str], passages: Mapping[str, Sequence[str]]
) -> dict[str, float]:
    """Scores of answers from an index, in percent: ``exact_match`` and ``f1`` as KorQuAD 1.0 defines them,
    then ``recall@k`` and ``mrr`` of the search; see :func:`komrc.metrics.retrieval.score`.

    Args:
        examples: with reference answers; a question without one is right if its answer is empty.
        predictions: answer texts by question id; a missing one scores 0.
        passages: the texts that were found for each question, best first.
    """
    return evaluate(examples, predictions) | retrieval.score(passages, examples)


def load_passages(path: Path) -> dict[str, list[str]]:
    """The texts that were found for each question, from the .jsonl file of ``komrc predict --index``.

    Raises DataError for anything else, StorageError where the file can't be read.
    """
    return {name: [passage["text"] for passage in row] for name, row in read_passages(path).items()}


def predict(
    examples: Sequence[Example],
    model: str,
    engine: EngineName = "auto",
    *,
    model_type: str | None = None,
    settings: Mapping[str, Any] | None = None,
) -> dict[str, str]:
    """The best answer to each question, by the model of a folder or hub id; progress on stderr.

    ``model_type`` and ``settings`` (the overrides): see ``Reader.load``.
    """
    from komrc.reader import Reader  # loads an engine's library

    reader = Reader.load(model, engine=engine, model_type=model_type, **(settings or {}))
    predictions = reader.read_examples(examples, progress=True)
    return {p.id: p.text for p in predictions}


def predict_pages(
    data: Path,
    model: str,
    engine: EngineName = "auto",
    *,
    model_type: str | None = None,
    settings: Mapping[str, Any] | None = None,
    skip_invalid: bool = False,
) -> tuple[dict[str, str], float]:
    """The best answer to each question of KorQuAD 2 data, as HTML; and the share of the questions whose
    answer is in a passage that was read, 0 to 1. See ``predict``; progress counts pages."""
    from komrc.page_reader import PageReader
    from komrc.reader import Reader

    reader = PageReader(Reader.load(model, engine=engine, model_type=model_type, **(settings or {})))
    answers: dict[str, str] = {}
    found = 0
    with showing(total=None, what="reading") as advance:
        for page in load_korquad2(data, skip_invalid=skip_invalid, needs=EVALUATING):
            for example, prediction in zip(
                page.examples, reader.read(page.context, page.examples), strict=True
            ):
                answers[example.id] = prediction.answer.text
                gold = example.answers[0]
                found += prediction.has_read(gold.start, gold.end)
            advance(len(answers))
    return answers, found / max(1, len(answers))


def missing(examples: Sequence[Example], predictions: Mapping[str, str]) -> list[str]:
    """Ids of the questions that have no prediction, in the order of the data."""
    return [example.id for example in examples if example.id not in predictions]


def trim_predictions(examples: Sequence[Example], predictions: Mapping[str, str]) -> dict[str, str]:
    """Predictions without the particles, copulas and endings at their ends; see ``komrc.text.particles``.

    Each one is read in its context, where ``locate`` finds it; one that is nowhere in the context is
    read alone. Predictions of unknown ids and empty ones stay as they are.
    """
    trimmed = dict(predictions)
    keys: list[str] = []
    texts: list[tuple[str, int, int]] = []
    for example in examples:
        text = predictions.get(example.id, "")
        if not text.strip():
            continue
        place = locate(example.context, example.question, text)
        keys.append(example.id)
        texts.append((example.context, place.start, place.end) if place else (text, 0, len(text)))
    for key, (context, start, end), span in zip(keys, texts, particles.trim_many(texts), strict=True):
        if (span.start, span.end) != (start, end):  # else the prediction's own spelling stays
            trimmed[key] = context[span.start : span.end]
    return trimmed
