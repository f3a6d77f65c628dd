"""Reader: the one path from a question and a context to answers."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from komrc.decoding import Candidate, DecodeConfig, FlatLogits, decode
from komrc.engines import BOUNDARY_CLASSES, Batch, Engine
from komrc.engines.loading import EngineName, load_engine
from komrc.errors import EngineError, InputError, UsageError
from komrc.features import WindowConfig, Windows, batches, build_windows, collate
from komrc.progress import Advance, showing
from komrc.settings import ReaderSettings
from komrc.types import Answer, Example, Span

if TYPE_CHECKING:
    from komrc.tokenization import ReaderTokenizer

logger = logging.getLogger(__name__)

TOKEN_BUDGET = 4096  # padded tokens of a batch
_BEYOND_ANY_LOGIT = 1e34  # sums and quotients of smaller ones stay within float32
_PAIRS_AT_FIRST, _PAIRS_AT_ONCE = 16, 256  # held in memory and sorted by length together


@dataclass(slots=True)
class Reading:
    """Examples on their way: their windows, and the logits of those that the engine has run.

    The logits stand flat, as FlatLogits says; the drops are None as long as no engine has given any.
    """

    examples: Sequence[Example]
    windows: Windows
    start: NDArray[np.float32]
    end: NDArray[np.float32]
    drop_front: NDArray[np.float32] | None = None
    drop_back: NDArray[np.float32] | None = None


@dataclass(frozen=True, slots=True)
class Prediction:
    """What was read for one example.

    ``answers``: the best ones, at most top_k; none where the context has nothing that a token covers.
    ``candidates``: all that were ranked, before any particle was trimmed.
    """

    id: str
    answers: tuple[Answer, ...]
    candidates: tuple[Candidate, ...]


class Reader:
    """Answers questions from contexts of any length.

    Args:
        tokenizer: the model's.
        engine: runs the model.
        settings: lengths and how answers are picked.
        trim_particles: "kiwi" cuts particles off the answers, for models that answer in whole words.
        token_budget: padded tokens of a batch at most.
    """

    def __init__(
        self,
        tokenizer: ReaderTokenizer,
        engine: Engine,
        settings: ReaderSettings | None = None,
        *,
        trim_particles: Literal["kiwi"] | None = None,
        token_budget: int = TOKEN_BUDGET,
    ) -> None:
        if trim_particles not in (None, "kiwi"):
            raise UsageError(
                f"no way to trim particles is called {trim_particles!r}",
                where="trim_particles",
                fix='use "kiwi"',
            )
        self.tokenizer = tokenizer
        self.engine = engine
        self.settings = settings or ReaderSettings()
        self.trim_particles = trim_particles
        self.token_budget = token_budget

    @classmethod
    def load(
        cls,
        model: str | Path | None = None,
        *,
        engine: EngineName = "auto",
        trim_particles: Literal["kiwi"] | None = None,
        **overrides: Any,
    ) -> Reader:
        """A reader for a model folder, a hub id, or (None) the model that the package carries.

        Args:
            engine: "auto" takes what the folder and the installation have.
            trim_particles: see the class.
            overrides: settings to use instead of the folder's, by their names in ReaderSettings.

        Raises HubError, ModelError, EngineError, UsageError.
        """
        from komrc import hub, model_folder
        from komrc.tokenization import load_tokenizer

        folder = hub.resolve(model)
        model_folder.check(folder)
        model_folder.verify(folder)
        settings = ReaderSettings.load(folder)
        unknown = sorted(set(overrides) - set(ReaderSettings.__dataclass_fields__))
        if unknown:
            raise UsageError(
                f"no setting is called {unknown[0]!r}",
                where="Reader.load",
                fix=f"choose from {', '.join(ReaderSettings.__dataclass_fields__)}",
            )
        return cls(
            load_tokenizer(folder),
            load_engine(folder, engine),
            replace(settings, **overrides),
            trim_particles=trim_particles,
        )

    def read(self, question: str, context: str, *, top_k: int = 1, progress: bool = False) -> list[Answer]:
        """The best answers, best first, at most ``top_k``: ``text == context[start:end]`` for each.

        ``progress`` shows a bar with the time left on stderr where it takes longer than two seconds.

        None where no token covers a character of the context. Raises InputError for an empty question or
        context, or one that is not text.
        """
        (prediction,) = self.read_examples([Example("", question, context)], top_k=top_k, progress=progress)
        return list(prediction.answers)

    def read_many(
        self, pairs: Iterable[tuple[str, str]], *, top_k: int = 1, progress: bool = False
    ) -> list[list[Answer]]:
        """What ``read`` gives for each (question, context), in the pairs' order, batched."""
        total = len(pairs) if isinstance(pairs, Sequence) else None
        examples = (Example(f"pair {n}", question, context) for n, (question, context) in enumerate(pairs))
        with _shown(progress, total) as advance:
            return [list(p.answers) for p in self.stream(examples, top_k=top_k, advance=advance)]

    def read_examples(
        self, examples: Sequence[Example], *, top_k: int = 1, progress: bool = False
    ) -> list[Prediction]:
        """Predictions for all examples, in their order."""
        with _shown(progress, len(examples)) as advance:
            return list(self.stream(examples, top_k=top_k, advance=advance))

    def stream(
        self,
        examples: Iterable[Example],
        *,
        top_k: int = 1,
        share: tuple[int, int] = (0, 1),
        advance: Advance = lambda _done: None,
    ) -> Iterator[Prediction]:
        """Predictions in the examples' order, in bounded memory however many there are.

        While the engine computes, the next examples are tokenized on another thread. ``share`` (k, n) reads
        the k-th of n parts only; the parts together are what one reader gives, bit for bit. ``advance`` is
        called with the number of examples done, after each batch with a fraction. Raises
        InputError for an example whose question or context is empty or not text.
        """
        if top_k < 1:
            raise UsageError(f"must be at least 1, found {top_k}", where="top_k")
        part, parts = share
        done = 0
        for reading in _ahead(self.prepare, islice(_chunks(examples), part, None, parts)):
            lengths = reading.windows.lengths
            share_of_token, tokens = len(reading.examples) / max(1, int(lengths.sum())), 0
            for indices in batches(lengths, token_budget=self.token_budget):
                self.run([(reading, indices)])
                tokens += int(lengths[indices].sum())
                advance(done + tokens * share_of_token)
            done += len(reading.examples)
            yield from self.predict(reading, top_k=top_k)

    def _decode_config(self, top_k: int) -> DecodeConfig:
        settings = self.settings
        return DecodeConfig(
            n_best=max(settings.n_best_size, top_k),
            max_answer_tokens=settings.max_answer_length,
            no_answer=settings.version_2_with_negative,
            null_threshold=settings.null_score_diff_threshold,
            temperature=settings.temperature,
        )

    def prepare(self, examples: Sequence[Example]) -> Reading:
        """Tokenize examples and cut their windows, for ``run``.

        Raises InputError for an example whose question or context is empty or not text, UsageError for
        lengths that the model or each other don't allow.
        """
        for example in examples:
            _check(example.question, "question", example.id)
            _check(example.context, "context", example.id)
        settings = self.settings
        config = WindowConfig(settings.max_seq_length, settings.doc_stride, settings.max_query_length)
        windows = build_windows(examples, self.tokenizer, config, labels=False)
        cut = np.nonzero(windows.question_truncated)[0]
        if len(cut):
            first = examples[int(cut[0])].id
            logger.warning(
                "%d question(s) longer than %d tokens were cut to that length%s",
                len(cut),
                settings.max_query_length,
                f", the first with id {first}" if first else "",
            )
        total = int(windows.indptr[-1])
        return Reading(examples, windows, np.empty(total, np.float32), np.empty(total, np.float32))

    def run(self, parts: Sequence[tuple[Reading, Sequence[int] | NDArray[np.intp]]]) -> None:
        """Run the named windows of one or several readings as one batch; the readings keep the logits.

        Raises EngineError where the engine fails.
        """
        padded = [
            collate(reading.windows, np.asarray(numbers), pad_id=self.tokenizer.pad_id)
            for reading, numbers in parts
        ]
        logits = self.engine.run(_stack(padded, self.tokenizer.pad_id))
        row = 0
        for (reading, numbers), batch in zip(parts, padded, strict=True):
            indptr = reading.windows.indptr
            at = np.concatenate([np.arange(indptr[n], indptr[n + 1]) for n in numbers])
            real = batch.attention_mask.astype(np.bool_)
            cells = slice(row, row + len(real)), slice(0, real.shape[1])
            row += len(real)
            reading.start[at], reading.end[at] = logits.start[cells][real], logits.end[cells][real]
            if logits.drop_front is not None and logits.drop_back is not None:
                if reading.drop_front is None or reading.drop_back is None:
                    reading.drop_front = np.empty((len(reading.start), BOUNDARY_CLASSES), np.float32)
                    reading.drop_back = np.empty_like(reading.drop_front)
                reading.drop_front[at] = logits.drop_front[cells][real]
                reading.drop_back[at] = logits.drop_back[cells][real]

    def predict(self, reading: Reading, *, top_k: int = 1) -> list[Prediction]:
        """Predictions for the examples of a reading whose windows have all been run.

        Raises EngineError where the model gave values that are not numbers.
        """
        logits = FlatLogits(reading.start, reading.end, reading.drop_front, reading.drop_back)
        _check_finite(logits, self.engine.name)
        contexts = [example.context for example in reading.examples]
        ranked = decode(reading.windows, logits, contexts, self._decode_config(top_k))
        answers = self._answers(contexts, ranked, top_k)
        return [
            Prediction(example.id, best, tuple(candidates))
            for example, candidates, best in zip(reading.examples, ranked, answers, strict=True)
        ]

    def with_parts(
        self, *, tokenizer: ReaderTokenizer | None = None, settings: ReaderSettings | None = None
    ) -> Reader:
        """The same reader on the same engine with another tokenizer or other settings."""
        return Reader(
            tokenizer or self.tokenizer,
            self.engine,
            settings or self.settings,
            trim_particles=self.trim_particles,
            token_budget=self.token_budget,
        )

    def _answers(
        self, contexts: Sequence[str], ranked: Sequence[Sequence[Candidate]], top_k: int
    ) -> list[tuple[Answer, ...]]:
        # Trimming makes one answer of several; twice as many leave enough in all but odd cases.
        enough = 2 * top_k if self.trim_particles and top_k > 1 else top_k
        answers = [
            tuple(Answer(context[c.start : c.end], c.start, c.end, c.score) for c in candidates[:enough])
            for context, candidates in zip(contexts, ranked, strict=True)
        ]
        if not self.trim_particles:
            return answers
        return [_distinct(row)[:top_k] for row in self._trim(contexts, answers)]

    def _trim(
        self, contexts: Sequence[str], answers: Sequence[tuple[Answer, ...]]
    ) -> list[tuple[Answer, ...]]:
        from komrc.particles import trim_many

        items = [(c, a.start, a.end) for c, row in zip(contexts, answers, strict=True) for a in row if a.text]
        spans = iter(trim_many(items))

        def trimmed(context: str, answer: Answer) -> Answer:
            if not answer.text:
                return answer
            span = next(spans)
            if (span.start, span.end) == (answer.start, answer.end):
                return answer
            text = context[span.start : span.end]
            return Answer(text, span.start, span.end, answer.score, Span(answer.start, answer.end))

        return [
            tuple(trimmed(context, answer) for answer in row)
            for context, row in zip(contexts, answers, strict=True)
        ]


@contextmanager
def _shown(progress: bool, total: int | None) -> Iterator[Advance]:
    """A function that shows the progress, or none."""
    if progress:
        with showing(total=total, what="reading") as advance:
            yield advance
    else:
        yield lambda _done: None


def _distinct(answers: Sequence[Answer]) -> tuple[Answer, ...]:
    """The first of the answers with the same characters."""
    found: dict[tuple[int, int], Answer] = {}
    for answer in answers:
        found.setdefault((answer.start, answer.end), answer)
    return tuple(found.values())


def _check(text: object, what: str, name: str) -> None:
    where = f"{what} of {name}" if name else what
    if not isinstance(text, str):
        raise InputError(f"must be text, found {type(text).__name__}", where=where)
    if not text.strip():
        raise InputError("is empty", where=where, fix=f"give a {what} with at least one character")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InputError(
            f"holds half of a surrogate pair at character {error.start}",
            where=where,
            fix="decode the text as UTF-8 or UTF-16 again",
        ) from error


def _check_finite(logits: FlatLogits, engine: str) -> None:
    for values in (logits.start, logits.end, logits.drop_front, logits.drop_back):
        if values is not None and not (np.abs(values) < _BEYOND_ANY_LOGIT).all():
            raise EngineError(
                "the model gave values that are not numbers, or beyond all measure",
                where=f"engine {engine}",
                fix="train the model again, or take the fp32 engine",
            )


def _chunks(items: Iterable[Example]) -> Iterator[list[Example]]:
    """Small ones first, so that the first answers, and a guess of the time left, come soon."""
    iterator, size = iter(items), _PAIRS_AT_FIRST
    while chunk := list(islice(iterator, size)):
        yield chunk
        size = min(2 * size, _PAIRS_AT_ONCE)


def _stack(parts: Sequence[Batch], pad_id: int) -> Batch:
    """One batch of several, padded on the right to the longest."""
    if len(parts) == 1:
        return parts[0]
    width = max(part.input_ids.shape[1] for part in parts)

    def joined(arrays: Sequence[NDArray[np.int64]], filler: int) -> NDArray[np.int64]:
        return np.concatenate(
            [np.pad(a, ((0, 0), (0, width - a.shape[1])), constant_values=filler) for a in arrays]
        )

    types = [part.token_type_ids for part in parts if part.token_type_ids is not None]
    return Batch(
        joined([part.input_ids for part in parts], pad_id),
        joined([part.attention_mask for part in parts], 0),
        joined(types, 0) if types else None,
    )


def _ahead(work: Callable[[list[Example]], Reading], chunks: Iterator[list[Example]]) -> Iterator[Reading]:
    """Each chunk with its work done, one chunk ahead of the consumer, on one other thread."""
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="komrc-windows") as executor:
        waiting: Future[Reading] | None = None
        for chunk in chunks:
            coming = executor.submit(work, chunk)
            if waiting is not None:
                yield waiting.result()
            waiting = coming
        if waiting is not None:
            yield waiting.result()
