"""Actors as processes of this machine. One that dies is replaced, and its block given to another."""

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
from komrc.predicting.shards import Answerer, Job, Written
from komrc.predicting.source import Block

_ATTEMPTS = 3  # a block that kills this many actors kills every one


def run(job: Job, blocks: Sequence[Block], *, actors: int = 1) -> Iterator[Written]:
    """Answer blocks; with one actor in this process.

    The processors are divided among the actors, unless OMP_NUM_THREADS says otherwise. Raises what an actor
    raises, and EngineError where actors keep dying.
    """
    if actors == 1:
        yield from map(Answerer(job), blocks)
        return
    threads = max(1, usable_cores() // actors)
    waiting, deaths = deque(blocks), Counter[int]()
    at_work: dict[Connection, _Actor] = {}
    idle = deque[_Actor]()
    try:
        while waiting or at_work:
            while waiting and len(at_work) < actors:
                actor = idle.popleft() if idle else _Actor(job, threads)
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
                deaths[actor.block.number] += 1
                if deaths[actor.block.number] == _ATTEMPTS:
                    raise _hopeless(actor.block)
                waiting.appendleft(actor.block)
                actor.stop()
    finally:
        for actor in [*idle, *at_work.values()]:
            actor.stop()


def _hopeless(block: Block) -> EngineError:
    return EngineError(
        f"{_ATTEMPTS} actors died over the same questions, perhaps for want of memory",
        where=f"{block.file}, block {block.number}",
        fix="take fewer actors, or smaller shards with --shard-size",
    )


class _Actor:
    """A process that answers one block at a time."""

    block: Block

    def __init__(self, job: Job, threads: int) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_work, args=(theirs, job), daemon=True)
        with _threads(threads):
            self.process.start()
        theirs.close()

    def give(self, block: Block) -> None:
        self.block = block
        with contextlib.suppress(OSError):  # it has died: reply() will tell
            self.connection.send(block)

    def reply(self) -> Written | Exception | None:
        """None where the process has died."""
        try:
            found: Written | Exception = self.connection.recv()
        except (EOFError, OSError):
            return None
        return found

    def stop(self) -> None:
        self.process.kill()  # a shard that it was writing is not there yet, or whole
        self.process.join()
        self.connection.close()


def _work(connection: Connection, job: Job) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with contextlib.suppress(EOFError, OSError):
        try:
            answerer = Answerer(job)
            while True:
                connection.send(answerer(connection.recv()))
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
    """How many threads the libraries take in a process that is started meanwhile."""
    names = [name for name in ("OMP_NUM_THREADS", "RAYON_NUM_THREADS") if name not in os.environ]
    os.environ.update(dict.fromkeys(names, str(number)))
    try:
        yield
    finally:
        for name in names:
            os.environ.pop(name, None)
