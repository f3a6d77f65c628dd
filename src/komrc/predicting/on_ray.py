"""Actors on Ray: Ray Data gives them shards. It replaces actors that die and gives their shards to others.

RAY_ADDRESS names a running cluster. Without it, Ray is started on this machine for this run: on the
loopback address, with a token, without dashboard and usage reports.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from komrc import errors
from komrc.errors import EngineError, KomrcError, UsageError, first_line, require
from komrc.predicting.questions import ShardSpec
from komrc.predicting.shards import ShardJob, ShardResult, ShardWorker

if TYPE_CHECKING:
    from types import ModuleType

_RETRIES = 2  # of a shard whose actor has died, in one attempt; after any progress there is another attempt
_OBJECT_STORE = 80 << 20  # bytes, Ray's least; only names and numbers of shards travel
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_BACKEND_LOG_LEVEL": "fatal",
    # Despite its name it matters on Linux: with 0, Ray listens on the loopback address only.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
}


def run(
    job: ShardJob, shards: Sequence[ShardSpec], *, actors: int, gpus: bool = False
) -> Iterator[ShardResult]:
    """Answer shards by that many Ray actors, which share the cluster's processors.

    Args:
        gpus: share the cluster's GPUs among them, too.

    Raises UsageError if the cluster has too few processors, EngineError if Ray is missing or actors crash
    repeatedly, and what an actor raises.
    """
    ray = _ray()
    left = {shard.number: shard for shard in shards}
    with _cluster(ray):
        while left:
            before = len(left)
            try:
                for written in _attempt(ray, job, list(left.values()), actors, gpus):
                    del left[written.number]
                    yield written
                return
            except ray.exceptions.RayError as error:
                # Several crashes at once also use up the retries of shards that did not cause them.
                if len(left) == before:
                    raise EngineError(
                        f"Ray gave up ({_first_line(error)})",
                        fix="run the same command again: it writes only the missing shards; if actors run "
                        "out of memory, use fewer actors, or smaller shards with --shard-size",
                    ) from error


def _attempt(
    ray: Any, job: ShardJob, shards: Sequence[ShardSpec], actors: int, gpus: bool
) -> Iterator[ShardResult]:
    dataset = ray.data.from_items([asdict(shard) for shard in shards], override_num_blocks=len(shards))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Ray deprecates two of the arguments
        answered = dataset.map(
            _RayWorker,
            fn_constructor_args=(job,),
            # One shard waits at each actor, so that none is idle.
            compute=ray.data.ActorPoolStrategy(size=actors, max_tasks_in_flight_per_actor=2),
            num_cpus=_share(_nodes(ray, "CPU"), actors),
            num_gpus=_gpu_share(_nodes(ray, "GPU"), actors) if gpus else 0,
            max_restarts=-1,
            max_task_retries=_RETRIES,
        )
    for row in answered.iter_rows():
        yield _from_json(row["reply"])


class _RayWorker:
    """Ray Data makes one in each actor and calls it with a row at a time.

    KomrcErrors are returned, not raised: Ray turns an exception into text and starts the actor again.
    """

    def __init__(self, job: ShardJob) -> None:
        self.worker: ShardWorker | KomrcError
        try:
            self.worker = ShardWorker(job)
        except KomrcError as error:
            self.worker = error

    def __call__(self, row: dict[str, Any]) -> dict[str, str]:
        try:
            reply = self.worker if isinstance(self.worker, KomrcError) else self.worker(ShardSpec(**row))
        except KomrcError as error:
            reply = error
        return {"reply": _to_json(reply)}


def _to_json(reply: ShardResult | KomrcError) -> str:
    if isinstance(reply, ShardResult):
        return json.dumps(asdict(reply))
    return json.dumps({"error": errors.to_json(reply)})


def _from_json(reply: str) -> ShardResult:
    """The actor's result. Raises what the actor raised."""
    value = json.loads(reply)
    if "error" in value:
        raise errors.from_json(value["error"])
    return ShardResult(**value)


def _ray() -> ModuleType:
    address = os.environ.get("RAY_ADDRESS")
    if not address:
        for name, value in _ENVIRONMENT.items():
            os.environ.setdefault(name, value)
    require("ray", extra="ray", purpose="engine ray", where="engine")
    import ray
    import ray.data

    return ray


@contextlib.contextmanager
def _cluster(ray: Any) -> Iterator[None]:
    """Use Ray if it is running; else start it for this context."""
    if ray.is_initialized():
        yield
        return
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    try:
        if os.environ.get("RAY_ADDRESS"):
            ray.init(**quiet)
        else:
            ray.init(address="local", include_dashboard=False, object_store_memory=_OBJECT_STORE, **quiet)
    except Exception as error:  # Ray also raises bare Exception
        raise EngineError(
            f"Ray can't be reached or started ({_first_line(error)})",
            where=os.environ.get("RAY_ADDRESS") or "this machine",
            fix="check RAY_ADDRESS; without it Ray is started here, which can fail on a busy machine",
        ) from error
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # errors are raised as exceptions too
    try:
        yield
    finally:
        ray.shutdown()


def _nodes(ray: Any, resource: str) -> list[float]:
    return [node["Resources"].get(resource, 0.0) for node in ray.nodes() if node["Alive"]]


def _share(nodes: Sequence[float], actors: int) -> int:
    """The most processors that each actor can have such that all actors fit."""
    for share in range(int(max(nodes, default=0)), 0, -1):
        if sum(int(node) // share for node in nodes) >= actors:
            return share
    raise UsageError(
        f"the cluster has {int(sum(nodes))} processors for {actors} actors",
        where="actors",
        fix="take fewer actors, or add hosts",
    )


def _gpu_share(nodes: Sequence[float], actors: int) -> float:
    """One GPU each, or a part of one where there are more actors than GPUs."""
    total = int(sum(nodes))
    return 1 / -(-actors // total) if total else 0


def _first_line(error: BaseException) -> str:
    return _COLOURS.sub("", first_line(error))
