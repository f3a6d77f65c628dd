"""Official EM and F1 of a model in training, through the same Reader that serves it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import astuple, dataclass
from typing import Any, Literal

from komrc.config import ReaderSettings
from komrc.decoding import Candidate
from komrc.engines import Batch, Logits
from komrc.engines.torch_engine import TorchEngine
from komrc.metrics import korquad
from komrc.modeling import SpanReader
from komrc.reader import Prediction, Reader
from komrc.tokenization import ReaderTokenizer
from komrc.training import processes
from komrc.training.stopping import Stopped, StopRequest
from komrc.types import Answer, Example


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What a model answers, and how good that is.

    ``scores`` holds exact_match and f1, 0 to 100.
    """

    predictions: list[Prediction]
    scores: dict[str, float]


class _Interruptible:
    """An engine that ends an evaluation between two batches once a stop was asked for."""

    def __init__(self, engine: TorchEngine, stop: StopRequest) -> None:
        self.name = engine.name
        self._engine = engine
        self._stop = stop

    def run(self, batch: Batch) -> Logits:
        self._stop.check()
        return self._engine.run(batch)


class Evaluator:
    """Evaluates a model on examples.

    Args:
        examples: with reference answers.
        tokenizer: the model's.
        settings: windows and decoding.
        precision: of the engine.
        token_budget: padded tokens of a batch at most.
        stop: breaks an evaluation off.
    """

    def __init__(
        self,
        examples: Sequence[Example],
        tokenizer: ReaderTokenizer,
        settings: ReaderSettings,
        *,
        precision: Literal["fp32", "bf16"],
        token_budget: int,
        stop: StopRequest,
    ) -> None:
        self.examples = examples
        self.settings = settings
        self._tokenizer = tokenizer
        self._precision = precision
        self._token_budget = token_budget
        self._stop = stop

    def __call__(self, model: SpanReader, advance: Callable[[int], Any] = lambda _: None) -> Evaluation:
        """Answer all questions; several processes share them out. Raises Stopped after a signal.

        ``advance`` is told of each finished one, or of as many as there are processes.
        """
        reader = Reader(
            self._tokenizer,
            _Interruptible(TorchEngine(model, precision=self._precision), self._stop),
            self.settings,
            token_budget=self._token_budget,
        )
        predictions = []
        share = (processes.rank(), processes.count())
        with suppress(Stopped):  # the others must learn of it
            for prediction in reader.stream(self.examples, top_k=self.settings.n_best_size, share=share):
                predictions.append(prediction)
                advance(processes.count())
        if self._stop.agreed():
            raise Stopped
        predictions = self._joined(predictions)
        answers = {p.id: p.answers[0].text if p.answers else "" for p in predictions}
        figures = korquad.score(answers, self.examples)
        return Evaluation(predictions, {"exact_match": figures["exact_match"], "f1": figures["f1"]})

    def _joined(self, share: list[Prediction]) -> list[Prediction]:
        """The predictions of all processes, in the examples' order."""
        if processes.count() == 1:
            return share
        answers = [
            [p.id, [astuple(a)[:4] for a in p.answers], list(map(astuple, p.candidates))] for p in share
        ]
        joined = {
            id_: Prediction(id_, tuple(Answer(*a) for a in best), tuple(Candidate(*c) for c in candidates))
            for part in processes.gather(answers)
            for id_, best, candidates in part
        }
        return [joined[example.id] for example in self.examples]
