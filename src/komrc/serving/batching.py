"""The bounded queue in front of the engine: admission, and batches of windows from several requests.

The order of the windows is that of ``fair_queue``.

Everything runs on the thread of the event loop, except ``run``, which runs on the engine thread.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from komrc.serving.errors import queue_full
from komrc.serving.fair_queue import FairQueue, RequestClass
from komrc.serving.metrics import Metrics
from komrc.serving.pace import Pace

P = TypeVar("P")
Part = tuple[P, list[int]]  # a job's payload and the numbers of its windows in this batch


@dataclass(eq=False)
class InferenceJob(Generic[P]):
    """The windows of one request."""

    payload: P
    lengths: Sequence[int]  # tokens of each window
    on_progress: Callable[[int, int], None] | None = None  # windows done, windows in all
    deadline: float | None = None  # of the monotonic clock; None: the job is never refused
    done: int = 0  # windows that were run, the first ones; more than 0 if the job continues an earlier one
    queue_seconds: float = 0.0  # until its first window ran
    infer_seconds: float = 0.0  # of the batches it was part of
    _submitted: float = field(default_factory=time.monotonic)
    _checked: bool = False  # whether it can be done by its deadline
    _future: asyncio.Future[None] | None = None


class TooSlowError(Exception):
    """A job can't be done by its deadline, or others can't be done by theirs if it is.

    seconds_alone: that the whole job takes on an otherwise idle engine.
    """

    def __init__(self, seconds_alone: float) -> None:
        super().__init__(f"a job that takes {seconds_alone:.1f} s alone is too slow")
        self.seconds_alone = seconds_alone


class Batcher(Generic[P]):
    """Merges the windows of waiting jobs into batches of at most ``max_tokens`` tokens.

    A batch starts as soon as the engine is free. If requests are being tokenized at that time, it waits for
    them, for at most ``wait_seconds``.
    """

    def __init__(
        self,
        run: Callable[[list[Part[P]]], None],
        executor: Executor,
        metrics: Metrics,
        pace: Pace,
        *,
        max_pairs: int,
        max_windows: int,
        max_tokens: int,
        wait_seconds: float,
    ) -> None:
        self._run = run
        self._executor = executor
        self._metrics = metrics
        self._max_pairs = max_pairs
        self._max_windows = max_windows
        self._max_tokens = max_tokens
        self._wait_seconds = wait_seconds
        self._queue: FairQueue[InferenceJob[P]] = FairQueue(max_tokens)
        self._changed = asyncio.Event()
        self._accepted = 0
        self._accepted_windows = 0
        self._preparing = 0
        self._pace = pace
        self._pair_seconds = 0.05  # a moving mean, for Retry-After

    @contextmanager
    def admitted(self, pairs: int, windows: int) -> Iterator[None]:
        """Reserve room for a request's pairs and windows until it is answered. An idle server admits any
        request.

        Raises:
            RejectedError: 429, with the seconds after which there is likely to be room.
        """
        full = (
            self._accepted + pairs > self._max_pairs or self._accepted_windows + windows > self._max_windows
        )
        if self._accepted and full:
            raise queue_full(self.retry_after())
        began = time.monotonic()
        self._accepted += pairs
        self._accepted_windows += windows
        self._metrics.queue_length.set(self._accepted)
        try:
            yield
        finally:
            each = (time.monotonic() - began) / self._accepted  # Little's law
            self._pair_seconds += 0.05 * (each - self._pair_seconds)
            self._accepted -= pairs
            self._accepted_windows -= windows
            self._metrics.queue_length.set(self._accepted)

    def retry_after(self) -> int:
        """Seconds after which there is likely to be room."""
        return min(60, max(1, round(self._accepted * self._pair_seconds)))

    @contextmanager
    def preparing(self) -> Iterator[None]:
        """Announce a job while its text is tokenized: a batch that has room may wait for it."""
        self._preparing += 1
        try:
            yield
        finally:
            self._preparing -= 1
            self._changed.set()

    async def infer(self, job: InferenceJob[P]) -> None:
        """Run all windows of the job; the results are in its payload.

        Cancelling removes the windows that have not run yet; ``job.done`` tells how many have.

        Raises what ``run`` raised for a batch that the job had a window in.

        Raises:
            TooSlowError: the job would miss its deadline, or make a job that was accepted before miss its
                own. Raised before the job uses the engine if the engine's speed is known, else as soon as the
                job's first windows have measured it.
        """
        if job.done == len(job.lengths):
            return
        job._submitted = time.monotonic()
        if (refusal := self._refusal(job)) is not None:
            raise refusal
        job._future = asyncio.get_running_loop().create_future()
        self._queue.add(job, job.lengths, job.done)
        self._changed.set()
        try:
            await job._future
        finally:
            self._queue.discard(job)

    async def serve(self) -> None:
        """Form and run batches until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            while not self._queue:
                await self._next_change()
            await self._gather_more()
            parts = self._queue.take()
            if not parts:
                continue
            began = time.monotonic()
            for job, _ in parts:
                if not job.infer_seconds:
                    job.queue_seconds = began - job._submitted
                    self._metrics.queue_seconds.observe(job.queue_seconds)
            failure: Exception | None = None
            try:
                await loop.run_in_executor(
                    self._executor, self._run, [(job.payload, windows) for job, windows in parts]
                )
            except (
                Exception
            ) as error:  # the engine's failure belongs to this batch's requests, not to the server
                failure = error
            seconds = time.monotonic() - began
            if failure is None:
                tokens: Counter[RequestClass] = Counter()
                for job, windows in parts:
                    tokens[self._queue.class_of(job.lengths)] += sum(job.lengths[n] for n in windows)
                self._pace.record(tokens, seconds)
            self._settle(parts, seconds, failure)

    def _refusal(self, job: InferenceJob[P]) -> TooSlowError | None:
        """The error if the job has to be refused; None if not, or if the engine's speed is not known yet.

        A job of a single batch is never refused.
        """
        total = sum(job.lengths)
        if job._checked or job.deadline is None or total <= self._max_tokens or not self._pace.measured:
            return None
        job._checked = True
        name = self._queue.class_of(job.lengths)
        left = self._queue.tokens_left(name)
        left.pop(job, None)
        before = self._pace.seconds_together(list(left.values()), name)
        *after, own = self._pace.seconds_together([*left.values(), sum(job.lengths[job.done :])], name)
        now = time.monotonic()
        late = now + own > job.deadline or any(
            now + without <= other.deadline < now + beside
            for other, without, beside in zip(left, before, after, strict=True)
            if other.deadline is not None
        )
        return TooSlowError(self._pace.seconds_alone(total)) if late else None

    async def _next_change(self) -> None:
        self._changed.clear()
        await self._changed.wait()

    async def _gather_more(self) -> None:
        """Wait for requests that are being tokenized, if the batch has room for them."""
        if not self._preparing:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(self._wait_seconds):
                while self._preparing and self._queue and self._open_tokens() < self._max_tokens:
                    await self._next_change()

    def _open_tokens(self) -> int:
        total = 0
        for length in self._queue.window_lengths():
            total += length
            if total >= self._max_tokens:
                break
        return total

    def _settle(
        self, parts: list[tuple[InferenceJob[P], list[int]]], seconds: float, failure: Exception | None
    ) -> None:
        tokens = sum(job.lengths[n] for job, windows in parts for n in windows)
        self._metrics.batch(sum(len(windows) for _, windows in parts), tokens, seconds)
        for job, windows in parts:
            future = job._future
            assert future is not None
            if future.done():  # cancelled meanwhile
                self._queue.discard(job)
                continue
            if failure is not None:
                self._queue.discard(job)
                future.set_exception(failure)
                continue
            job.infer_seconds += seconds
            job.done += len(windows)
            if job.on_progress is not None:
                job.on_progress(job.done, len(job.lengths))
            if job.done == len(job.lengths):
                future.set_result(None)
            elif (refusal := self._refusal(job)) is not None:
                self._queue.discard(job)
                future.set_exception(refusal)
