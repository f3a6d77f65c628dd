"""Actors on Ray that read, cut and write documents: Ray Data gives them units and replaces those that die.

Every host needs the files under the same paths, and KoMRC with the same extras.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from komrc import errors
from komrc.errors import EngineError, KomrcError
from komrc.index.workers import Work
from komrc.ray_cluster import cluster, imported_ray, nodes, share_of_processors, short

_RETRIES = 2  # of a unit whose actor has died


def actors_on_ray(work: Work, units: Sequence[str], *, actors: int) -> Iterator[str]:
    """``Workers`` in that many actors. Raises EngineError, UsageError, and what an actor raises."""
    if not units:
        return
    ray = imported_ray("reading on Ray", "ray")
    with cluster(ray):
        context = ray.data.DataContext.get_current()
        ordered, context.execution_options.preserve_order = context.execution_options.preserve_order, True
        try:
            rows = [{"unit": unit} for unit in units]
            replies = ray.data.from_items(rows, override_num_blocks=len(rows)).map(
                _Worker,
                fn_constructor_args=(work,),
                compute=ray.data.ActorPoolStrategy(size=actors, max_tasks_in_flight_per_actor=2),
                num_cpus=share_of_processors(nodes(ray, "CPU"), actors),
                max_restarts=-1,
                max_task_retries=_RETRIES,
            )
            for row in replies.iter_rows():
                if row["error"]:
                    raise errors.from_json(json.loads(row["error"]))
                yield row["reply"]
        except ray.exceptions.RayError as error:
            raise EngineError(
                f"Ray gave up ({short(error)})",
                fix="run the same command again: it continues; if actors run out of memory, use fewer",
            ) from error
        finally:
            context.execution_options.preserve_order = ordered


class _Worker:
    """Ray Data makes one in each actor. KomrcErrors are returned: Ray turns an exception into text."""

    def __init__(self, work: Work) -> None:
        self.work = work

    def __call__(self, row: dict[str, Any]) -> dict[str, str]:
        try:
            return {"reply": self.work(row["unit"]), "error": ""}
        except KomrcError as error:
            return {"reply": "", "error": json.dumps(errors.to_json(error))}
