"""Actors as processes of this machine. If one dies, its shard is given to a new one."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection, wait

from komrc.engines.onnx_engine import usable_cores
from komrc.errors import EngineError
from komrc.predicting.questions import ShardSpec
from komrc.predicting.shards import ShardJob, ShardResult, ShardWorker

_ATTEMPTS = 3  # after this many crashes on one shard, the run ends


def run(job: ShardJob, shards: Sequence[ShardSpec], *, actors: int = 1) -> Iterator[ShardResult]:
    """Answer shards; a single actor runs in this process.

    The processors are divided among the actors, unless OMP_NUM_THREADS is set. Raises what an actor raises,
    and EngineError if actors crash repeatedly on one shard.
    """
    if actors == 1:
        yield from map(ShardWorker(job), shards)
        return
    threads = max(1, usable_cores() // actors)
    waiting, deaths = deque(shards), Counter[int]()
    at_work: dict[Connection, _WorkerProcess] = {}
    idle = deque[_WorkerProcess]()
    try:
        while waiting or at_work:
            while waiting and len(at_work) < actors:
                actor = idle.popleft() if idle else _WorkerProcess(job, threads)
                actor.give(waiting.popleft())
                at_work[actor.connection] = actor
            for connection in wait(list(at_work)):
                assert isinstance(connection, Connection)
                actor = at_work.pop(connection)
                reply = actor.reply()
                if isinstance(reply, Exception):
                    raise reply
                if reply is not None:
                    idle.append(actor)
                    yield reply
                    continue
                deaths[actor.shard.number] += 1
                if deaths[actor.shard.number] == _ATTEMPTS:
                    raise _repeated_crash_error(actor.shard)
                waiting.appendleft(actor.shard)
                actor.stop()
    finally:
        for actor in [*idle, *at_work.values()]:
            actor.stop()


def _repeated_crash_error(shard: ShardSpec) -> EngineError:
    return EngineError(
        f"{_ATTEMPTS} actors crashed on the same shard (out of memory?)",
        where=f"{shard.file}, shard {shard.number}",
        fix="take fewer actors, or smaller shards with --shard-size",
    )


class _WorkerProcess:
    """A process that answers one shard at a time."""

    shard: ShardSpec

    def __init__(self, job: ShardJob, threads: int) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_run_worker, args=(theirs, job), daemon=True)
        with _threads(threads):
            self.process.start()
        theirs.close()

    def give(self, shard: ShardSpec) -> None:
        self.shard = shard
        with contextlib.suppress(OSError):  # it has died: reply() returns None
            self.connection.send(shard)

    def reply(self) -> ShardResult | Exception | None:
        """The result, or the error that the actor raised; None if the process has died."""
        try:
            received: ShardResult | Exception = self.connection.recv()
        except (EOFError, OSError):
            return None
        return received

    def stop(self) -> None:
        self.process.kill()  # its shard is either complete or absent, since it is written by a rename
        self.process.join()
        self.connection.close()


def _run_worker(connection: Connection, job: ShardJob) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with contextlib.suppress(EOFError, OSError):
        try:
            worker = ShardWorker(job)
            while True:
                connection.send(worker(connection.recv()))
        except (EOFError, BrokenPipeError):
            return
        except Exception as error:
            connection.send(error)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


@contextlib.contextmanager
def _threads(number: int) -> Iterator[None]:
    """Set the number of threads for libraries in processes that are started inside this context."""
    names = [name for name in ("OMP_NUM_THREADS", "RAYON_NUM_THREADS") if name not in os.environ]
    os.environ.update(dict.fromkeys(names, str(number)))
    try:
        yield
    finally:
        for name in names:
            os.environ.pop(name, None)
