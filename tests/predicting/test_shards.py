"""Answers in a folder: the same by any number of actors, resumable, never of two runs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from support.shard_jobs import DyingReader, fake_reader, job, read_lines, record, shards, write_lines

from komrc import storage
from komrc.engines.onnx_engine import usable_cores
from komrc.errors import DataError, EngineError, StorageError, UsageError
from komrc.predicting import workers
from komrc.predicting.one_file import predict_file
from komrc.predicting.questions import ShardSpec, open_questions
from komrc.predicting.shards import ShardJob, ShardResult, ShardWorker, predict_folder

COUNT = 90
RUN = {"model": "m"}


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    return write_lines(tmp_path / "q.jsonl", [record(n) for n in range(COUNT)])


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What one process that was never cut short leaves."""
    folder = tmp_path_factory.mktemp("whole")
    data = write_lines(folder / "q.jsonl", [record(n) for n in range(COUNT)])
    assert answer_all(data, folder / "out") == 0
    return shards(folder / "out")


def answer_all(data: Path, output: Path, actors: Any = workers.run, **options: Any) -> int:
    given: ShardJob = options.pop("job", job(output))
    source = open_questions([data], shard_size=options.pop("shard", 7))
    return predict_folder(source, given, actors, run=options.pop("run", RUN), **options)


def cut_short(after: int) -> Any:
    """An actor that fails after some shards."""

    def run(given: ShardJob, shards: Sequence[ShardSpec]) -> Iterator[ShardResult]:
        for done, written in enumerate(workers.run(given, shards), 1):
            yield written
            if done == after:
                raise EngineError("out of memory")

    return run


def test_shards_hold_every_answer_once(questions: Path, tmp_path: Path, whole: dict[str, bytes]) -> None:
    output = tmp_path / "new/out"
    assert answer_all(questions, output) == 0
    assert [line["id"] for line in read_lines(output)] == [f"q{n}" for n in range(COUNT)]
    assert shards(output) == whole
    assert storage.verify_folder(output) == []
    assert len(list(output.glob("part-*"))) == -(-COUNT // 7)
    predict_file(fake_reader(), open_questions([questions]), tmp_path / "a.jsonl", run=RUN)
    joined = b"".join(data for name, data in sorted(whole.items()) if name.startswith("part-"))
    assert (tmp_path / "a.jsonl").read_bytes() == joined


def test_parquet_holds_the_same(questions: Path, tmp_path: Path) -> None:
    pq = pytest.importorskip("pyarrow.parquet")
    answer_all(questions, tmp_path / "j", job=job(tmp_path / "j", top_k=2))
    answer_all(questions, tmp_path / "p", job=job(tmp_path / "p", top_k=2, form="parquet"))
    rows = [
        row for path in sorted((tmp_path / "p").glob("part-*")) for row in pq.read_table(path).to_pylist()
    ]

    def plain(value: Any) -> Any:
        return {name: inner for name, inner in value.items() if name != "untrimmed"}

    found = [{**plain(row), "answers": [plain(answer) for answer in row["answers"]]} for row in rows]
    assert found == read_lines(tmp_path / "j")


def test_processes_give_what_one_gives(questions: Path, tmp_path: Path, whole: dict[str, bytes]) -> None:
    """Also where two of them are killed in the middle."""
    given = job(tmp_path / "out", DyingReader(tmp_path / "lives", kills=2))
    answer_all(questions, tmp_path / "out", partial(workers.run, actors=2), job=given)
    assert not list((tmp_path / "lives").iterdir())
    assert shards(tmp_path / "out") == whole


def test_a_shard_that_kills_every_actor_ends_the_run(questions: Path, tmp_path: Path) -> None:
    given = job(tmp_path / "out", DyingReader(tmp_path / "lives", kills=100, after=0))
    with pytest.raises(EngineError, match="3 actors crashed"):
        answer_all(questions, tmp_path / "out", partial(workers.run, actors=2), job=given)


def test_what_an_actor_raises_reaches_the_user(questions: Path, tmp_path: Path) -> None:
    source = open_questions([questions], shard_size=7)
    write_lines(questions, [record(n) for n in range(1, COUNT + 1)])
    with pytest.raises(DataError, match="changed while it was read"):
        predict_folder(source, job(tmp_path / "out"), partial(workers.run, actors=2), run=RUN)
    assert not list((tmp_path / "out").glob("part-*"))


def test_only_what_is_missing_is_done(questions: Path, tmp_path: Path, whole: dict[str, bytes]) -> None:
    output = tmp_path / "out"
    with pytest.raises(EngineError, match="out of memory"):
        answer_all(questions, output, cut_short(4))
    assert storage.verify_folder(output) == ["no manifest"]
    (output / "part-000001.jsonl").unlink()
    (output / ".tmp-01234567-part-000009.jsonl").write_bytes(b"half")
    asked: list[int] = []

    def noted(given: ShardJob, shards: Sequence[ShardSpec]) -> Iterator[ShardResult]:
        asked.extend(shard.number for shard in shards)
        return workers.run(given, shards)

    assert answer_all(questions, output, noted) == 21
    assert asked == [1, *range(4, 13)]
    (output / ".tmp-01234567-part-000009.jsonl").unlink(missing_ok=True)
    assert shards(output) == whole
    asked.clear()
    assert answer_all(questions, output, noted) == COUNT
    assert asked == [] and shards(output) == whole


DRIVER = """
import sys, time
from functools import partial
from pathlib import Path
sys.path.insert(0, sys.argv[3])
import test_shards as t

if __name__ == "__main__":
    t.answer_all(Path(sys.argv[1]), Path(sys.argv[2]), partial(t.workers.run, actors=2))
"""


def test_a_killed_driver_leaves_no_actor_and_no_half(
    questions: Path, tmp_path: Path, whole: dict[str, bytes]
) -> None:
    output = tmp_path / "out"
    (tmp_path / "driver.py").write_text(DRIVER)
    command = [sys.executable, tmp_path / "driver.py", questions, output, Path(__file__).parent]
    search = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    driver = subprocess.Popen([str(part) for part in command], start_new_session=True, env=search)
    while driver.poll() is None and not list(output.glob("part-*")):
        time.sleep(0.01)
    driver.kill()
    assert driver.wait() in (-signal.SIGKILL, 0)
    for _ in range(500):
        if not group(driver.pid):
            break
        time.sleep(0.02)
    assert group(driver.pid) == []
    there = {name: data for name, data in shards(output).items() if not name.startswith(".tmp-")}
    assert there.items() <= whole.items()
    answer_all(questions, output, partial(workers.run, actors=2))
    assert {name: data for name, data in shards(output).items() if not name.startswith(".tmp-")} == whole


def group(leader: int) -> list[int]:
    """Processes of a group that still run."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, pgid = path.read_text().rpartition(")")[2].split()[:3]
        except OSError:
            continue
        if int(pgid) == leader and state != "Z":
            found.append(int(path.parent.name))
    return found


def test_answers_of_two_runs_never_mix(questions: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    with pytest.raises(EngineError):
        answer_all(questions, output, cut_short(2))
    before = shards(output)
    with pytest.raises(UsageError, match="another model"):
        answer_all(questions, output, run={"model": "other"})
    with pytest.raises(UsageError, match="another top_k"):
        answer_all(questions, output, job=job(output, top_k=2))
    with pytest.raises(UsageError, match="another shard_size"):
        answer_all(questions, output, shard=9)
    other = write_lines(tmp_path / "other.jsonl", [record(n) for n in range(7)])
    with pytest.raises(UsageError, match="another data"):
        answer_all(other, output)
    assert shards(output) == before
    assert answer_all(other, output, restart=True) == 0
    assert [line["id"] for line in read_lines(output)] == [f"q{n}" for n in range(7)]
    assert storage.verify_folder(output) == []


def test_files_of_others_are_left_alone(questions: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    output.mkdir()
    (output / "part-000000.jsonl").write_text("mine")
    for restart in (False, True):
        with pytest.raises(UsageError, match="has files of something else"):
            answer_all(questions, output, restart=restart)
    assert shards(output) == {"part-000000.jsonl": b"mine"}
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="can't be written"):
        answer_all(questions, tmp_path / "file")


def test_repeated_ids_are_refused(tmp_path: Path) -> None:
    twice = write_lines(tmp_path / "q.jsonl", [record(1), record(2), record(1)])
    with pytest.raises(DataError, match="q1 occurs more than once"):
        answer_all(twice, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_second_run_on_the_same_folder_is_refused(questions: Path, tmp_path: Path) -> None:
    def second(given: ShardJob, shards: Sequence[ShardSpec]) -> Iterator[ShardResult]:
        with pytest.raises(UsageError, match="another run"):
            answer_all(questions, tmp_path / "out")
        return workers.run(given, shards)

    answer_all(questions, tmp_path / "out", second)


def test_an_actor_that_makes_nothing_is_noticed(questions: Path, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="13 of 13 shards were not written"):
        answer_all(questions, tmp_path / "out", lambda given, shards: [])


def test_a_folder_behind_a_url(questions: Path, tmp_path: Path, whole: dict[str, bytes]) -> None:
    memory = pytest.importorskip("fsspec").filesystem("memory")
    given = ShardJob(fake_reader, "memory://bucket/out")
    try:
        with pytest.raises(EngineError):
            answer_all(questions, tmp_path, cut_short(3), job=given)
        assert answer_all(questions, tmp_path, job=given) == 21
        found = {Path(name).name: memory.cat(name) for name in memory.find("/bucket/out")}
        assert found == whole
        with pytest.raises(UsageError, match="another model"):
            answer_all(questions, tmp_path, job=given, run={"model": "other"})
        assert answer_all(questions, tmp_path, job=given, restart=True) == 0
    finally:
        memory.rm("/bucket", recursive=True)


def test_threads_are_divided(questions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    given = job(tmp_path / "out", NotingReader(tmp_path / "threads"))
    answer_all(questions, tmp_path / "out", partial(workers.run, actors=2), job=given)
    assert (tmp_path / "threads").read_text() == str(max(1, usable_cores() // 2))
    assert "OMP_NUM_THREADS" not in os.environ


class NotingReader:
    """Writes down how many threads its process is given."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __call__(self) -> Any:
        self.path.write_text(os.environ["OMP_NUM_THREADS"])
        return fake_reader()


def test_actors_share_a_shard_worker(questions: Path, tmp_path: Path, whole: dict[str, bytes]) -> None:
    shard = open_questions([questions], shard_size=7).shards[3]
    written = ShardWorker(job(tmp_path / "out"))(shard)
    data = whole["part-000003.jsonl"]
    assert (tmp_path / "out/part-000003.jsonl").read_bytes() == data
    assert json.loads(whole["manifest.json"])["files"]["part-000003.jsonl"] == {
        "bytes": written.bytes,
        "sha256": written.sha256,
    }
