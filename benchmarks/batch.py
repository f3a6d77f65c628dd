"""Batch prediction: overhead against one process, scaling over actors, memory over the number of questions.

python -m benchmarks.batch [--quick] [--only PART] [--questions N ...]     prints JSON

Speed is measured with the embedded model on real questions; memory with an engine that computes next to
nothing, so that a million questions pass in minutes: everything else (reading, tokens, decoding, writing,
actors) is what runs otherwise. Peak memory is each process's own: the driver's and the largest actor's.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.machine import describe
from benchmarks.rounds import ROOT, Summary, say
from benchmarks.workload import questions, spread
from komrc.engines.fake import FakeEngine
from komrc.predicting import on_ray, processes
from komrc.predicting.model import Model
from komrc.predicting.shards import Actors, Job, predict_folder
from komrc.predicting.source import open_source
from komrc.reader import Reader
from komrc.settings import ReaderSettings
from komrc.tokenization import load_tokenizer

ACTORS: dict[str, Actors] = {
    "one process": processes.run,
    "2 processes": partial(processes.run, actors=2),
    "Ray, 1 actor": partial(on_ray.run, actors=1),
    "Ray, 2 actors": partial(on_ray.run, actors=2),
}
MEMORY = ("one process", "2 processes", "Ray, 2 actors")
SIZES = (10_000, 100_000, 1_000_000)


def cheap_reader() -> Reader:
    return Reader(load_tokenizer(None), FakeEngine(), ReaderSettings())


class Noting:
    """Loads a reader and notes its process, so that the peak memory of every actor is known at the end."""

    def __init__(self, load: Callable[[], Reader], notes: Path) -> None:
        self.load, self.notes = load, notes

    def __call__(self) -> Reader:
        import atexit

        reader, true_stream = self.load(), Reader.stream

        def note() -> None:
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
            (self.notes / str(os.getpid())).write_text(str(peak))

        def stream(*args: Any, **more: Any) -> Iterator[Any]:
            yield from true_stream(reader, *args, **more)
            note()  # after every shard: an actor is stopped without a word

        reader.stream = stream  # type: ignore[method-assign]
        atexit.register(note)
        return reader


def write_data(path: Path, count: int, *, short: bool) -> Path:
    """Real questions, again and again under new ids; ``short`` keeps 200 characters of each text."""
    examples = spread(questions(), min(count, 5_000))
    with path.open("w", encoding="utf-8") as file:
        for n in range(count):
            e = examples[n % len(examples)]
            context = e.context[:200] if short else e.context
            line = {"id": f"{n}", "question": e.question, "context": context}
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
    return path


def one(kind: str, data: Path, folder: Path, *, cheap: bool, shard_size: int) -> dict[str, float]:
    """One run in this process: seconds without and with the start, peak memory in MiB."""
    notes = folder / "notes"
    notes.mkdir(parents=True)
    load = cheap_reader if cheap else Model.of(None).load
    job = Job(Noting(load, notes), str(folder / "out"))
    began = time.perf_counter()
    source = open_source([data], block=shard_size)
    first: list[float] = []

    def timed(given: Job, blocks: Any) -> Iterator[Any]:
        for written in ACTORS[kind](given, blocks):
            first.append(time.perf_counter())
            yield written

    predict_folder(source, job, timed, run={})
    ended = time.perf_counter()
    peaks = {path.name: int(path.read_text()) for path in notes.iterdir()}
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {
        "questions": source.total,
        "seconds": ended - began,
        # From the first shard on: without the start of processes and models.
        "shards a second, once running": (len(first) - 1) / (first[-1] - first[0]) if len(first) > 1 else 0,
        "driver MiB": own / 2**20,
        "largest actor MiB": max(peaks.values()) / 2**20,
    }


def fresh(kind: str, data: Path, work: Path, *, cheap: bool, shard_size: int) -> dict[str, float]:
    """The same in a process of its own."""
    with tempfile.TemporaryDirectory(dir=work) as folder:
        command = [
            sys.executable,
            "-m",
            "benchmarks.batch",
            "--run",
            kind,
            str(data),
            folder,
            str(shard_size),
        ]
        command += ["--cheap"] if cheap else []
        done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    say(f"{kind}, {found['questions']:,} questions: {json.dumps(found)}")
    return found


def speed(work: Path, counts: list[int], rounds: int) -> dict[str, Any]:
    """Questions a second of each kind, interleaved; overhead and scaling follow."""
    data = write_data(work / "speed.jsonl", counts[0], short=False)
    size = max(2, counts[0] // 40)
    seconds: dict[str, list[float]] = {kind: [] for kind in ACTORS}
    running: dict[str, list[float]] = {kind: [] for kind in ACTORS}
    for _ in range(rounds):
        for kind in ACTORS:
            found = fresh(kind, data, work, cheap=False, shard_size=size)
            seconds[kind].append(found["seconds"])
            running[kind].append(found["shards a second, once running"] * size)
    rates = {kind: Summary.of(values) for kind, values in running.items()}
    return {
        "questions": counts[0],
        "shard size": size,
        "questions a second, once running": {k: [s.median, s.low, s.high] for k, s in rates.items()},
        "seconds, start included": {
            k: [s.median, s.low, s.high] for k, s in ((k, Summary.of(v)) for k, v in seconds.items())
        },
        "time of Ray with 1 actor over one process": rates["one process"].median
        / rates["Ray, 1 actor"].median,
        "2 processes over one": rates["2 processes"].median / rates["one process"].median,
        "Ray, 2 actors over 1": rates["Ray, 2 actors"].median / rates["Ray, 1 actor"].median,
    }


def memory(work: Path, counts: list[int], rounds: int) -> dict[str, Any]:
    """Peak memory over the number of questions, with the cheap engine."""
    del rounds  # peaks don't scatter
    found: dict[str, Any] = {}
    for count in counts:
        data = write_data(work / "memory.jsonl", count, short=True)
        for kind in MEMORY:
            found.setdefault(kind, []).append(fresh(kind, data, work, cheap=True, shard_size=1000))
    return found


PARTS: dict[str, Callable[[Path, list[int], int], dict[str, Any]]] = {"speed": speed, "memory": memory}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="small: shows that it works")
    parser.add_argument("--only", choices=PARTS, help="this part")
    parser.add_argument("--questions", type=int, nargs="+", help="of the memory part, or of the speed part")
    parser.add_argument(
        "--run", nargs=4, metavar=("KIND", "DATA", "FOLDER", "SHARD_SIZE"), help=argparse.SUPPRESS
    )
    parser.add_argument("--cheap", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.run:
        kind, data, folder, size = args.run
        print(json.dumps(one(kind, Path(data), Path(folder), cheap=args.cheap, shard_size=int(size))))
        return 0
    figures: dict[str, Any] = {"machine": describe()}
    with tempfile.TemporaryDirectory(prefix="komrc-batch-") as work:
        for name in [args.only] if args.only else PARTS:
            usual = {
                "speed": [80] if args.quick else [4_000],
                "memory": [2_000] if args.quick else list(SIZES),
            }
            counts = args.questions or usual[name]
            figures[name] = PARTS[name](Path(work), counts, 1 if args.quick else 5)
    print(json.dumps(figures, ensure_ascii=False, indent=2))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
