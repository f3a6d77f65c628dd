"""Ray on this machine for a test."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import psutil
import pytest

from komrc import ray_cluster
from komrc.errors import EngineError
from support import fake_engine, shard_jobs


@contextlib.contextmanager
def ray_here() -> Iterator[Any]:
    """Ray as a run starts it, for several runs.

    Ray gives its own processes 30 seconds to start: on a machine that is busy with something else it may
    take a second try, and the tests are skipped where that fails, too.
    """
    ray = ray_cluster.imported_ray("this test", "")
    with contextlib.ExitStack() as stack:
        for attempt in range(3):
            before = set(psutil.Process().children())
            try:
                stack.enter_context(ray_cluster.cluster(ray))
                break
            except EngineError as error:
                for process in set(psutil.Process().children()) - before:
                    with contextlib.suppress(psutil.Error):
                        process.kill()
                if "timed out during startup" not in str(error):
                    raise
                if attempt == 2:
                    pytest.skip("the machine is too busy for Ray to start")
        for module in (shard_jobs, fake_engine):  # actors don't find the tests' modules
            ray.cloudpickle.register_pickle_by_value(module)
        yield ray


def ray_processes(kind: str = "ray::") -> list[psutil.Process]:
    """Ray's workers below this process whose title begins so, such as "ray::MapWorker"."""
    return [p for p in psutil.Process().children(recursive=True) if title(p).startswith(kind)]


def title(process: psutil.Process) -> str:
    """What it calls itself; empty when it has ended."""
    with contextlib.suppress(psutil.Error):
        return " ".join(process.cmdline()).strip()
    return ""
