"""What is fitted on the dev data after training: the no-answer threshold and the temperature."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from komrc.config import ReaderConfig
from komrc.engines import Batch, Engine, Logits
from komrc.metrics import korquad
from komrc.metrics.calibration import fit_temperature
from komrc.modeling import SpanReader
from komrc.reader import Prediction, Reader
from komrc.tokenization import ReaderTokenizer
from komrc.training import distributed
from komrc.training.evaluator import Evaluation, Evaluator
from komrc.training.options import TrainingOptions
from komrc.types import Example

logger = logging.getLogger(__name__)

# Enough answers to fit one number, few enough to keep their logits in memory.
_QUESTIONS = 1000


def calibrate(
    evaluator: Evaluator, model: SpanReader, evaluation: Evaluation, options: TrainingOptions
) -> ReaderConfig:
    """The evaluator's configuration with the fitted temperature and, unless the user gave one, threshold.

    ``evaluation`` is the evaluator's of this model.
    """
    config = evaluator.config
    if options.version_2_with_negative and options.null_score_diff_threshold is None:
        threshold = tune_threshold(evaluation.predictions, evaluator.examples)
        config = config.changed(null_score_diff_threshold=threshold)
        logger.info("no-answer threshold: %.3f", threshold)
    engine = evaluator.engine(model)
    temperature = distributed.on_rank0(
        lambda: tune_temperature(engine, evaluator.tokenizer, config, evaluator.examples)
    )
    logger.info("temperature of the scores: %.3f", temperature)
    return config.changed(temperature=temperature)


class _ReplayEngine:
    """An engine that computes once and then replays: the batches come in the same order every time."""

    def __init__(self, engine: Engine) -> None:
        self.name = engine.name
        self._engine = engine
        self._logits: list[Logits] = []
        self._next = 0

    def rewind(self) -> None:
        self._next = 0

    def run(self, batch: Batch) -> Logits:
        if self._next == len(self._logits):
            self._logits.append(self._engine.run(batch))
        self._next += 1
        return self._logits[self._next - 1]


def is_right(prediction: Prediction, example: Example) -> bool:
    """Whether the best answer matches a reference exactly, by the official metric."""
    return korquad.best(prediction.text, [gold.text for gold in example.answers])[0]


def tune_temperature(
    engine: Engine, tokenizer: ReaderTokenizer, config: ReaderConfig, examples: Sequence[Example]
) -> float:
    """The temperature that makes scores probabilities, on up to 1,000 questions spread over the examples."""
    step = max(1, len(examples) // _QUESTIONS)
    chosen = list(examples[::step])[:_QUESTIONS]
    replay = _ReplayEngine(engine)

    def read(temperature: float) -> list[Prediction]:
        replay.rewind()
        reader = Reader(tokenizer, replay, config.changed(temperature=temperature), search_long_texts=False)
        return reader.read_examples(chosen)

    def scores(temperature: float) -> NDArray[np.float64]:
        return np.array([p.best.score for p in read(temperature)])

    pairs = zip(read(1.0), chosen, strict=True)
    return fit_temperature(scores, np.array([is_right(p, e) for p, e in pairs], np.bool_))


def tune_threshold(predictions: Sequence[Prediction], examples: Sequence[Example]) -> float:
    """The null_score_diff_threshold with the highest EM: no answer where the empty answer's logit exceeds
    the best span's by more. 0 where no prediction has both."""
    margins, gains = [], []
    for prediction, example in zip(predictions, examples, strict=True):
        empty = next((c for c in prediction.candidates if c.start == c.end), None)
        span = next((c for c in prediction.candidates if c.start != c.end), None)
        if empty is None or span is None:
            continue
        golds = [gold.text for gold in example.answers]
        with_span = korquad.best(example.context[span.start : span.end], golds)[0]
        margins.append(empty.logit - span.logit)
        gains.append(int(with_span) - int(korquad.best("", golds)[0]))
    if not margins:
        return 0.0
    order = np.argsort(margins, kind="stable")
    margin = np.array(margins)[order]
    # total[k]: questions won when the k questions of the lowest margins are answered.
    total = np.concatenate([[0], np.cumsum(np.array(gains)[order])])
    edges = np.concatenate([[margin[0] - 1], (margin[:-1] + margin[1:]) / 2, [margin[-1] + 1]])
    possible = np.concatenate([[True], margin[:-1] < margin[1:], [True]])
    return float(edges[np.argmax(np.where(possible, total, total.min() - 1))])
