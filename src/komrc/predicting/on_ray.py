"""Actors on Ray: Ray Data gives them blocks, replaces those that die and gives their blocks to others.

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
from komrc.errors import EngineError, KomrcError, UsageError, require
from komrc.predicting.shards import Answerer, Job, Written
from komrc.predicting.source import Block

if TYPE_CHECKING:
    from types import ModuleType

_RETRIES = 2  # of a block whose actor has died, in one attempt; there is another one after any progress
_OBJECT_STORE = 80 << 20  # bytes, Ray's least; only names and numbers of blocks travel
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_BACKEND_LOG_LEVEL": "fatal",
    # On Linux, too, it decides whether Ray takes the loopback address instead of listening to the network.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
}


def run(job: Job, blocks: Sequence[Block], *, actors: int, gpus: bool = False) -> Iterator[Written]:
    """Answer blocks by that many Ray actors, which share the cluster's processors.

    Args:
        gpus: share the cluster's GPUs among them, too.

    Raises UsageError where the cluster has too few processors, EngineError where Ray is missing or actors
    keep dying, and what an actor raises.
    """
    ray = _ray()
    left = {block.number: block for block in blocks}
    with _cluster(ray):
        while left:
            before = len(left)
            try:
                for written in _attempt(ray, job, list(left.values()), actors, gpus):
                    del left[written.number]
                    yield written
                return
            except ray.exceptions.RayError as error:
                # Several deaths at once use up the retries of blocks that are not to blame.
                if len(left) == before:
                    raise EngineError(
                        f"Ray gave up ({_first_line(error)})",
                        fix="run the same command again: it does only what is missing; if actors die for "
                        "want of memory, take fewer of them, or smaller shards with --shard-size",
                    ) from error


def _attempt(ray: Any, job: Job, blocks: Sequence[Block], actors: int, gpus: bool) -> Iterator[Written]:
    dataset = ray.data.from_items([asdict(block) for block in blocks], override_num_blocks=len(blocks))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # two of the arguments are to be renamed
        answered = dataset.map(
            _Actor,
            fn_constructor_args=(job,),
            # One block waits at each actor, so that none is idle.
            compute=ray.data.ActorPoolStrategy(size=actors, max_tasks_in_flight_per_actor=2),
            num_cpus=_share(_nodes(ray, "CPU"), actors),
            num_gpus=_gpu_share(_nodes(ray, "GPU"), actors) if gpus else 0,
            max_restarts=-1,
            max_task_retries=_RETRIES,
        )
    for row in answered.iter_rows():
        yield _opened(row["reply"])


class _Actor:
    """What Ray Data calls with a row at a time.

    Our own errors are returned: Ray would wrap what is raised in text, and try again to make an actor.
    """

    def __init__(self, job: Job) -> None:
        self.answerer: Answerer | KomrcError
        try:
            self.answerer = Answerer(job)
        except KomrcError as error:
            self.answerer = error

    def __call__(self, row: dict[str, Any]) -> dict[str, str]:
        try:
            reply = self.answerer if isinstance(self.answerer, KomrcError) else self.answerer(Block(**row))
        except KomrcError as error:
            reply = error
        return {"reply": _closed(reply)}


def _closed(reply: Written | KomrcError) -> str:
    if isinstance(reply, Written):
        return json.dumps(asdict(reply))
    return json.dumps({"error": errors.to_json(reply)})


def _opened(reply: str) -> Written:
    """Raises what the actor raised."""
    value = json.loads(reply)
    if "error" in value:
        raise errors.from_json(value["error"])
    return Written(**value)


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
    """Ray as it is running already, or for as long as this lasts."""
    if ray.is_initialized():
        yield
        return
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    try:
        if os.environ.get("RAY_ADDRESS"):
            ray.init(**quiet)
        else:
            ray.init(address="local", include_dashboard=False, object_store_memory=_OBJECT_STORE, **quiet)
    except Exception as error:  # Ray raises bare ones, too
        raise EngineError(
            f"Ray can't be reached or started ({_first_line(error)})",
            where=os.environ.get("RAY_ADDRESS") or "this machine",
            fix="check RAY_ADDRESS; without it Ray is started here, for which the machine may be too busy",
        ) from error
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # errors come as exceptions, too
    try:
        yield
    finally:
        ray.shutdown()


def _nodes(ray: Any, resource: str) -> list[float]:
    return [node["Resources"].get(resource, 0.0) for node in ray.nodes() if node["Alive"]]


def _share(nodes: Sequence[float], actors: int) -> int:
    """The most processors that each actor can have, so that all find room."""
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
    return _COLOURS.sub("", (str(error).strip() or type(error).__name__).split("\n")[0])
