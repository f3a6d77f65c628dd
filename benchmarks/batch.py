"""Batch prediction: overhead against one process, scaling over actors, memory over the number of questions.

python -m benchmarks.batch [--quick] [--only PART] [--questions N ...]     prints tables

Speed is measured with the embedded model on real questions, with all processors shared out among the
actors, as without options, and with one thread an actor, as on a machine of one processor for each. Memory
is measured with an engine that computes next to nothing, so that a million questions pass in minutes:
everything else (reading, tokens, decoding, writing, actors) is what runs otherwise. Peak memory is each
process's own: the driver's and the largest actor's.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.machine import describe, peak_memory
from benchmarks.report import table
from benchmarks.rounds import ROOT, Summary, say
from benchmarks.workload import questions, spread
from komrc.config import ReaderConfig
from komrc.predicting import on_ray, workers
from komrc.predicting.model_ref import ModelRef
from komrc.predicting.questions import open_questions
from komrc.predicting.shards import RunShards, ShardJob, predict_folder
from komrc.reader import Reader
from komrc.tokenization import load_tokenizer
from tests.support.fake_engine import FakeEngine

ACTORS: dict[str, RunShards] = {
    "one process": workers.run,
    "2 processes": partial(workers.run, actors=2),
    "Ray, 1 actor": partial(on_ray.run, actors=1),
    "Ray, 2 actors": partial(on_ray.run, actors=2),
}
SPEED = [(kind, threads) for threads in ("", "1") for kind in ACTORS]  # "": as many as there are for each
MEMORY = ("one process", "2 processes", "Ray, 2 actors")
SIZES = (10_000, 100_000, 1_000_000)


def cheap_reader() -> Reader:
    return Reader(load_tokenizer(None), FakeEngine(), ReaderConfig())


class Noting:
    """Loads a reader and notes its process, so that the peak memory of every actor is known at the end."""

    def __init__(self, load: Callable[[], Reader], notes: Path) -> None:
        self.load, self.notes = load, notes

    def __call__(self) -> Reader:
        import atexit

        reader, true_stream = self.load(), Reader.stream

        def note() -> None:
            (self.notes / str(os.getpid())).write_text(str(peak_memory()))

        def stream(*args: Any, **more: Any) -> Iterator[Any]:
            yield from true_stream(reader, *args, **more)
            note()  # after every shard: an actor is stopped without a word

        reader.stream = stream  # type: ignore[method-assign]
        atexit.register(note)
        return reader


def write_data(path: Path, count: int, *, short: bool) -> Path:
    """Real questions, again and again under new ids; ``short`` keeps 60 characters of each text."""
    examples = spread(questions(), min(count, 5_000))
    with path.open("w", encoding="utf-8") as file:
        for n in range(count):
            e = examples[n % len(examples)]
            context = e.context[:60] if short else e.context
            line = {"id": f"{n}", "question": e.question, "context": context}
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
    return path


def one(kind: str, data: Path, folder: Path, *, cheap: bool, shard_size: int) -> dict[str, float]:
    """One run in this process: questions a second once all actors run, seconds in all, peak memory in MiB."""
    notes = folder / "notes"
    notes.mkdir(parents=True)
    load = cheap_reader if cheap else ModelRef.of(None).load
    job = ShardJob(Noting(load, notes), str(folder / "out"))
    began = time.perf_counter()
    source = open_questions([data], shard_size=shard_size)
    written: list[float] = []

    def timed(given: ShardJob, shards: Any) -> Iterator[Any]:
        for shard in ACTORS[kind](given, shards):
            written.append(time.perf_counter())
            yield shard

    predict_folder(source, job, timed, run={})
    ended = time.perf_counter()
    peaks = [int(path.read_text()) for path in notes.iterdir()]
    first = 1 if "2" in kind else 0  # from here on each actor has written one
    return {
        "questions": source.total,
        "seconds": ended - began,
        "a second": shard_size * (len(written) - 1 - first) / (written[-1] - written[first]),
        "driver MiB": peak_memory() / 2**20,
        "largest actor MiB": max(peaks) / 2**20,
    }


def fresh(
    kind: str, data: Path, work: Path, *, cheap: bool, shard_size: int, threads: str = ""
) -> dict[str, float]:
    """The same in a process of its own."""
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    if threads:
        environment |= {"OMP_NUM_THREADS": threads, "RAYON_NUM_THREADS": threads}
    with tempfile.TemporaryDirectory(dir=work) as folder:
        command = [sys.executable, "-m", "benchmarks.batch", "--run", kind, str(data), folder]
        command += [str(shard_size), *(["--cheap"] if cheap else [])]
        done = subprocess.run(
            command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=True
        )
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    say(f"{kind}, threads {threads or 'shared out'}, {found['questions']:,} questions: {json.dumps(found)}")
    return found


def speed(work: Path, counts: list[int], rounds: int) -> str:
    """Questions a second of each kind, in interleaved rounds, beside one process with as many threads."""
    data = write_data(work / "speed.jsonl", counts[0], short=False)
    size = max(2, counts[0] // 40)
    runs: dict[tuple[str, str], list[dict[str, float]]] = {kind: [] for kind in SPEED}
    for _ in range(rounds):
        for kind, threads in SPEED:
            found = fresh(kind, data, work, cheap=False, shard_size=size, threads=threads)
            runs[kind, threads].append(found)
    rates = {kind: Summary.of([run["a second"] for run in found]) for kind, found in runs.items()}
    rows = [
        [
            kind,
            "1 each" if threads else "all, shared out",
            f"{rate.median:.1f} ({rate.low:.1f} to {rate.high:.1f})",
            f"{rate.median / rates['one process', threads].median:.2f}",
            f"{Summary.of([run['seconds'] for run in runs[kind, threads]]).median:.1f} s",
            f"{max(run['driver MiB'] for run in runs[kind, threads]):.0f}",
            f"{max(run['largest actor MiB'] for run in runs[kind, threads]):.0f}",
        ]
        for (kind, threads), rate in rates.items()
    ]
    head = ["", "threads", "questions a second, once running", "over one process", "with the start"]
    text = f"{counts[0]:,} real questions, shards of {size}, medians of {rounds} rounds.\n\n"
    return text + table([*head, "driver, MiB", "largest actor, MiB"], rows)


def memory(work: Path, counts: list[int], rounds: int) -> str:
    """Peak memory over the number of questions, with the cheap engine."""
    del rounds  # peaks don't scatter
    rows: dict[str, list[str]] = {kind: [kind] for kind in MEMORY}
    for count in counts:
        data = write_data(work / "memory.jsonl", count, short=True)
        for kind in MEMORY:
            found = fresh(kind, data, work, cheap=True, shard_size=1000)
            rows[kind].append(f"{found['driver MiB']:.0f} / {found['largest actor MiB']:.0f}")
    text = "Peak MiB of the driver / of the largest actor; shards of 1,000, texts of 60 characters.\n\n"
    return text + table(["", *(f"{count:,} questions" for count in counts)], list(rows.values()))


PARTS: dict[str, Callable[[Path, list[int], int], str]] = {"speed": speed, "memory": memory}


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
    machine = describe()
    with tempfile.TemporaryDirectory(prefix="komrc-batch-") as work:
        for name in [args.only] if args.only else PARTS:
            usual = {
                "speed": [80] if args.quick else [480],
                "memory": [2_000] if args.quick else list(SIZES),
            }
            counts = args.questions or usual[name]
            print(PARTS[name](Path(work), counts, 1 if args.quick else 3))
    told = ("date", "processor", "cores", "load before", "onnxruntime", "python")
    print("; ".join(f"{name}: {machine[name]}" for name in told))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
