"""The queue: what runs together, in which order, and what happens to what fails or leaves."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress

import pytest

pytest.importorskip("prometheus_client", reason="the serve extra is not installed")

from hypothesis import given, settings
from hypothesis import strategies as st

from komrc.serving.batching import Batcher, InferenceJob, TooSlowError
from komrc.serving.errors import RejectedError
from komrc.serving.metrics import Metrics
from komrc.serving.pace import Pace


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
async def batching(engine, *, max_pairs=10, max_windows=1000, max_tokens=100, wait_seconds=5.0, pace=None):
    with ThreadPoolExecutor(1) as executor:
        batcher = Batcher(
            engine.run,
            executor,
            Metrics(),
            pace or Pace(max_tokens),
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


def test_no_window_runs_after_its_job_was_cancelled():
    """Also where it is cancelled in the moment in which its batch is done."""

    async def scene():
        engine = Engine()
        engine.go.clear()
        async with batching(engine) as batcher:
            before = asyncio.ensure_future(batcher.infer(InferenceJob("before", [100])))
            await until(lambda: engine.batches)
            staying = asyncio.ensure_future(
                batcher.infer(InferenceJob("staying", [40] * 4, lambda _done, _total: leaving.cancel()))
            )
            leaving = asyncio.ensure_future(batcher.infer(InferenceJob("leaving", [40] * 4)))
            await asyncio.sleep(0)
            engine.go.set()
            await asyncio.gather(before, staying)
        assert engine.batches[1:] == [
            [("staying", [0]), ("leaving", [0])],
            [("staying", [1, 2])],
            [("staying", [3])],
        ]

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


def measured_pace(busy_with=None):
    """100 tokens a second, and it stays that way: what the batches of a test take counts next to nothing."""
    pace = Pace(100, clock=lambda: 0.0)
    for _ in range(1001):
        pace.record({busy_with or "short": 1000}, 10.0)
    if busy_with is None:
        pace._busy = dict.fromkeys(pace._busy, 0.0)
    return pace


def soon(seconds):
    return time.monotonic() + seconds


def test_a_job_that_cannot_be_done_in_time_is_refused_before_it_uses_the_engine():
    async def scene():
        engine = Engine()
        async with batching(engine, pace=measured_pace()) as batcher:
            with pytest.raises(TooSlowError) as refused:
                await batcher.infer(InferenceJob("book", [50] * 1000, deadline=soon(400)))
            assert refused.value.seconds_alone == pytest.approx(500, rel=0.01)
            assert engine.batches == []
            await batcher.infer(InferenceJob("book", [50] * 1000, deadline=soon(600)))
            await batcher.infer(InferenceJob("stream", [50] * 1000))  # without deadline: always
            await batcher.infer(InferenceJob("one batch", [50, 50], deadline=soon(0.0)))

    run(scene())


def test_beside_many_short_jobs_a_long_one_may_take_three_times_as_long():
    async def scene():
        engine = Engine()
        async with batching(engine, pace=measured_pace(busy_with="short")) as batcher:
            with pytest.raises(TooSlowError) as refused:
                await batcher.infer(InferenceJob("book", [50] * 40, deadline=soon(40)))
            assert refused.value.seconds_alone == pytest.approx(20, rel=0.01)
            assert engine.batches == []
            await batcher.infer(InferenceJob("book", [50] * 40, deadline=soon(80)))

    run(scene())


def test_a_job_that_would_make_an_accepted_one_late_is_refused():
    async def scene():
        engine = Engine()
        engine.go.clear()
        async with batching(engine, pace=measured_pace()) as batcher:
            accepted = asyncio.ensure_future(
                batcher.infer(InferenceJob("accepted", [50] * 400, deadline=soon(300)))
            )
            await until(lambda: engine.batches)
            with pytest.raises(TooSlowError):
                await batcher.infer(InferenceJob("as long", [50] * 400, deadline=soon(3000)))
            small = asyncio.ensure_future(
                batcher.infer(InferenceJob("smaller", [50] * 40, deadline=soon(300)))
            )
            await asyncio.sleep(0)
            engine.go.set()
            await asyncio.gather(accepted, small)

    run(scene())


def test_a_job_is_refused_as_soon_as_its_own_windows_have_measured_the_engine():
    async def scene():
        engine = Engine()
        pace = Pace(100, clock=lambda: 0.0)
        async with batching(engine, pace=pace) as batcher:
            job = InferenceJob("book", [50] * 1000, deadline=soon(400))

            def slow(done, _total):
                for _ in range(9 if done > 3 else 0):
                    pace.record({"long": 100_000}, 1000.0)

            job.on_progress = slow
            with pytest.raises(TooSlowError):
                await batcher.infer(job)
            assert 0 < job.done < 10

    run(scene())


def test_a_job_goes_on_where_an_earlier_one_was_cut():
    async def scene():
        engine = Engine()
        async with batching(engine) as batcher:
            job = InferenceJob("a", [50] * 6, done=3)
            await batcher.infer(job)
            await batcher.infer(InferenceJob("b", [50] * 3, done=3))
        assert engine.batches == [[("a", [3, 4])], [("a", [5])]]
        assert job.done == 6

    run(scene())


@pytest.mark.parametrize("clients", [1, 30])
def test_a_long_job_beside_many_short_ones_gets_its_third(clients):
    async def scene():
        engine = Engine()
        async with batching(engine, max_pairs=99, wait_seconds=0.0) as batcher:

            async def short():
                while True:
                    await batcher.infer(InferenceJob("short", [60]))

            asking = [asyncio.ensure_future(short()) for _ in range(clients)]
            await until(lambda: len(engine.batches) > 5)
            began = len(engine.batches)
            await batcher.infer(InferenceJob("book", [60] * 100))
            took = len(engine.batches) - began
            for one in asking:
                one.cancel()
            await asyncio.gather(*asking, return_exceptions=True)
        assert took <= 3 * 100 + 5

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
