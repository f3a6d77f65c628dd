"""One bounded queue in front of the engine: what is admitted, and which windows run together.

All of it lives on the event loop's thread; only ``run`` is called elsewhere, on the one engine thread.
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
Part = tuple[P, list[int]]  # a job's payload and the numbers of those of its windows that run now


@dataclass(eq=False)
class InferenceJob(Generic[P]):
    """One request's windows on their way through the engine."""

    payload: P
    lengths: Sequence[int]  # tokens of each window
    on_progress: Callable[[int, int], None] | None = None  # windows done, windows in all
    # Why the windows that are left should not run; asked where the job comes, and then for a while at each
    # of its batches, since a crowd may come with it. Takes the pace and the forecast's two arguments.
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

    A batch takes one window of every waiting job in turn until it is full, beginning with the job that has
    waited longest for its turn: a short request never waits for a long document's end. A batch starts as
    soon as the engine is free, unless requests are just being tokenized: then it waits for them,
    ``wait_seconds`` at most.
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
        """Hold room for a request's pairs and windows until it is answered. An idle server takes any.

        Raises:
            RejectedError: 429, with the time after which room is likely.
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
        """While this lasts, a job is about to come: a batch that has room may wait for it."""
        self._preparing += 1
        try:
            yield
        finally:
            self._preparing -= 1
            self._changed.set()

    async def infer(self, job: InferenceJob[P]) -> None:
        """Run all windows of the job; its payload holds the results then.

        Cancelling takes what has not run yet out of the queue. Raises what ``run`` raised for a batch that
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
        """Tokens of one window of each job that takes part in this batch or waits."""
        following = {job: job.lengths[job._next] for job in self._waiting}
        following |= {job: job.lengths[windows[0]] for job, windows in parts}
        return sum(following.values())

    def _pace_rejection(self, job: InferenceJob[P]) -> Exception | None:
        """Why the job should not run; None where it should, and where that is not known yet."""
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
        """Wait for requests that are being tokenized, while the batch has room for them."""
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
            else:  # behind all that had no turn: one window may fill a batch
                self._waiting.pop(job, None)
                self._waiting[job] = None
