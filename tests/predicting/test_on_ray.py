"""Actors on a Ray that runs on this machine: the answers are those of one process.

test_ray_kills.py beside this has the long forms.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
from support.shard_jobs import DyingReader, job, record, shards, write_lines

from komrc import ray_cluster
from komrc.errors import DataError, EngineError, ModelError, Problem, UsageError
from komrc.predicting import on_ray, workers
from komrc.predicting.model_ref import ModelRef
from komrc.predicting.questions import ShardSpec, open_questions
from komrc.predicting.shards import ShardJob, ShardResult, predict_folder

RUN = {"model": "m"}


def listening() -> set[tuple[int, str, str, int]]:
    """Process id, process name, address and port of what this process and those below it listen on."""
    return {
        (process.pid, process.name(), connection.laddr.ip, connection.laddr.port)
        for process in [psutil.Process(), *psutil.Process().children(recursive=True)]
        for connection in process.net_connections()
        if connection.status == psutil.CONN_LISTEN
    }


@pytest.fixture(scope="module")
def cluster() -> Iterator[set[tuple[int, str, str, int]]]:
    """A Ray on this machine; what listened before it started."""
    if find_spec("ray") is None:  # importing it here would be before its settings are made
        pytest.skip("Ray is not installed (the ray extra)")
    from support.local_ray import ray_here

    before = listening()
    with ray_here():
        yield before


def test_killed_actors_change_nothing(cluster: Any, tmp_path: Path) -> None:
    data = write_lines(tmp_path / "q.jsonl", [record(n) for n in range(60)])
    source = open_questions([data], shard_size=6)
    predict_folder(source, job(tmp_path / "one"), workers.run, run=RUN)
    given = job(tmp_path / "ray", DyingReader(tmp_path / "lives", kills=1, after=1))
    predict_folder(source, given, partial(on_ray.run, actors=2), run=RUN)
    assert not list((tmp_path / "lives").iterdir())
    assert shards(tmp_path / "ray") == shards(tmp_path / "one")


def test_what_an_actor_raises_reaches_the_user(cluster: Any, tmp_path: Path) -> None:
    data = write_lines(tmp_path / "q.jsonl", [record(n) for n in range(4)])
    source = open_questions([data])
    write_lines(data, [record(n) for n in range(1, 5)])
    with pytest.raises(DataError, match="changed while it was read") as caught:
        predict_folder(source, job(tmp_path / "out"), partial(on_ray.run, actors=1), run=RUN)
    assert caught.value.where == str(data)


def test_a_reader_that_can_not_be_loaded_is_told(cluster: Any, tmp_path: Path) -> None:
    data = write_lines(tmp_path / "q.jsonl", [record(n) for n in range(4)])
    given = job(tmp_path / "out", ModelRef("no/such/folder", "auto", None, "").load)
    with pytest.raises(ModelError, match="no/such/folder"):
        predict_folder(open_questions([data]), given, partial(on_ray.run, actors=1), run=RUN)


def test_nothing_listens_to_the_network(cluster: set[tuple[int, str, str, int]]) -> None:
    of_ray = listening() - cluster
    assert of_ray
    open_to_others = [
        entry for entry in of_ray if not ipaddress.ip_address(entry[2].removeprefix("::ffff:")).is_loopback
    ]
    assert open_to_others == []


def test_processors_are_shared() -> None:
    assert ray_cluster.share_of_processors([16.0, 16.0], 2) == 16
    assert ray_cluster.share_of_processors([16.0, 16.0], 3) == 8
    assert ray_cluster.share_of_processors([16.0, 4.0], 5) == 4
    assert ray_cluster.share_of_processors([2.0], 2) == 1
    with pytest.raises(UsageError, match="3 processors for 4 actors"):
        ray_cluster.share_of_processors([2.0, 1.0, 0.0], 4)
    assert ray_cluster.share_of_gpus([1.0, 1.0], 2) == 1
    assert ray_cluster.share_of_gpus([1.0, 1.0], 3) == 0.5
    assert ray_cluster.share_of_gpus([0.0], 3) == 0


def test_another_attempt_after_any_progress(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = write_lines(tmp_path / "q.jsonl", [record(n) for n in range(10)])
    source = open_questions([data], shard_size=2)
    asked: list[list[int]] = []

    class RayError(Exception):
        pass

    def attempt(
        ray: Any, given: ShardJob, shards: Sequence[ShardSpec], actors: int, gpus: bool
    ) -> Iterator[ShardResult]:
        asked.append([shard.number for shard in shards])
        yield from workers.run(given, [b for b in shards if b.number != poison][:2])
        raise RayError("The actor died\nand more")

    ray = SimpleNamespace(exceptions=SimpleNamespace(RayError=RayError), is_initialized=lambda: True)
    monkeypatch.setattr(on_ray, "imported_ray", lambda *_: ray)
    monkeypatch.setattr(on_ray, "_attempt", attempt)
    poison = 9
    predict_folder(source, job(tmp_path / "out"), partial(on_ray.run, actors=1), run=RUN)
    assert asked == [[0, 1, 2, 3, 4], [2, 3, 4], [4]]
    asked.clear()
    poison = 1
    with pytest.raises(EngineError, match=r"Ray gave up \(The actor died\)"):
        predict_folder(source, job(tmp_path / "out2"), partial(on_ray.run, actors=1), run=RUN)
    assert asked == [[0, 1, 2, 3, 4], [1, 3, 4], [1]]


def test_replies_travel_as_text() -> None:
    written = ShardResult(3, 17, "ab")
    assert on_ray._from_json(on_ray._to_json(written)) == written
    problem = Problem("row 2", "empty", "fill it", "q2")
    for error in (
        DataError("1 of 2 rows", where="f", fix="mend it", problems=[problem]),
        EngineError("가 failed"),
        ModelError("other", where="host"),
    ):
        with pytest.raises(type(error)) as caught:
            on_ray._from_json(on_ray._to_json(error))
        assert str(caught.value) == str(error)
