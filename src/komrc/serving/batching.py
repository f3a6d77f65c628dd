"""The bounded queue in front of the engine: admission, and batches of windows from several requests.

Everything runs on the thread of the event loop, except ``run``, which runs on the engine thread.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from komrc.serving.errors import queue_full
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
    # Returns an error if the remaining windows can't finish in time. Called when the job arrives, and after
    # each of its batches for the next check_pace_seconds, since other requests may arrive with it.
    # Arguments: the pace, the lengths of the remaining windows, seconds since the job arrived.
    check_pace: Callable[[Pace, Sequence[int], float], Exception | None] | None = None
    check_pace_seconds: float = 0.0
    queue_seconds: float = 0.0  # until its first window ran
    infer_seconds: float = 0.0  # of the batches it was part of
    _submitted: float = field(default_factory=time.monotonic)
    _next: int = 0  # the first window that no batch has taken
    _done: int = 0
    _future: asyncio.Future[None] | None = None


class Batcher(Generic[P]):
    """Merges the windows of waiting jobs into batches of at most ``max_tokens`` tokens.

    A batch takes one window of every waiting job in turn until it is full. It begins with the job that has
    waited longest for its turn, so that short requests are not blocked by long ones. A batch starts as soon
    as the engine is free. If requests are being tokenized at that time, it waits for them, for at most
    ``wait_seconds``.
    """

    def __init__(
        self,
        run: Callable[[list[Part[P]]], None],
        executor: Executor,
        metrics: Metrics,
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
        self._waiting: dict[
            InferenceJob[P], None
        ] = {}  # in order of their turn, with windows that no batch has taken
        self._changed = asyncio.Event()
        self._accepted = 0
        self._accepted_windows = 0
        self._preparing = 0
        self._pace = Pace(max_tokens)
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

        Cancelling removes the windows that have not run yet. Raises what ``run`` raised for a batch that
        the job had a window in, and what ``job.check_pace`` returns: before the job uses the engine if the
        pace is measured, else as soon as the job's own first windows have measured it.
        """
        if not job.lengths:
            return
        job._submitted = time.monotonic()
        if (refusal := self._pace_rejection(job)) is not None:
            raise refusal
        job._future = asyncio.get_running_loop().create_future()
        self._waiting[job] = None
        self._changed.set()
        try:
            await job._future
        finally:
            self._waiting.pop(job, None)

    async def serve(self) -> None:
        """Form and run batches until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            while not self._waiting:
                await self._next_change()
            await self._gather_more()
            parts = self._take()
            if not parts:
                continue
            turn = self._turn(parts)
            began = time.monotonic()
            for job, windows in parts:
                if windows[0] == 0:
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
                tokens = sum(job.lengths[n] for job, windows in parts for n in windows)
                self._pace.record(tokens, seconds, turn)
            self._settle(parts, seconds, failure)

    def _turn(self, parts: list[tuple[InferenceJob[P], list[int]]]) -> int:
        """Tokens of one window of each job that waits or is in this batch."""
        following = {job: job.lengths[job._next] for job in self._waiting}
        following |= {job: job.lengths[windows[0]] for job, windows in parts}
        return sum(following.values())

    def _pace_rejection(self, job: InferenceJob[P]) -> Exception | None:
        """The error if the job can't finish in time; None if it can, or if the pace is not measured yet."""
        if job.check_pace is None or not self._pace.measured:
            return None
        present = time.monotonic() - job._submitted
        refusal = job.check_pace(self._pace, job.lengths[job._done :], present)
        if present >= job.check_pace_seconds:
            job.check_pace = None
        return refusal

    async def _next_change(self) -> None:
        self._changed.clear()
        await self._changed.wait()

    async def _gather_more(self) -> None:
        """Wait for requests that are being tokenized, if the batch has room for them."""
        if not self._preparing:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(self._wait_seconds):
                while self._preparing and self._waiting and self._open_tokens() < self._max_tokens:
                    await self._next_change()

    def _open_tokens(self) -> int:
        total = 0
        for job in self._waiting:
            for number in range(job._next, len(job.lengths)):
                total += job.lengths[number]
                if total >= self._max_tokens:
                    return total
        return total

    def _take(self) -> list[tuple[InferenceJob[P], list[int]]]:
        """The next batch: a window of each waiting job in turn, up to the token budget, at least one."""
        taken: dict[InferenceJob[P], list[int]] = {}
        room, turn = self._max_tokens, list(self._waiting)
        while turn and room > 0:
            again = []
            for job in turn:
                length = job.lengths[job._next]
                if taken and length > room:
                    room = 0
                    break
                room -= length
                taken.setdefault(job, []).append(job._next)
                job._next += 1
                if job._next < len(job.lengths):
                    again.append(job)
            turn = again
        for job in taken:
            if job._next == len(job.lengths):
                self._waiting.pop(job, None)
        return list(taken.items())

    def _settle(
        self, parts: list[tuple[InferenceJob[P], list[int]]], seconds: float, failure: Exception | None
    ) -> None:
        tokens = sum(job.lengths[n] for job, windows in parts for n in windows)
        self._metrics.batch(sum(len(windows) for _, windows in parts), tokens, seconds)
        for job, windows in parts:
            future = job._future
            assert future is not None
            if future.done():  # cancelled meanwhile
                self._waiting.pop(job, None)
                continue
            if failure is not None:
                self._waiting.pop(job, None)
                future.set_exception(failure)
                continue
            job.infer_seconds += seconds
            job._done += len(windows)
            if job._done < len(job.lengths) and (refusal := self._pace_rejection(job)) is not None:
                self._waiting.pop(job, None)
                future.set_exception(refusal)
                continue
            if job.on_progress is not None:
                job.on_progress(job._done, len(job.lengths))
            if job._done == len(job.lengths):
                future.set_result(None)
            else:  # to the end of the queue, after the jobs that had no turn in this batch
                self._waiting.pop(job, None)
                self._waiting[job] = None
