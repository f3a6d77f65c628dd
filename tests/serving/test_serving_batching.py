"""The queue: what runs together, in which order, and what happens to what fails or leaves."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress

import pytest

pytest.importorskip("prometheus_client", reason="the serve extra is not installed")

from hypothesis import given, settings
from hypothesis import strategies as st

from komrc.serving.batching import Batcher, InferenceJob
from komrc.serving.errors import RejectedError
from komrc.serving.metrics import Metrics


class Engine:
    """Notes its batches; can be held, and fails on payloads named bad."""

    def __init__(self):
        self.batches = []
        self.go = threading.Event()
        self.go.set()

    def run(self, parts):
        self.batches.append([(name, list(windows)) for name, windows in parts])
        assert self.go.wait(120)
        if any(name.startswith("bad") for name, _ in parts):
            raise RuntimeError("broken")


@asynccontextmanager
async def batching(engine, *, max_pairs=10, max_windows=1000, max_tokens=100, wait_seconds=5.0):
    with ThreadPoolExecutor(1) as executor:
        batcher = Batcher(
            engine.run,
            executor,
            Metrics(),
            max_pairs=max_pairs,
            max_windows=max_windows,
            max_tokens=max_tokens,
            wait_seconds=wait_seconds,
        )
        task = asyncio.ensure_future(batcher.serve())
        try:
            yield batcher
        finally:
            engine.go.set()
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


def run(coroutine):
    return asyncio.run(asyncio.wait_for(coroutine, 20))


async def until(condition):
    while not condition():
        await asyncio.sleep(0.001)


def test_a_lone_job_does_not_wait():
    async def scene():
        engine = Engine()
        async with batching(engine, wait_seconds=1000.0) as batcher:
            await batcher.infer(InferenceJob("a", [10, 10]))
        assert engine.batches == [[("a", [0, 1])]]

    run(scene())


def test_a_batch_waits_for_what_is_being_tokenized():
    async def scene():
        engine = Engine()
        async with batching(engine, wait_seconds=1000.0) as batcher:
            done = asyncio.Event()

            async def tokenized_later():
                with batcher.preparing():
                    await done.wait()
                await batcher.infer(InferenceJob("b", [10]))

            second = asyncio.ensure_future(tokenized_later())
            await asyncio.sleep(0)
            first = asyncio.ensure_future(batcher.infer(InferenceJob("a", [10])))
            await asyncio.sleep(0.02)
            assert engine.batches == []
            done.set()
            await asyncio.gather(first, second)
        assert engine.batches == [[("a", [0]), ("b", [0])]]

    run(scene())


def test_a_full_batch_waits_for_nothing():
    async def scene():
        engine = Engine()
        async with batching(engine, wait_seconds=1000.0) as batcher:
            with batcher.preparing():
                await batcher.infer(InferenceJob("a", [60, 40]))
        assert engine.batches == [[("a", [0, 1])]]

    run(scene())


def test_a_short_job_overtakes_a_long_one():
    async def scene():
        engine = Engine()
        engine.go.clear()
        async with batching(engine) as batcher:
            long = asyncio.ensure_future(batcher.infer(InferenceJob("long", [50] * 100)))
            await until(lambda: engine.batches)
            short = asyncio.ensure_future(batcher.infer(InferenceJob("short", [50])))
            await asyncio.sleep(0)
            engine.go.set()
            await short
            assert len(engine.batches) <= 3
            await long

    run(scene())


def test_a_short_job_overtakes_a_long_one_whose_windows_fill_a_batch():
    """As they do on a CPU: long and short do not fit into one batch, so they take turns."""

    async def scene():
        engine = Engine()
        engine.go.clear()
        async with batching(engine) as batcher:
            book = asyncio.ensure_future(batcher.infer(InferenceJob("book", [80] * 5)))
            await until(lambda: engine.batches)
            other = asyncio.ensure_future(batcher.infer(InferenceJob("other book", [80] * 2)))
            short = asyncio.ensure_future(batcher.infer(InferenceJob("short", [50])))
            await asyncio.sleep(0.02)
            engine.go.set()
            await asyncio.gather(book, other, short)
        assert [batch[0][0] for batch in engine.batches] == [
            "book", "other book", "short", "book", "other book", "book", "book", "book",
        ]  # fmt: skip

    run(scene())


def test_a_cancelled_job_leaves_the_queue():
    async def scene():
        engine = Engine()
        engine.go.clear()
        async with batching(engine) as batcher:
            running = asyncio.ensure_future(batcher.infer(InferenceJob("a", [10])))
            await until(lambda: engine.batches)
            leaving = asyncio.ensure_future(batcher.infer(InferenceJob("b", [10])))
            staying = asyncio.ensure_future(batcher.infer(InferenceJob("c", [10])))
            await asyncio.sleep(0)
            leaving.cancel()
            engine.go.set()
            await asyncio.gather(running, staying)
        assert engine.batches == [[("a", [0])], [("c", [0])]]

    run(scene())


def test_a_failure_reaches_every_job_of_its_batch_and_no_other():
    async def scene():
        engine = Engine()
        engine.go.clear()
        async with batching(engine) as batcher:
            before = asyncio.ensure_future(batcher.infer(InferenceJob("before", [100])))
            await until(lambda: engine.batches)
            jobs = [
                asyncio.ensure_future(batcher.infer(InferenceJob(name, [40])))
                for name in ("bad", "beside", "after")
            ]
            await asyncio.sleep(0)
            engine.go.set()
            results = await asyncio.gather(before, *jobs, return_exceptions=True)
        assert [type(r) for r in results] == [type(None), RuntimeError, RuntimeError, type(None)]

    run(scene())


def test_progress_counts_windows():
    async def scene():
        steps = []
        async with batching(Engine()) as batcher:
            await batcher.infer(InferenceJob("a", [50] * 5, lambda done, total: steps.append((done, total))))
        assert steps == [(2, 5), (4, 5), (5, 5)]

    run(scene())


@pytest.mark.parametrize("room", [{"max_pairs": 3}, {"max_windows": 30}])
def test_no_more_than_the_queue_holds_is_admitted(room):
    async def scene():
        async with batching(Engine(), **room) as batcher:
            with batcher.admitted(2, 20):
                with pytest.raises(RejectedError) as refused, batcher.admitted(2, 20):
                    pass
                assert refused.value.http_status == 429
                assert refused.value.retry_after >= 1
                with batcher.admitted(1, 1):
                    pass
            with batcher.admitted(99, 9999):  # an idle server takes any
                pass

    run(scene())


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(st.integers(1, 130), max_size=12), min_size=1, max_size=8))
def test_every_window_runs_once_in_order_within_the_budget(jobs):
    async def scene():
        engine = Engine()
        async with batching(engine) as batcher:
            await asyncio.gather(
                *(batcher.infer(InferenceJob(str(n), lengths)) for n, lengths in enumerate(jobs))
            )
        ran = {str(n): [] for n in range(len(jobs))}
        for batch in engine.batches:
            sizes = [jobs[int(name)][w] for name, windows in batch for w in windows]
            assert sum(sizes) <= 100 or len(sizes) == 1
            for name, windows in batch:
                ran[name] += windows
        assert ran == {str(n): list(range(len(lengths))) for n, lengths in enumerate(jobs)}

    run(scene())
