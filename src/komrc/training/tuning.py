"""What is fitted on held-out data once the weights stand: the no-answer threshold and the temperature."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from komrc.config import ReaderSettings
from komrc.engines import Batch, Engine, Logits
from komrc.metrics import korquad
from komrc.metrics.calibration import fit_temperature
from komrc.reader import Prediction, Reader
from komrc.tokenization import ReaderTokenizer
from komrc.types import Example

# Enough answers to fit one number, few enough to keep their logits in memory.
_QUESTIONS = 1000


class _Recorder:
    """An engine that computes once and then replays: the batches come in the same order every time."""

    def __init__(self, engine: Engine) -> None:
        self.name = engine.name
        self._engine = engine
        self._kept: list[Logits] = []
        self._at = 0

    def rewind(self) -> None:
        self._at = 0

    def run(self, batch: Batch) -> Logits:
        if self._at == len(self._kept):
            self._kept.append(self._engine.run(batch))
        self._at += 1
        return self._kept[self._at - 1]


def is_right(prediction: Prediction, example: Example) -> bool:
    """Whether the best answer matches a reference exactly, by the official metric."""
    text = prediction.answers[0].text if prediction.answers else ""
    return korquad.best(text, [gold.text for gold in example.answers])[0]


def tune_temperature(
    engine: Engine, tokenizer: ReaderTokenizer, settings: ReaderSettings, examples: Sequence[Example]
) -> float:
    """The temperature that makes scores probabilities, on up to 1,000 questions spread over the examples."""
    step = max(1, len(examples) // _QUESTIONS)
    chosen = list(examples[::step])[:_QUESTIONS]
    recorder = _Recorder(engine)

    def read(temperature: float) -> list[Prediction]:
        recorder.rewind()
        reader = Reader(tokenizer, recorder, dataclasses.replace(settings, temperature=temperature))
        return reader.read_examples(chosen)

    def scores(temperature: float) -> NDArray[np.float64]:
        return np.array([p.answers[0].score if p.answers else 0.0 for p in read(temperature)])

    pairs = zip(read(1.0), chosen, strict=True)
    return fit_temperature(scores, np.array([is_right(p, e) for p, e in pairs], np.bool_))


def tune_threshold(predictions: Sequence[Prediction], examples: Sequence[Example]) -> float:
    """The null_score_diff_threshold with the highest EM: no answer where the empty answer's logit exceeds
    the best span's by more. 0 where the predictions give nothing to choose by."""
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
    # total[k]: what is won when the k questions of the lowest margins are answered.
    total = np.concatenate([[0], np.cumsum(np.array(gains)[order])])
    edges = np.concatenate([[margin[0] - 1], (margin[:-1] + margin[1:]) / 2, [margin[-1] + 1]])
    possible = np.concatenate([[True], margin[:-1] < margin[1:], [True]])
    return float(edges[np.argmax(np.where(possible, total, total.min() - 1))])
