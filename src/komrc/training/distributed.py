"""The processes of a run: their ranks, and what they exchange.

``torchrun`` starts them and gives each its rank in the environment; without it there is one. They exchange
tensors and JSON, never pickles.
"""

from __future__ import annotations

import gc
import json
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from komrc import errors
from komrc.errors import KomrcError, TrainingError

T = TypeVar("T")

_PORT_KEY = "komrc/port"  # in torchrun's store: the port of ours


class ProcessLostError(TrainingError):
    """Another process of the run ended or can't be reached."""


# Messages of gloo and NCCL for a broken connection; they have no exception class for it.
_LOST = re.compile(r"gloo|nccl|connection (?:closed|reset|refused)|timed out|timeout", re.IGNORECASE)


def world_size() -> int:
    """The number of processes of the run."""
    return int(os.environ.get("WORLD_SIZE", "1")) if "LOCAL_RANK" in os.environ else 1


def rank() -> int:
    """The rank of this process, from 0."""
    return int(os.environ.get("RANK", "0")) if world_size() > 1 else 0


def is_rank0() -> bool:
    """Whether this is rank 0, the process that writes all files and most of the log."""
    return rank() == 0


def init(*, on_cpu: bool, timeout: int) -> None:
    """Connect to the other processes of the run. Each later wait for them ends after ``timeout`` seconds."""
    if world_size() == 1 or dist.is_initialized():
        return
    # Gradients are on the device; everything else that processes exchange is on the CPU.
    backend, limit = "gloo" if on_cpu else "cuda:nccl,cpu:gloo", timedelta(seconds=timeout)
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True":
        store = _own_store(limit)
        dist.init_process_group(backend, store=store, rank=rank(), world_size=world_size(), timeout=limit)
    else:
        dist.init_process_group(backend, timeout=limit)


def choose_device(*, on_cpu: bool) -> torch.device:
    """The CPU, or the GPU of this process."""
    if on_cpu:
        return torch.device("cpu")
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    torch.cuda.set_device(device)
    return device


def wrap(model: nn.Module) -> nn.Module:
    """The model, on its device, with its gradients averaged over the processes in each backward pass."""
    if world_size() == 1:
        return model
    device = next(model.parameters()).device
    return DistributedDataParallel(model, device_ids=[device] if device.type == "cuda" else None)


def no_sync(wrapped: nn.Module) -> AbstractContextManager[None]:
    """A context in which backward passes accumulate gradients and leave them to a later one to average."""
    return wrapped.no_sync() if isinstance(wrapped, DistributedDataParallel) else nullcontext()


def _own_store(limit: timedelta) -> Any:
    """A store of rank 0, where the processes find each other's addresses.

    torchrun's agent has one, but keeps its content when it restarts the processes (torch 2.13, see pytorch's
    issue 135712): some then wait for addresses of processes that have ended. Here only the port of our own
    store can be outdated, so connecting is tried until it succeeds: torchrun starts processes only when all
    former ones have ended.
    """
    from torch.distributed import TCPStore  # type: ignore[attr-defined]  # not in every build of torch

    host = os.environ["MASTER_ADDR"]
    agents = TCPStore(host, int(os.environ["MASTER_PORT"]), is_master=False, timeout=limit)
    if is_rank0():
        store = TCPStore(host, 0, is_master=True, wait_for_workers=False, timeout=limit)
        agents.set(_PORT_KEY, str(store.port))
        return store
    until = time.monotonic() + limit.total_seconds()
    while True:
        port = int(agents.get(_PORT_KEY))
        try:
            store = TCPStore(host, port, is_master=False, timeout=timedelta(seconds=3))
        except dist.DistError:
            if time.monotonic() > until:
                raise
            time.sleep(0.2)
        else:
            store.set_timeout(limit)
            return store


def gather_json(value: Any) -> list[Any]:
    """The JSON values of all processes, by rank, in every process."""
    if world_size() == 1:
        return [value]
    data = torch.frombuffer(bytearray(json.dumps(value).encode()), dtype=torch.uint8)
    sizes = [torch.zeros(1, dtype=torch.int64) for _ in range(world_size())]
    dist.all_gather(sizes, torch.tensor([len(data)]))
    longest = max(int(size) for size in sizes)
    parts = [torch.zeros(longest, dtype=torch.uint8) for _ in range(world_size())]
    dist.all_gather(parts, torch.cat([data, torch.zeros(longest - len(data), dtype=torch.uint8)]))
    pairs = zip(parts, sizes, strict=True)
    return [json.loads(part[: int(size)].numpy().tobytes()) for part, size in pairs]


def mean(value: float) -> float:
    """The mean of all processes' values, in float32."""
    return float(torch.tensor(gather_json(value)).mean())


def all_reduce_max(value: int) -> int:
    """The highest of all processes' values."""
    if world_size() == 1:
        return value
    result = torch.tensor([value])
    dist.all_reduce(result, dist.ReduceOp.MAX)
    return int(result)


def on_rank0(action: Callable[[], T]) -> T:
    """Run ``action`` on rank 0 only, and return its result, a JSON value, on every rank.

    A KomrcError is raised on all ranks, with all its fields; for another exception the other ranks raise a
    TrainingError that names it.
    """
    if world_size() == 1:
        return action()
    result: dict[str, Any] = {}
    failed: Exception | None = None
    if is_rank0():
        try:
            result = {"value": action()}
        except KomrcError as error:
            failed, result = error, {"error": errors.to_json(error)}
        except Exception as error:
            failed, result = error, {"error": errors.to_json(_rank0_failed(error))}
    result = gather_json(result)[0]
    if failed is not None:
        raise failed
    if "error" in result:
        raise errors.from_json(result["error"])
    value: T = result["value"]
    return value


def _rank0_failed(error: Exception) -> TrainingError:
    return TrainingError(
        f"the first process failed ({type(error).__name__}: {error})",
        where=f"process {rank()} of {world_size()}",
        fix="see its message above; remove the cause, then run again with --resume",
    )


def rank0_first(action: Callable[[], T]) -> T:
    """Run ``action`` in each process: on rank 0, then in the first one of each other host, then in the rest.

    So the later ones find what the earlier ones put into a cache, whether hosts share the disk or not.
    """
    if world_size() == 1:
        return action()
    turn = 0 if is_rank0() else 1 if os.environ["LOCAL_RANK"] == "0" else 2
    results: list[T] = []
    for now in range(3):
        if now == turn:
            results.append(action())
        all_reduce_max(0)
    return results[0]


def broadcast_tensors(tensors: dict[str, Tensor]) -> None:
    """Overwrite tensors, which every process must have under the same names, with those of rank 0."""
    if world_size() > 1:
        for name in sorted(tensors):
            dist.broadcast(tensors[name], 0)


@contextmanager
def lost_process_errors() -> Iterator[None]:
    """Raise ProcessLostError where another process ended or no longer answers."""
    try:
        yield
    except RuntimeError as error:
        if world_size() == 1 or not (isinstance(error, dist.DistError) or _LOST.search(str(error))):
            raise
        raise ProcessLostError(
            f"another process of the run ended, or its host no longer answers ({_first_line(error)})",
            where=f"process {rank()} of {world_size()}",
            fix="see the other process's log above, then run again with --resume",
        ) from error


def shutdown() -> None:
    """Shut down the process group at the end of a run.

    The group's threads end only when nothing refers to it any more. Threads that are still there when the
    interpreter ends sometimes abort the process, so reference cycles that hold the group are collected first.
    """
    if dist.is_initialized():
        gc.collect()
        dist.destroy_process_group()


def _first_line(error: RuntimeError) -> str:
    return str(error).strip().partition("\n")[0]
