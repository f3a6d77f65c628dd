"""The processes of a run: which one this is, and what they agree on.

``torchrun`` starts them and tells each its place in the environment; without it there is one. They exchange
tensors and JSON: nothing that runs when it is read.
"""

from __future__ import annotations

import gc
import json
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from komrc import errors
from komrc.errors import KomrcError, TrainingError

if TYPE_CHECKING:
    from torch._C._distributed_c10d import TCPStore

T = TypeVar("T")

_PLACE = "komrc/port"  # where the first process's store is, in torchrun's


class ProcessLostError(TrainingError):
    """Another process of the run ended or can't be reached."""


# What gloo and NCCL say when the other side is gone; they have no exception of their own for it.
_LOST = re.compile(r"gloo|nccl|connection (?:closed|reset|refused)|timed out|timeout", re.IGNORECASE)


def count() -> int:
    """How many processes the run has."""
    return int(os.environ.get("WORLD_SIZE", "1")) if "LOCAL_RANK" in os.environ else 1


def rank() -> int:
    """This process's number, from 0."""
    return int(os.environ.get("RANK", "0")) if count() > 1 else 0


def is_first() -> bool:
    """Whether this is the process that writes and speaks for all."""
    return rank() == 0


def join(*, on_cpu: bool, timeout: int) -> None:
    """Meet the other processes of the run. From then on each wait ends after ``timeout`` seconds."""
    if count() == 1 or dist.is_initialized():
        return
    # What processes tell each other beside gradients is on the CPU.
    backend, limit = "gloo" if on_cpu else "cuda:nccl,cpu:gloo", timedelta(seconds=timeout)
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True":
        store = _own_store(limit)
        dist.init_process_group(backend, store=store, rank=rank(), world_size=count(), timeout=limit)
    else:
        dist.init_process_group(backend, timeout=limit)


def _own_store(limit: timedelta) -> TCPStore:
    """A store that the first process keeps, where the processes find each other's addresses.

    torchrun's agent offers one, but keeps it when it starts the processes again (torch 2.13, as in pytorch's
    issue 135712): some then wait for addresses of the dead. Here only the place of our own store can be of
    the dead, and it is tried until somebody answers: torchrun starts processes when all former ones have
    ended.
    """
    from torch._C._distributed_c10d import TCPStore  # not in every build of torch

    host = os.environ["MASTER_ADDR"]
    agents = TCPStore(host, int(os.environ["MASTER_PORT"]), is_master=False, timeout=limit)
    if is_first():
        store = TCPStore(host, 0, is_master=True, wait_for_workers=False, timeout=limit)
        agents.set(_PLACE, str(store.port))
        return store
    until = time.monotonic() + limit.total_seconds()
    while True:
        port = int(agents.get(_PLACE))
        try:
            store = TCPStore(host, port, is_master=False, timeout=timedelta(seconds=3))
        except dist.DistError:
            if time.monotonic() > until:
                raise
            time.sleep(0.2)
        else:
            store.set_timeout(limit)
            return store


def gather(value: Any) -> list[Any]:
    """The values (of JSON's kinds) of all processes, by their numbers, in every process."""
    if count() == 1:
        return [value]
    data = torch.frombuffer(bytearray(json.dumps(value).encode()), dtype=torch.uint8)
    sizes = [torch.zeros(1, dtype=torch.int64) for _ in range(count())]
    dist.all_gather(sizes, torch.tensor([len(data)]))
    room = max(int(size) for size in sizes)
    parts = [torch.zeros(room, dtype=torch.uint8) for _ in range(count())]
    dist.all_gather(parts, torch.cat([data, torch.zeros(room - len(data), dtype=torch.uint8)]))
    pairs = zip(parts, sizes, strict=True)
    return [json.loads(part[: int(size)].numpy().tobytes()) for part, size in pairs]


def highest(value: int) -> int:
    """The highest of all processes' values; as quick as the network allows."""
    if count() == 1:
        return value
    highest = torch.tensor([value])
    dist.all_reduce(highest, dist.ReduceOp.MAX)
    return int(highest)


def first_does(action: Callable[[], T]) -> T:
    """What ``action`` (a value of JSON's kinds) gives in the first process; the others wait for it.

    A KomrcError is raised in all of them, with all that it holds; for another exception the others raise a
    TrainingError that names it.
    """
    if count() == 1:
        return action()
    result: dict[str, Any] = {}
    failed: Exception | None = None
    if is_first():
        try:
            result = {"value": action()}
        except KomrcError as error:
            failed, result = error, {"error": errors.to_json(error)}
        except Exception as error:
            failed, result = error, {"error": errors.to_json(_of_first(error))}
    result = gather(result)[0]
    if failed is not None:
        raise failed
    if "error" in result:
        raise errors.from_json(result["error"])
    value: T = result["value"]
    return value


def _of_first(error: Exception) -> TrainingError:
    return TrainingError(
        f"the first process failed ({type(error).__name__}: {error})",
        where=f"process {rank()} of {count()}",
        fix="see its own message; when the cause is removed, run again with --resume",
    )


def take_turns(action: Callable[[], T]) -> T:
    """Act in each process: in the first one, then in the first of each other host, then in the rest.

    So what the earlier ones put into a cache is found by the later ones, whether hosts share it or not.
    """
    if count() == 1:
        return action()
    turn = 0 if is_first() else 1 if os.environ["LOCAL_RANK"] == "0" else 2
    made: list[T] = []
    for now in range(3):
        if now == turn:
            made.append(action())
        highest(0)
    return made[0]


def copy_from_first(tensors: dict[str, Tensor]) -> None:
    """Overwrite tensors, the same ones in every process, with what the first process has."""
    if count() > 1:
        for name in sorted(tensors):
            dist.broadcast(tensors[name], 0)


@contextmanager
def together() -> Iterator[None]:
    """What the processes do together. Raises ProcessLostError where one ended or no longer answers."""
    try:
        yield
    except RuntimeError as error:
        if count() == 1 or not (isinstance(error, dist.DistError) or _LOST.search(str(error))):
            raise
        raise ProcessLostError(
            f"another process of the run ended, or its host no longer answers ({_first_line(error)})",
            where=f"process {rank()} of {count()}",
            fix="what it said itself stands above, if it could say anything; go on with --resume",
        ) from error


def leave() -> None:
    """Part from the other processes, when all have done their work.

    The group's threads end only when nothing holds it any more; left alone they run into the interpreter's
    end, which now and then aborts a process whose work is done. The Trainer holds the group, in cycles.
    """
    if dist.is_initialized():
        gc.collect()
        dist.destroy_process_group()


def _first_line(error: RuntimeError) -> str:
    return str(error).strip().partition("\n")[0]
