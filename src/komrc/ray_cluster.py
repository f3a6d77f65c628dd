"""Ray for a command: the cluster that RAY_ADDRESS names, or one on this machine for this run.

Without RAY_ADDRESS, Ray is started on the loopback address, with a token, without dashboard and usage
reports.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from komrc.errors import EngineError, UsageError, first_line, require

if TYPE_CHECKING:
    from types import ModuleType

_OBJECT_STORE = 80 << 20  # bytes, Ray's least; only small rows travel
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_BACKEND_LOG_LEVEL": "fatal",
    # Despite its name it matters on Linux: with 0, Ray listens on the loopback address only.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
}


def imported_ray(purpose: str, where: str) -> ModuleType:
    """Import Ray with the settings above. Raises MissingPackageError."""
    address = os.environ.get("RAY_ADDRESS")
    if not address:
        for name, value in _ENVIRONMENT.items():
            os.environ.setdefault(name, value)
    require("ray", extra="ray", purpose=purpose, where=where)
    import ray
    import ray.data

    return ray


@contextlib.contextmanager
def cluster(ray: Any) -> Iterator[None]:
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
            f"Ray can't be reached or started ({short(error)})",
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


def nodes(ray: Any, resource: str) -> list[float]:
    """How much each node has of a resource: "CPU", "GPU"."""
    return [node["Resources"].get(resource, 0.0) for node in ray.nodes() if node["Alive"]]


def share_of_processors(nodes: Sequence[float], actors: int) -> int:
    """The most processors that each actor can have such that all actors fit. Raises UsageError."""
    for share in range(int(max(nodes, default=0)), 0, -1):
        if sum(int(node) // share for node in nodes) >= actors:
            return share
    raise UsageError(
        f"the cluster has {int(sum(nodes))} processors for {actors} actors",
        where="actors",
        fix="take fewer actors, or add hosts",
    )


def share_of_gpus(nodes: Sequence[float], actors: int) -> float:
    """One GPU for each actor, or a part of one if there are more actors than GPUs."""
    total = int(sum(nodes))
    return 1 / -(-actors // total) if total else 0


def short(error: BaseException) -> str:
    """The first line of an error's message, without colours."""
    return _COLOURS.sub("", first_line(error))
