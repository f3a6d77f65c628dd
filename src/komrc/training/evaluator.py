"""Official EM and F1 of a model in training, through the same Reader that serves it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import astuple, dataclass
from typing import Any, Literal

from komrc.config import ReaderConfig
from komrc.decoding import Candidate
from komrc.engines import Batch, Logits
from komrc.engines.torch_engine import TorchEngine
from komrc.metrics import korquad
from komrc.modeling import SpanReader
from komrc.reader import Prediction, Reader
from komrc.tokenization import ReaderTokenizer
from komrc.training import distributed
from komrc.training.signals import StopRequest, StopTraining
from komrc.types import Answer, Example

Progress = Callable[[int], AbstractContextManager[Callable[[int], Any]]]


@contextmanager
def _no_progress(_total: int) -> Iterator[Callable[[int], Any]]:
    yield lambda _done: None


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What a model answers, and how good that is.

    ``predictions`` are in the examples' order; ``scores`` contains ``exact_match`` and ``f1``, 0 to 100;
    ``seconds`` is how long it took.
    """

    predictions: list[Prediction]
    scores: dict[str, float]
    seconds: float


class _Interruptible:
    """An engine that raises StopTraining before a batch once a signal came."""

    def __init__(self, engine: TorchEngine, stop: StopRequest) -> None:
        self.name = engine.name
        self._engine = engine
        self._stop = stop

    def run(self, batch: Batch) -> Logits:
        self._stop.check()
        return self._engine.run(batch)


@dataclass(frozen=True)
class Evaluator:
    """Evaluates a model on examples.

    Args:
        examples: with reference answers.
        tokenizer: the model's.
        config: windows and decoding.
        precision: of the engine.
        token_budget: padded tokens of a batch at most.
        stop: interrupts an evaluation.
        progress: shows progress: takes the number of questions, and its context gives a function that takes
            how many more are done.
    """

    examples: Sequence[Example]
    tokenizer: ReaderTokenizer
    config: ReaderConfig
    precision: Literal["fp32", "bf16"]
    token_budget: int
    stop: StopRequest
    progress: Progress = _no_progress

    def engine(self, model: SpanReader) -> TorchEngine:
        """The engine that evaluates the model."""
        model.attention = "sdpa"  # the same in every evaluation, whatever the last training batch used
        return TorchEngine(model, precision=self.precision)

    def __call__(self, model: SpanReader) -> Evaluation:
        """Answer all questions; several processes share them. Raises StopTraining after a signal."""
        begin = time.monotonic()
        engine = _Interruptible(self.engine(model), self.stop)
        reader = Reader(
            self.tokenizer,
            engine,
            self.config,
            token_budget=self.token_budget,
            search_long_texts=False,
        )
        shard = (distributed.rank(), distributed.world_size())
        predictions = []
        with self.progress(len(self.examples)) as advance, suppress(StopTraining):
            for prediction in reader.stream(self.examples, top_k=self.config.decoding.n_best, shard=shard):
                predictions.append(prediction)
                advance(distributed.world_size())
        if self.stop.any_rank_stopped():  # a signal to another process counts here, too
            raise StopTraining
        predictions = self._gather(predictions)
        answers = {p.id: p.text for p in predictions}
        scores = korquad.score(answers, self.examples)
        return Evaluation(
            predictions,
            scores,
            time.monotonic() - begin,
        )

    def _gather(self, share: list[Prediction]) -> list[Prediction]:
        """The predictions of all processes, in the examples' order."""
        if distributed.world_size() == 1:
            return share
        rows = [[p.id, [astuple(a)[:4] for a in p.answers], list(map(astuple, p.candidates))] for p in share]
        by_id = {
            id_: Prediction(id_, tuple(Answer(*a) for a in best), tuple(Candidate(*c) for c in candidates))
            for part in distributed.gather_json(rows)
            for id_, best, candidates in part
        }
        return [by_id[example.id] for example in self.examples]
