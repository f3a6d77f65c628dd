"""The pipeline of a request: checks, answer cache, admission, tokenization, batching, decoding."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from komrc import long_texts
from komrc.config import ReaderConfig, WindowConfig
from komrc.errors import EngineError, InputError, KomrcError, UsageError
from komrc.reader import EncodedBatch, Prediction, Reader
from komrc.serving.batching import Batcher, InferenceJob, Part, TooSlowError
from komrc.serving.cache import CachingTokenizer, LruCache, fingerprint
from komrc.serving.errors import past_deadline, too_busy, too_long
from komrc.serving.metrics import Metrics
from komrc.serving.options import ServeOptions
from komrc.serving.pace import Pace
from komrc.types import Answer, Example
from komrc.windows import batches

_SPANS = 25_000_000  # spans of one context that decoding may rank: about 100 MB
_READ_WITHIN, _ADVISED = 0.9, 0.8  # shares of the time limit: for reading; for the length that is advised
_MAX_READS = 8  # how often a token may be read, if the request sets the overlap of windows
_PREPARING_THREADS = 2  # tokenizing and decoding; a short request is not blocked by a long document

Progress = Callable[[int, int], None]


class LocatedPair(NamedTuple):
    """A question on a text, and their places in the request, for error messages."""

    question: str
    context: str
    question_at: str = "question"
    context_at: str = "context"


@dataclass(frozen=True, slots=True)
class AnswerOptions:
    """What one request asks for; None means the model's own setting. Lengths in tokens.

    ``names``: the fields of the request that have another name than here.
    """

    top_k: int = 1
    no_answer: bool | None = None
    max_answer_tokens: int | None = None
    max_seq_length: int | None = None
    max_query_length: int | None = None
    window_overlap: int | None = None
    distinct: bool = False
    whole_words: bool = False
    exhaustive: bool = False
    names: Mapping[str, str] = field(default_factory=dict)

    def at(self, name: str) -> str:
        """The field of the request for an option."""
        return self.names.get(name, name)

    def renamed_error(self, error: UsageError) -> InputError:
        """The error about lengths, with the names of the request's fields."""

        def renamed(text: str) -> str:
            for own, sent in self.names.items():
                text = re.sub(rf"\b{own}\b", sent.rpartition(".")[2], text)
            return text

        blamed = (error.where or "").split(", ")
        sent = [name for name in blamed if getattr(self, name, None) is not None]
        where = ", ".join(map(self.at, sent or blamed))
        return InputError(renamed(error.what), where=where, fix=renamed(error.fix or ""))


@dataclass(slots=True)
class RequestResult:
    """Ranked answers for each pair of a request, and the seconds that each step took."""

    answers: list[tuple[Answer, ...]]
    cached: list[bool]
    windows: int = 0
    tokens: int = 0
    seconds: dict[str, float] = field(
        default_factory=lambda: {"queue": 0.0, "tokenize": 0.0, "infer": 0.0, "decode": 0.0}
    )


class AnswerService:
    """Answers requests with one reader, on one event loop."""

    def __init__(self, reader: Reader, options: ServeOptions, metrics: Metrics) -> None:
        tokenizer = reader.tokenizer
        if options.cache_context_chars:
            tokenizer = CachingTokenizer(tokenizer, options.cache_context_chars)
        self.reader = reader.copy_with(tokenizer=tokenizer)
        self._options = options
        self._metrics = metrics
        self._cache: LruCache[bytes, tuple[Answer, ...]] = LruCache(options.cache_answers)
        # Requests that missed their deadline, with the number of windows that were read; weight: all windows.
        self._unfinished: LruCache[bytes, tuple[EncodedBatch, int]] = LruCache(options.max_windows)
        self._engine_thread = ThreadPoolExecutor(1, thread_name_prefix="komrc-engine")
        self._threads = ThreadPoolExecutor(_PREPARING_THREADS, thread_name_prefix="komrc-text")
        self._batcher: Batcher[EncodedBatch] = Batcher(
            self._run,
            self._engine_thread,
            metrics,
            Pace(options.max_batch_tokens),
            max_pairs=options.max_queue,
            max_windows=options.max_queue_windows,
            max_tokens=options.max_batch_tokens,
            wait_seconds=options.batch_wait_ms / 1000,
        )
        self._task = asyncio.ensure_future(self._batcher.serve())

    async def close(self) -> None:
        """Stop the queue and the threads; requests that still wait are dropped."""
        self._task.cancel()
        self._engine_thread.shutdown(wait=False, cancel_futures=True)
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def answer(
        self, pairs: Sequence[LocatedPair], options: AnswerOptions, on_progress: Progress | None = None
    ) -> RequestResult:
        """Ranked answers of all pairs, at most ``options.top_k`` each.

        Raises:
            InputError: a text or a length beyond the server's limits.
            RejectedError: the queue is full, the text is too long for the time, or the time is up.
            Exception: the engine failed on a batch with windows of this request.
        """
        self._check(pairs, options)
        reader = self._reader_for(pairs, options)
        # Distinct or whole-word answers need a search of their own: find only as many as requested.
        searched = options.distinct or options.whole_words
        count = options.top_k if searched else self._options.max_top_k
        pick = partial(
            Reader.predict, top_k=count, distinct=options.distinct, whole_words=options.whole_words
        )
        settings = str((reader.config, pick.keywords, options.exhaustive))
        keys = [fingerprint(settings, pair.question, pair.context) for pair in pairs]
        cached = {key: answers for key in keys if (answers := self._cache.get(key)) is not None}
        missing = {key: pair for key, pair in zip(keys, pairs, strict=True) if key not in cached}
        result = RequestResult(answers=[], cached=[key in cached for key in keys])
        self._metrics.cache.labels("hit").inc(sum(result.cached))
        self._metrics.cache.labels("miss").inc(len(keys) - sum(result.cached))
        if missing:
            asked = list(missing.values())
            try:
                with self._batcher.admitted(len(asked), self._windows(asked, reader)):
                    fresh = await self._read(
                        reader, asked, pick, result, on_progress, exhaustive=options.exhaustive
                    )
            except UsageError as error:
                raise options.renamed_error(error) from error
            for key, answers in zip(missing, fresh, strict=True):
                cached[key] = answers
                self._cache.put(key, answers)
        result.answers = [cached[key][: options.top_k] for key in keys]
        return result

    def admitted(self, pairs: int, windows: int) -> AbstractContextManager[None]:
        """Room in the queue for other pairs than those of ``answer``; see ``Batcher.admitted``."""
        return self._batcher.admitted(pairs, windows)

    async def infer(self, encoded: EncodedBatch) -> None:
        """Run all windows of a prepared batch, in turn with those of other requests."""
        await self._batcher.infer(InferenceJob(encoded, encoded.windows.lengths.tolist()))

    async def _read(
        self,
        reader: Reader,
        pairs: Sequence[LocatedPair],
        pick: Callable[[Reader, EncodedBatch], list[Prediction]],
        result: RequestResult,
        on_progress: Progress | None,
        *,
        exhaustive: bool,
    ) -> list[tuple[Answer, ...]]:
        loop = asyncio.get_running_loop()
        examples = [Example(str(n), one.question, one.context) for n, one in enumerate(pairs)]
        prepare = partial(reader.prepare, examples, exhaustive=exhaustive)
        key = fingerprint(reader.config.windows, exhaustive, *(text for one in pairs for text in one[:2]))
        limit = self._options.request_timeout
        job: InferenceJob[EncodedBatch] | None = None
        try:
            async with asyncio.timeout(limit) as deadline:

                def progress(done: int, total: int) -> None:
                    if on_progress is not None:  # the time limit is for the next progress only
                        deadline.reschedule(loop.time() + limit)
                        on_progress(done, total)

                began = time.monotonic()
                if (unfinished := self._unfinished.pop(key)) is not None:
                    encoded, done = unfinished
                else:
                    with self._batcher.preparing():
                        encoded = await loop.run_in_executor(self._threads, prepare)
                    done = 0
                result.seconds["tokenize"] = time.monotonic() - began
                self._metrics.tokenize_seconds.observe(result.seconds["tokenize"])
                job = InferenceJob(encoded, encoded.windows.lengths.tolist(), progress, done=done)
                if on_progress is None:
                    job.deadline = began + _READ_WITHIN * limit
                result.windows, result.tokens = len(job.lengths), sum(job.lengths)
                await self._batcher.infer(job)
                result.seconds["queue"], result.seconds["infer"] = job.queue_seconds, job.infer_seconds
                began = time.monotonic()
                predictions = await loop.run_in_executor(self._threads, pick, reader, encoded)
                result.seconds["decode"] = time.monotonic() - began
        except TimeoutError:
            raise past_deadline(limit, kept=self._keep(key, job)) from None
        except TooSlowError as error:
            self._keep(key, job)
            longest = max(pairs, key=lambda one: len(one.context)).context_at
            if error.seconds_alone > _READ_WITHIN * limit:
                most_read = None if exhaustive else long_texts.LONG
                characters = sum(len(one.context[:most_read]) for one in pairs)
                advised = _rounded(_ADVISED * characters * limit / error.seconds_alone)
                raise too_long(limit, advised, longest, exhaustive=exhaustive) from None
            raise too_busy(limit, self._batcher.retry_after(), longest) from None
        return [prediction.answers for prediction in predictions]

    def _keep(self, key: bytes, job: InferenceJob[EncodedBatch] | None) -> bool:
        """Keep what was read for a request that was not answered; whether there was anything."""
        if job is None or not job.done or len(job.lengths) > self._options.max_windows:
            return False
        self._unfinished.put(key, (job.payload, job.done), len(job.lengths))
        return True

    def _run(self, parts: list[Part[EncodedBatch]]) -> None:
        """Run windows of several requests, similar lengths together. Called on the engine thread."""
        owners = [(encoded, n) for encoded, windows in parts for n in windows]
        lengths: NDArray[np.int64] = np.concatenate(
            [encoded.windows.lengths[windows] for encoded, windows in parts]
        )
        for indices in batches(lengths, token_budget=self._options.max_batch_tokens):
            together: dict[int, tuple[EncodedBatch, list[int]]] = {}
            for i in indices:
                encoded, n = owners[i]
                together.setdefault(id(encoded), (encoded, []))[1].append(n)
            try:
                self.reader.run(list(together.values()))
            except KomrcError:
                raise
            except Exception as error:
                raise EngineError(f"failed ({error})", where=f"engine {self.reader.engine.name}") from error

    def _check(self, pairs: Sequence[LocatedPair], options: AnswerOptions) -> None:
        limits = self._options
        if len(pairs) > limits.max_inputs:
            raise InputError(
                f"{len(pairs)} pairs are too many", fix=f"send at most {limits.max_inputs} at a time"
            )
        for name, value, limit in (
            ("top_k", options.top_k, limits.max_top_k),
            ("max_answer_tokens", options.max_answer_tokens or 0, limits.max_answer_tokens),
        ):
            if value > limit:
                raise InputError(
                    f"{value} is too much", where=options.at(name), fix=f"ask for at most {limit}"
                )
        for question, context, question_at, context_at in pairs:
            check_text(question, question_at, limits.max_question_chars)
            check_text(context, context_at, limits.max_context_chars)
            longest = options.max_answer_tokens or self.reader.config.decoding.max_answer_tokens
            if longest * len(context) > _SPANS:
                raise InputError(
                    "answers may not be so long in so long a text",
                    where=options.at("max_answer_tokens"),
                    fix=f"ask for at most {_SPANS // len(context)}, or send less text",
                )

    def _reader_for(self, pairs: Sequence[LocatedPair], options: AnswerOptions) -> Reader:
        """The reader with this request's settings; it shares model and tokenizer."""
        own = self.reader.config
        longest = options.max_seq_length or own.windows.max_seq_length
        question = options.max_query_length or min(own.windows.max_query_length, max(1, longest // 2))
        stride = own.windows.doc_stride
        # Hugging Face's stride is the overlap of windows; ours is the step between their starts.
        if options.window_overlap is not None:
            encoded = self.reader.tokenizer.encode_many([one.question for one in pairs])
            question = max(1, min(max(map(len, encoded), default=1), question))
        room = longest - question - self.reader.tokenizer.template.special_tokens
        if options.window_overlap is not None and room > 0:
            stride = room - options.window_overlap
            least = -(-room // _MAX_READS)
            if stride < least:
                raise InputError(
                    f"windows that have room for {room} tokens of the text may not share so many",
                    where=options.at("window_overlap"),
                    fix=f"use a doc_stride of at most {room - least}",
                )
        elif options.max_seq_length is not None:
            stride = max(1, min(stride, room))
        decoding = own.decoding
        no_answer = decoding.allow_no_answer if options.no_answer is None else options.no_answer
        config = ReaderConfig(
            WindowConfig(longest, stride, question),
            replace(
                decoding,
                max_answer_tokens=options.max_answer_tokens or decoding.max_answer_tokens,
                allow_no_answer=no_answer,
            ),
        )
        return self.reader if config == own else self.reader.copy_with(config=config)

    def _windows(self, pairs: Sequence[LocatedPair], reader: Reader) -> int:
        """An upper bound for the windows of these pairs: a token has at least one character."""
        config = reader.config.windows
        room = config.max_seq_length - config.max_query_length - reader.tokenizer.template.special_tokens
        step = max(1, min(config.doc_stride, room))
        windows = sum(1 + len(one.context) // step for one in pairs)
        if windows > self._options.max_windows:
            raise InputError(
                "the texts would be cut into too many windows",
                where=max(pairs, key=lambda one: len(one.context)).context_at,
                fix="send less text, or use a smaller doc_stride or a larger max_seq_len",
            )
        return windows


def _rounded(number: float) -> int:
    """The number, rounded down to two digits."""
    unit: int = 10 ** max(0, len(str(int(number))) - 2)
    return int(number) // unit * unit


def check_text(text: str, where: str, limit: int) -> None:
    """Raises InputError for a text that is empty, too long or not valid Unicode."""
    if not text.strip():
        raise InputError("the text is empty", where=where, fix="send at least one character")
    if len(text) > limit:
        raise InputError(f"the text has {len(text)} characters", where=where, fix=f"send at most {limit}")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InputError(
            f"the text holds half of a surrogate pair at character {error.start}",
            where=where,
            fix="send both halves, or the character itself",
        ) from error
