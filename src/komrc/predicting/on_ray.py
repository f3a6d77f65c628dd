"""Actors on Ray: Ray Data gives them shards. It replaces actors that die and gives their shards to others."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from komrc import errors
from komrc.errors import EngineError, KomrcError
from komrc.predicting.questions import ShardSpec
from komrc.predicting.shards import ShardJob, ShardResult, ShardWorker
from komrc.ray_cluster import cluster, imported_ray, nodes, share_of_gpus, share_of_processors, short

_RETRIES = 2  # of a shard whose actor has died, in one attempt; after any progress there is another attempt


def run(
    job: ShardJob, shards: Sequence[ShardSpec], *, actors: int, gpus: bool = False
) -> Iterator[ShardResult]:
    """Answer shards by that many Ray actors, which share the cluster's processors.

    Args:
        gpus: share the cluster's GPUs among them, too.

    Raises UsageError if the cluster has too few processors, EngineError if Ray is missing or actors crash
    repeatedly, and what an actor raises.
    """
    ray = imported_ray("engine ray", "engine")
    left = {shard.number: shard for shard in shards}
    with cluster(ray):
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
                        f"Ray gave up ({short(error)})",
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
            num_cpus=share_of_processors(nodes(ray, "CPU"), actors),
            num_gpus=share_of_gpus(nodes(ray, "GPU"), actors) if gpus else 0,
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
