"""From pairs to answers: admitted, remembered, tokenized, batched, decoded. The reading is Reader's."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from komrc.errors import EngineError, InputError, KomrcError
from komrc.features import batches
from komrc.reader import Reader, Reading
from komrc.serving.batching import Batcher, Job, Part
from komrc.serving.errors import past_deadline
from komrc.serving.memory import Remembered, RememberingTokenizer, fingerprint
from komrc.serving.metrics import Metrics
from komrc.serving.options import ServeOptions
from komrc.types import Answer, Example

_SPANS = 25_000_000  # spans of one context that decoding may weigh: about 100 MB
_PREPARING_THREADS = 2  # tokenizing and decoding; a long document must not hold up a short one

Pairs = Sequence[tuple[str, str]]
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Wishes:
    """How one request wants its answers; None means as the model's settings say. Lengths in tokens."""

    top_k: int = 1
    no_answer: bool | None = None
    max_answer_tokens: int | None = None
    max_seq_length: int | None = None
    max_query_length: int | None = None
    window_overlap: int | None = None
    whole_words: bool = False


@dataclass(slots=True)
class Outcome:
    """What a request gets: ranked answers for each pair, and what they took (seconds)."""

    answers: list[tuple[Answer, ...]]
    cached: list[bool]
    windows: int = 0
    tokens: int = 0
    seconds: dict[str, float] = field(
        default_factory=lambda: {"queue": 0.0, "tokenize": 0.0, "infer": 0.0, "decode": 0.0}
    )


class Answering:
    """Answers requests with one reader. Belongs to one event loop."""

    def __init__(self, reader: Reader, options: ServeOptions, metrics: Metrics) -> None:
        tokenizer = reader.tokenizer
        if options.cache_context_chars:
            tokenizer = RememberingTokenizer(tokenizer, options.cache_context_chars)
        self.reader = reader.with_parts(tokenizer=tokenizer)
        self._options = options
        self._metrics = metrics
        self._known: Remembered[bytes, tuple[Answer, ...]] = Remembered(options.cache_answers)
        self._engine_thread = ThreadPoolExecutor(1, thread_name_prefix="komrc-engine")
        self._threads = ThreadPoolExecutor(_PREPARING_THREADS, thread_name_prefix="komrc-text")
        self._batcher: Batcher[Reading] = Batcher(
            self._run,
            self._engine_thread,
            metrics,
            max_pairs=options.max_queue,
            max_windows=options.max_queue_windows,
            max_tokens=options.max_batch_tokens,
            wait_seconds=options.batch_wait_ms / 1000,
        )
        self._task = asyncio.ensure_future(self._batcher.serve())

    async def close(self) -> None:
        """Stop the queue and the threads; what still waits is dropped."""
        self._task.cancel()
        self._engine_thread.shutdown(wait=False, cancel_futures=True)
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def answer(self, pairs: Pairs, wishes: Wishes, on_progress: Progress | None = None) -> Outcome:
        """Ranked answers of all pairs, at most ``wishes.top_k`` each.

        Raises:
            InputError: a text or a length beyond the server's limits.
            RefusedError: the queue is full, or the time is up.
            Exception: the engine failed on a batch that held a part of this request.
        """
        self._check(pairs, wishes)
        reader = self._reader_for(pairs, wishes)
        settings = f"{reader.settings} {wishes.whole_words and wishes.top_k}"
        keys = [fingerprint(settings, question, context) for question, context in pairs]
        found = {key: answers for key in keys if (answers := self._known.get(key)) is not None}
        missing = {key: pair for key, pair in zip(keys, pairs, strict=True) if key not in found}
        outcome = Outcome(answers=[], cached=[key in found for key in keys])
        self._metrics.cache.labels("hit").inc(sum(outcome.cached))
        self._metrics.cache.labels("miss").inc(len(keys) - sum(outcome.cached))
        if missing:
            with self._batcher.admitted(len(missing), self._windows(list(missing.values()), reader)):
                fresh = await self._read(reader, list(missing.values()), wishes, outcome, on_progress)
            for key, answers in zip(missing, fresh, strict=True):
                found[key] = answers
                self._known.put(key, answers)
        outcome.answers = [found[key][: wishes.top_k] for key in keys]
        return outcome

    async def _read(
        self, reader: Reader, pairs: Pairs, wishes: Wishes, outcome: Outcome, on_progress: Progress | None
    ) -> list[tuple[Answer, ...]]:
        loop = asyncio.get_running_loop()
        examples = [Example(str(n), question, context) for n, (question, context) in enumerate(pairs)]
        limit = self._options.request_timeout
        try:
            async with asyncio.timeout(limit):
                began = time.monotonic()
                with self._batcher.preparing():
                    reading = await loop.run_in_executor(self._threads, reader.prepare, examples)
                outcome.seconds["tokenize"] = time.monotonic() - began
                self._metrics.tokenize_seconds.observe(outcome.seconds["tokenize"])
                job = Job(reading, reading.windows.lengths.tolist(), on_progress)
                outcome.windows, outcome.tokens = len(job.lengths), sum(job.lengths)
                await self._batcher.infer(job)
                outcome.seconds["queue"], outcome.seconds["infer"] = job.queue_seconds, job.infer_seconds
                began = time.monotonic()
                predictions = await loop.run_in_executor(
                    self._threads,
                    partial(
                        reader.predict,
                        reading,
                        # Answers of whole words have to be looked for: no more of them than are asked for.
                        top_k=wishes.top_k if wishes.whole_words else self._options.max_top_k,
                        whole_words=wishes.whole_words,
                    ),
                )
                outcome.seconds["decode"] = time.monotonic() - began
        except TimeoutError:
            raise past_deadline(limit) from None
        return [prediction.answers for prediction in predictions]

    def _run(self, parts: list[Part[Reading]]) -> None:
        """Run the windows of several requests, like lengths together. On the engine thread."""
        owners = [(reading, n) for reading, windows in parts for n in windows]
        lengths: NDArray[np.int64] = np.concatenate(
            [reading.windows.lengths[windows] for reading, windows in parts]
        )
        for indices in batches(lengths, token_budget=self._options.max_batch_tokens):
            together: dict[int, tuple[Reading, list[int]]] = {}
            for i in indices:
                reading, n = owners[i]
                together.setdefault(id(reading), (reading, []))[1].append(n)
            try:
                self.reader.run(list(together.values()))
            except KomrcError:
                raise
            except Exception as error:
                raise EngineError(f"failed ({error})", where=f"engine {self.reader.engine.name}") from error

    def _check(self, pairs: Pairs, wishes: Wishes) -> None:
        options = self._options
        if len(pairs) > options.max_inputs:
            raise InputError(
                f"{len(pairs)} pairs are too many", fix=f"send at most {options.max_inputs} at a time"
            )
        for name, value, limit in (
            ("top_k", wishes.top_k, options.max_top_k),
            ("max_answer_tokens", wishes.max_answer_tokens or 0, options.max_answer_tokens),
        ):
            if value > limit:
                raise InputError(f"{value} is too much", where=name, fix=f"ask for at most {limit}")
        for question, context in pairs:
            for name, text, limit in (
                ("question", question, options.max_question_chars),
                ("context", context, options.max_context_chars),
            ):
                if not text.strip():
                    raise InputError("the text is empty", where=name, fix="send at least one character")
                if len(text) > limit:
                    raise InputError(
                        f"the text has {len(text)} characters", where=name, fix=f"send at most {limit}"
                    )
            longest = wishes.max_answer_tokens or self.reader.settings.max_answer_length
            if longest * len(context) > _SPANS:
                raise InputError(
                    "answers may not be so long in so long a text",
                    where="max_answer_tokens",
                    fix=f"ask for at most {_SPANS // len(context)}, or send less text",
                )

    def _reader_for(self, pairs: Pairs, wishes: Wishes) -> Reader:
        """The reader with this request's settings; same model, same tokenizer."""
        own = self.reader.settings
        longest = wishes.max_seq_length or own.max_seq_length
        question = wishes.max_query_length or min(own.max_query_length, max(1, longest // 2))
        stride = own.doc_stride
        if wishes.window_overlap is not None:  # Hugging Face counts what windows share, we count the step
            tokens = max(
                (len(e) for e in self.reader.tokenizer.encode_many([q for q, _ in pairs])), default=0
            )
            room = longest - min(tokens, question) - self.reader.tokenizer.template.special_tokens
            stride = max(1, room - wishes.window_overlap)
        settings = replace(
            own,
            max_seq_length=longest,
            max_query_length=question,
            doc_stride=stride,
            max_answer_length=wishes.max_answer_tokens or own.max_answer_length,
            version_2_with_negative=(
                own.version_2_with_negative if wishes.no_answer is None else wishes.no_answer
            ),
        )
        return self.reader if settings == own else self.reader.with_parts(settings=settings)

    def _windows(self, pairs: Pairs, reader: Reader) -> int:
        """The most windows these pairs may be cut into: a token has at least a character."""
        settings = reader.settings
        room = settings.max_seq_length - settings.max_query_length - reader.tokenizer.template.special_tokens
        step = max(1, min(settings.doc_stride, room))
        windows = sum(1 + len(context) // step for _, context in pairs)
        if windows > self._options.max_windows:
            raise InputError(
                "the texts would be cut into too many windows",
                where="context",
                fix="send less text, or use a smaller doc_stride or a larger max_seq_len",
            )
        return windows
