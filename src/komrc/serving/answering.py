"""From pairs to answers: admitted, remembered, tokenized, batched, decoded. The reading is Reader's."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from komrc.errors import EngineError, InputError, KomrcError, UsageError
from komrc.reader import Prediction, Reader, Reading
from komrc.serving.batching import Batcher, Job, Part
from komrc.serving.errors import RefusedError, past_deadline, too_busy, too_long
from komrc.serving.memory import Remembered, RememberingTokenizer, fingerprint
from komrc.serving.metrics import Metrics
from komrc.serving.options import ServeOptions
from komrc.serving.pace import Pace
from komrc.types import Answer, Example
from komrc.windows import batches

_SPANS = 25_000_000  # spans of one context that decoding may weigh: about 100 MB
_SURE, _SAFE = 0.9, 0.8  # of the time limit: more is refused; so much is advised
_READ_AT_MOST = 8  # times a token of a text, where the request names how much windows share
_PREPARING_THREADS = 2  # tokenizing and decoding; a long document must not hold up a short one

Progress = Callable[[int, int], None]


class Asked(NamedTuple):
    """A question on a text, and where in the request each of them is."""

    question: str
    context: str
    question_at: str = "question"
    context_at: str = "context"


@dataclass(frozen=True, slots=True)
class Wishes:
    """How one request wants its answers; None means as the model's settings say. Lengths in tokens.

    ``names``: what the request calls them, where that is something else.
    """

    top_k: int = 1
    no_answer: bool | None = None
    max_answer_tokens: int | None = None
    max_seq_length: int | None = None
    max_query_length: int | None = None
    window_overlap: int | None = None
    distinct: bool = False
    whole_words: bool = False
    names: Mapping[str, str] = field(default_factory=dict)

    def at(self, name: str) -> str:
        """Where in the request a wish is."""
        return self.names.get(name, name)

    def in_the_requests_words(self, error: UsageError) -> InputError:
        """What is wrong with lengths, by the names that the request has for them."""

        def renamed(text: str) -> str:
            for own, sent in self.names.items():
                text = re.sub(rf"\b{own}\b", sent.rpartition(".")[2], text)
            return text

        blamed = (error.where or "").split(", ")
        sent = [name for name in blamed if getattr(self, name, None) is not None]
        where = ", ".join(map(self.at, sent or blamed))
        return InputError(renamed(error.what), where=where, fix=renamed(error.fix or ""))


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

    async def answer(
        self, pairs: Sequence[Asked], wishes: Wishes, on_progress: Progress | None = None
    ) -> Outcome:
        """Ranked answers of all pairs, at most ``wishes.top_k`` each.

        Raises:
            InputError: a text or a length beyond the server's limits.
            RefusedError: the queue is full, the text is too long for the time, or the time is up.
            Exception: the engine failed on a batch that held a part of this request.
        """
        self._check(pairs, wishes)
        reader = self._reader_for(pairs, wishes)
        # Answers apart or in whole words have to be looked for: no more of them than are asked for.
        sought = wishes.distinct or wishes.whole_words
        count = wishes.top_k if sought else self._options.max_top_k
        pick = partial(Reader.predict, top_k=count, distinct=wishes.distinct, whole_words=wishes.whole_words)
        wanted = str((reader.settings, pick.keywords))
        keys = [fingerprint(wanted, one.question, one.context) for one in pairs]
        found = {key: answers for key in keys if (answers := self._known.get(key)) is not None}
        missing = {key: pair for key, pair in zip(keys, pairs, strict=True) if key not in found}
        outcome = Outcome(answers=[], cached=[key in found for key in keys])
        self._metrics.cache.labels("hit").inc(sum(outcome.cached))
        self._metrics.cache.labels("miss").inc(len(keys) - sum(outcome.cached))
        if missing:
            asked = list(missing.values())
            try:
                with self._batcher.admitted(len(asked), self._windows(asked, reader)):
                    fresh = await self._read(reader, asked, pick, outcome, on_progress)
            except UsageError as error:
                raise wishes.in_the_requests_words(error) from error
            for key, answers in zip(missing, fresh, strict=True):
                found[key] = answers
                self._known.put(key, answers)
        outcome.answers = [found[key][: wishes.top_k] for key in keys]
        return outcome

    async def _read(
        self,
        reader: Reader,
        pairs: Sequence[Asked],
        pick: Callable[[Reader, Reading], list[Prediction]],
        outcome: Outcome,
        on_progress: Progress | None,
    ) -> list[tuple[Answer, ...]]:
        loop = asyncio.get_running_loop()
        examples = [Example(str(n), one.question, one.context) for n, one in enumerate(pairs)]
        limit = self._options.request_timeout
        try:
            async with asyncio.timeout(limit) as deadline:

                def progress(done: int, total: int) -> None:
                    if on_progress is not None:  # somebody watches: what gets on is not cut
                        deadline.reschedule(loop.time() + limit)
                        on_progress(done, total)

                def judge(pace: Pace, rest: Sequence[int], present: float) -> RefusedError | None:
                    longest = max(pairs, key=lambda one: len(one.context)).context_at
                    alone = pace.alone(reading.windows.lengths.tolist())
                    if alone > _SURE * limit:
                        characters = sum(len(one.context) for one in pairs)
                        return too_long(limit, _rounded(_SAFE * characters * limit / alone), longest)
                    if loop.time() + pace.beside(rest, present) > (deadline.when() or 0):
                        return too_busy(limit, self._batcher.retry_after(), longest)
                    return None

                began = time.monotonic()
                with self._batcher.preparing():
                    reading = await loop.run_in_executor(self._threads, reader.prepare, examples)
                outcome.seconds["tokenize"] = time.monotonic() - began
                self._metrics.tokenize_seconds.observe(outcome.seconds["tokenize"])
                job = Job(reading, reading.windows.lengths.tolist(), progress)
                if on_progress is None and sum(job.lengths) > self._options.max_batch_tokens:
                    job.judge, job.judge_seconds = judge, limit / 4
                outcome.windows, outcome.tokens = len(job.lengths), sum(job.lengths)
                await self._batcher.infer(job)
                outcome.seconds["queue"], outcome.seconds["infer"] = job.queue_seconds, job.infer_seconds
                began = time.monotonic()
                predictions = await loop.run_in_executor(self._threads, pick, reader, reading)
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

    def _check(self, pairs: Sequence[Asked], wishes: Wishes) -> None:
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
                raise InputError(
                    f"{value} is too much", where=wishes.at(name), fix=f"ask for at most {limit}"
                )
        for question, context, question_at, context_at in pairs:
            _check_text(question, question_at, options.max_question_chars)
            _check_text(context, context_at, options.max_context_chars)
            longest = wishes.max_answer_tokens or self.reader.settings.max_answer_length
            if longest * len(context) > _SPANS:
                raise InputError(
                    "answers may not be so long in so long a text",
                    where=wishes.at("max_answer_tokens"),
                    fix=f"ask for at most {_SPANS // len(context)}, or send less text",
                )

    def _reader_for(self, pairs: Sequence[Asked], wishes: Wishes) -> Reader:
        """The reader with this request's settings; same model, same tokenizer."""
        own = self.reader.settings
        longest = wishes.max_seq_length or own.max_seq_length
        question = wishes.max_query_length or min(own.max_query_length, max(1, longest // 2))
        stride = own.doc_stride
        if wishes.window_overlap is not None:  # Hugging Face counts what windows share, we count the step
            encoded = self.reader.tokenizer.encode_many([one.question for one in pairs])
            question = max(1, min(max(map(len, encoded), default=1), question))
        room = longest - question - self.reader.tokenizer.template.special_tokens
        if wishes.window_overlap is not None and room > 0:
            stride = room - wishes.window_overlap
            least = -(-room // _READ_AT_MOST)
            if stride < least:
                raise InputError(
                    f"windows that have room for {room} tokens of the text may not share so many",
                    where=wishes.at("window_overlap"),
                    fix=f"use a doc_stride of at most {room - least}",
                )
        elif wishes.max_seq_length is not None:
            stride = max(1, min(stride, room))
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

    def _windows(self, pairs: Sequence[Asked], reader: Reader) -> int:
        """The most windows these pairs may be cut into: a token has at least a character."""
        settings = reader.settings
        room = settings.max_seq_length - settings.max_query_length - reader.tokenizer.template.special_tokens
        step = max(1, min(settings.doc_stride, room))
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


def _check_text(text: str, where: str, limit: int) -> None:
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
