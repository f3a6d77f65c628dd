"""Processes of Ray killed at any moment: the answers are those of one process, byte for byte."""

from __future__ import annotations

import contextlib
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import psutil
import pytest
from support.local_ray import ray_here, ray_processes, title
from support.shard_jobs import SlowReader, job, record, shards, write_lines

from komrc import ray_cluster
from komrc.models import hub
from komrc.predicting import on_ray, workers
from komrc.predicting.questions import open_questions
from komrc.predicting.shards import predict_folder

RUN = {"model": "m"}
AGENTS = ("ray::DashboardAgent", "ray::RuntimeEnvAgent")  # they notice after a minute that Ray is gone
pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed (the ray extra)"),
]


@contextlib.contextmanager
def meanwhile(action: Callable[[], None]) -> Iterator[None]:
    """Does something again and again, on another thread."""
    over = threading.Event()

    def work() -> None:
        while not over.wait(0.05):
            action()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def running(processes: Iterable[psutil.Process]) -> list[psutil.Process]:
    return [one for one in processes if title(one)]  # a zombie has none


def until(true: Callable[[], bool], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "processes are left"
        time.sleep(0.2)


@pytest.mark.parametrize("kind", ["ray::MapWorker", "ray::"])
def test_worker_processes_killed(tmp_path: Path, kind: str) -> None:
    """Actors of ours, then any worker process of Ray, its own helpers too.

    Not its daemons: with them goes the node, and on this machine the driver's.
    """
    data = write_lines(tmp_path / "q.jsonl", [record(n) for n in range(200)])
    source = open_questions([data], shard_size=5)
    predict_folder(source, job(tmp_path / "one"), workers.run, run=RUN)
    draw, killed = random.Random(1), list[str]()
    output = tmp_path / "ray"

    def kill() -> None:
        begun = len(list(output.glob("part-*")))
        there = [p for p in ray_processes(kind) if title(p) not in AGENTS]
        if there and begun > 5 * (len(killed) + 1) and len(killed) < 4:
            chosen = draw.choice(there)
            killed.append(title(chosen))
            chosen.kill()

    with ray_here(), meanwhile(kill):
        predict_folder(source, job(output, SlowReader(0.1)), partial(on_ray.run, actors=2), run=RUN)
    assert len(killed) >= 2
    assert shards(output) == shards(tmp_path / "one")


def test_a_node_killed(tmp_path: Path) -> None:
    from support import shard_jobs

    ray = ray_cluster.imported_ray("this test", "")
    from ray.cluster_utils import Cluster

    data = write_lines(tmp_path / "q.jsonl", [record(n) for n in range(150)])
    source = open_questions([data], shard_size=5)
    predict_folder(source, job(tmp_path / "one"), workers.run, run=RUN)
    output = tmp_path / "ray"
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        nodes = [cluster.add_node(num_cpus=1)]
        ray.init(address=cluster.address, log_to_driver=False)
        ray.cloudpickle.register_pickle_by_value(shard_jobs)

        def kill() -> None:
            if nodes and len(list(output.glob("part-*"))) > 8:
                cluster.remove_node(nodes.pop(), allow_graceful=False)

        with meanwhile(kill):
            predict_folder(source, job(output, SlowReader(0.2)), partial(on_ray.run, actors=2), run=RUN)
        assert not nodes
    finally:
        ray.shutdown()
        cluster.shutdown()
    assert shards(output) == shards(tmp_path / "one")


def test_the_driver_killed_and_started_again(tmp_path: Path) -> None:
    """The command, the embedded model, real questions; killed twice."""
    data = hub.sample_data("dev")
    command = [sys.executable, "-m", "komrc", "predict", "--data", str(data), "--shard-size", "5"]
    subprocess.run([*command, "--output", str(tmp_path / "one")], check=True)
    output = tmp_path / "ray"
    on_ray_too = [*command, "--engine", "ray", "--actors", "2", "--output", str(output)]
    kills, slow_starts = 0, 0
    below = set[psutil.Process]()
    while kills < 2:
        before = len(list(output.glob("part-*")))
        driver = subprocess.Popen(on_ray_too, stderr=subprocess.PIPE, text=True)
        while driver.poll() is None:
            below.update(psutil.Process(driver.pid).children(recursive=True))
            if len(list(output.glob("part-*"))) > before + 1:
                driver.kill()
                kills += 1
            time.sleep(0.05)
        _, said = driver.communicate()
        if driver.returncode > 0:
            slow_starts += 1
            assert slow_starts < 4 and "timed out during startup" in said, said
            continue
        assert driver.returncode < 0, "it was to be killed, and is done"
        until(lambda: all(title(process) in AGENTS for process in running(below)), 60)
    last = subprocess.run(on_ray_too, stderr=subprocess.PIPE, text=True, check=False)
    assert last.returncode == 0 and "of them before" in last.stderr, last.stderr
    assert shards(output) == shards(tmp_path / "one")
    until(lambda: not running(below), 180)
