"""The long forms of the tests in this folder; ``make torture`` runs them and prints what they found.

python tests/reliability/torture.py                       every part, as in docs/results/reliability.md
python tests/reliability/torture.py kills --points 50 --seed 1    one part, shorter, at other moments
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # tests/, for its support package

from support import hostile, tiny_run
from support.faults import Ended, cut_power, in_child, kill_points
from support.resuming import CASES, differences, killed, whole

from komrc import storage
from komrc.errors import KomrcError, StorageError
from komrc.training import checkpoints, outputs

Result = dict[str, Any]
LONG = {"num_train_epochs": 4, "save_total_limit": 2, "eval_steps": 3}


def noted(made: Path, out: Path, notes: Path) -> Any:
    """A run that notes every checkpoint once it is written."""
    true_write = checkpoints.write

    def write(folder: Path, step: int, fill: Any) -> Path:
        path = true_write(folder, step, fill)
        with notes.open("a") as file:
            file.write(f"{step}\n")
        return path

    checkpoints.write = write
    return whole(made, out, **LONG)


def intact(out: Path, notes: Path) -> str | None:
    """What is wrong with an output folder after a kill; None where nothing is.

    A checkpoint under its own name passes, no step that was saved is lost, and after what the next run does
    first the folder is in order.
    """
    for path in out.glob("checkpoint-*"):
        if problems := storage.verify_folder(path):
            return f"{path.name}: {problems[0]}"
    newest = checkpoints.newest(out)
    saved = [int(line) for line in notes.read_text().split()] if notes.exists() else []
    if saved and (newest is None or newest.step < saved[-1]):
        return f"checkpoint {saved[-1]} was written and is gone"
    for name in ("predictions_.json", "nbest_predictions_.json", "eval_results.json"):
        if (out / name).exists():
            try:
                json.loads((out / name).read_text())
            except ValueError:
                return f"{name} is torn"
    outputs.finish_final(out)
    checkpoints.clean(out)
    if left := [p.name for p in out.iterdir() if p.name.startswith((".tmp", ".old", ".komrc-final"))]:
        return f"left over: {left}"
    if (out / storage.MANIFEST).exists() and (problems := storage.verify_folder(out)):
        return f"the model: {problems[0]}"
    return None


def finish(made: Path, out: Path, reference: Path) -> str | None:
    """Resume a killed run to its end; what differs from one that was never killed."""
    ended = in_child(lambda: whole(made, out, resume=True, **LONG))
    if ended.error is not None:
        return f"resume failed: {ended.error}"
    differ = differences(reference, out)
    return f"differ: {differ}" if differ else None


def kills(work: Path, points: int, seed: int) -> Result:
    """kill -9: half at writes, fsyncs, renames by fault injection, every second with a power cut; half at
    random moments. Every tenth is resumed and compared bit for bit."""
    made = tiny_run.material(work / "made")
    reference, out, log, notes = work / "reference", work / "out", work / "log", work / "notes"
    begin = time.monotonic()
    assert in_child(lambda: whole(made, reference, **LONG)).error is None
    seconds = time.monotonic() - begin
    failures, kinds, resumed = [], Counter[str](), 0

    def prepare() -> Path:
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()
        notes.unlink(missing_ok=True)
        return out

    def spread(count: int) -> Iterator[int]:
        chosen = min(points - points // 2, count)
        shift = seed * 0.618 % 1  # another seed has its points in between
        yield from sorted({1 + int((i + shift) * count / chosen) for i in range(chosen)})

    def run() -> Any:
        return noted(made, out, notes)

    def judge(number: int, name: str) -> None:
        nonlocal resumed
        wrong = intact(out, notes)
        if wrong is None and number % 10 == 0:
            resumed += 1
            wrong = finish(made, out, reference)
        if wrong:
            failures.append(f"{name}: {wrong}")

    for number, (_, _, name) in enumerate(kill_points(run, prepare, log, spread)):
        kinds[name.split()[0]] += 1
        if number % 2:
            cut_power(out, log)
        judge(number, name)
    draw = Random(f"kills {seed}")
    number = 0
    while number < points // 2:
        prepare()
        child = os.fork()
        if child == 0:
            with contextlib.suppress(BaseException):
                signal.setitimer(signal.ITIMER_REAL, 0)
                import torch

                torch.set_num_threads(1)
                run()
            os._exit(0)
        time.sleep(draw.random() * seconds)
        os.kill(child, signal.SIGKILL)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if code == 0:  # it had ended before: the first run took longer, or the machine was busier
            seconds *= 0.8
            continue
        kinds["random moment"] += 1
        judge(number, "random moment")
        number += 1
    return {"kills": sum(kinds.values()), "where": dict(kinds), "resumed": resumed, "failures": failures}


def damage(work: Path, points: int, seed: int) -> Result:
    """Byte flips, truncations and each file deleted, in a checkpoint, a model and a cache."""
    made = tiny_run.material(work / "made")
    out = work / "out"
    assert in_child(lambda: whole(made, out, **LONG)).error is None
    newest = checkpoints.newest(out)
    (cache,) = (made / "cache/features").iterdir()
    assert newest is not None
    draw, counts, missed = Random(f"damage {seed}"), Counter[str](), []
    folders = [newest.folder, out, cache]

    def tried(kind: str, folder: Path, file: Path) -> None:
        counts[kind] += 1
        if not storage.verify_folder(folder):
            missed.append(f"{kind} in {file}")

    def listed(folder: Path) -> list[Path]:
        names = json.loads((folder / storage.MANIFEST).read_text())["files"]
        return [folder / storage.MANIFEST, *(folder / name for name in names)]

    for number in range(points):
        folder = folders[number % 3]
        file = draw.choice([file for file in listed(folder) if file.stat().st_size])
        data = file.read_bytes()
        flipped = bytearray(data)
        flipped[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
        file.write_bytes(flipped)
        tried("flips", folder, file)
        if number % 4 == 0:
            file.write_bytes(data[: draw.randrange(len(data))])
            tried("truncations", folder, file)
        file.write_bytes(data)
    for folder in folders:
        for file in listed(folder):
            data = file.read_bytes()
            file.unlink()
            tried("deletions", folder, file)
            file.write_bytes(data)
        assert storage.verify_folder(folder) == []
    return {**counts, "failures": missed}


def disk(work: Path, points: int, seed: int) -> Result:
    """A disk that is full at some byte of a run that goes on: by RLIMIT_FSIZE, and by a small tmpfs."""
    made = tiny_run.material(work / "made")
    begun = work / "begun"
    assert in_child(lambda: whole(made, begun, predict_file=None)).error is None
    more = {"predict_file": None, "resume": True, "resume_anyway": True, "num_train_epochs": 4}
    before = {p.relative_to(begun): p.read_bytes() for p in begun.glob("checkpoint-*/*")}
    counts, failures = Counter[str](), []

    def judge(how: str, out: Path, ended: Ended, size: int) -> None:
        counts[how] += 1
        if not isinstance(ended.error, StorageError) or ended.error.exit_code != 6:
            failures.append(f"{how} {size}: {ended}")
        elif any((out / name).read_bytes() != data for name, data in before.items() if (out / name).exists()):
            failures.append(f"{how} {size}: a checkpoint changed")
        elif checkpoints.newest(out) is None:
            failures.append(f"{how} {size}: no checkpoint is left")

    shift = seed * 0.618 % 1  # another seed has its sizes in between
    largest = max(len(data) for data in before.values())
    for number in range(points - points // 2):
        out, size = work / "limited", int((number + shift) * largest / (points - points // 2))
        shutil.rmtree(out, ignore_errors=True)
        shutil.copytree(begun, out)

        def limited(out: Path = out, size: int = size) -> Any:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
            return whole(made, out, **more)

        judge("RLIMIT_FSIZE", out, in_child(limited), size)
    used = sum(p.stat().st_size for p in begun.rglob("*") if p.is_file())
    one = sum(len(data) for name, data in before.items() if name.parts[0] == "checkpoint-6")
    for number in range(points // 2):
        size = used + 200_000 + int((number + shift) * one / (points // 2))
        mount = work / "small"
        mount.mkdir(exist_ok=True)
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(mount)]
        if subprocess.run(command, capture_output=True, check=False).returncode:
            counts["tmpfs: not allowed here"] += 1
            break
        try:
            out = mount / "out"
            shutil.copytree(begun, out)
            # The check for free space before a run would refuse it; here the disk fills up later.
            judge("tmpfs", out, in_child(lambda out=out: _unchecked(made, out, more)), size)
        finally:
            subprocess.run(["umount", str(mount)], check=True)
    return {**counts, "failures": failures}


def _unchecked(made: Path, out: Path, more: dict[str, Any]) -> Any:
    from komrc.training import preflight

    preflight.check_room = lambda *_, **__: 1 << 40  # type: ignore[assignment]
    return whole(made, out, **more)


def signals(work: Path, points: int, seed: int) -> Result:
    """SIGTERM and Ctrl-C at random moments; every fifth time a second one 5 ms later."""
    made = tiny_run.material(work / "made")
    out, draw = work / "out", Random(f"signals {seed}")
    long = {"num_train_epochs": 400, "save_steps": -1, "predict_file": None}
    failures: list[str] = []
    waits: list[float] = []
    codes = Counter[int]()
    for number in range(points):
        shutil.rmtree(out, ignore_errors=True)
        kind, twice = (signal.SIGTERM, signal.SIGINT)[number % 2], number % 5 == 4
        child = os.fork()
        if child == 0:
            code = 70
            with contextlib.suppress(BaseException):
                import torch

                torch.set_num_threads(1)
                code = whole(made, out, **long).exit_code
            os._exit(code)
        deadline = time.monotonic() + 60
        while not list(out.glob("runs/*/events*")) and time.monotonic() < deadline:
            time.sleep(0.02)  # training has begun
        time.sleep(0.1 + draw.random())
        begin = time.monotonic()
        os.kill(child, kind)
        if twice:
            time.sleep(0.005)
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, kind)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        wait = time.monotonic() - begin
        codes[code] += 1
        waits.append(wait)
        newest = checkpoints.newest(out)
        if code != 128 + kind:
            failures.append(f"{kind.name}: exit code {code}")
        elif wait > 5:
            failures.append(f"{kind.name}: {wait:.1f} s")
        elif not twice and newest is None:
            failures.append(f"{kind.name}: no checkpoint")
    waits.sort()
    return {
        "signals": points,
        "exit codes": dict(codes),
        "seconds to the end": {"median": round(waits[len(waits) // 2], 2), "longest": round(waits[-1], 2)},
        "failures": failures,
    }


def resume(work: Path, points: int, seed: int) -> Result:
    """Every case killed at moments spread over its micro-batches, resumed and compared bit for bit."""
    made = tiny_run.material(work / "made")
    failures, count = [], 0
    for case, options in CASES.items():
        shutil.rmtree(work / "whole", ignore_errors=True)
        assert in_child(lambda options=options: whole(made, work / "whole", **options)).error is None
        for kill_at in sorted({i * 12 // max(1, points) for i in range(min(points, 12))}):
            cut = work / "cut"
            shutil.rmtree(cut, ignore_errors=True)
            code = in_child(lambda o=options, k=kill_at: killed(made, work / "cut", k, **o)).code
            if code != -signal.SIGKILL:
                continue  # the case has fewer micro-batches
            count += 1
            ended = in_child(lambda options=options: whole(made, work / "cut", resume=True, **options))
            differ = [repr(ended.error)] if ended.error else differences(work / "whole", cut)
            if differ:
                failures.append(f"{case} at {kill_at}: {differ}")
    return {"cases": len(CASES), "kills": count, "failures": failures}


def pairs(work: Path, points: int, seed: int) -> Result:
    """Generated texts: each answer stands in its context, and is the same alone and in a batch of 32."""
    generated, failures, answers = hostile.pairs(4 + seed), [], 0
    for _ in range(-(-points // 32)):
        some = list(islice(generated, 32))
        for (question, context), together in zip(
            some, hostile.reader().read_many(some, top_k=2), strict=True
        ):
            try:
                hostile.check_answers(context, together)
                hostile.check_same(hostile.reader().read(question, context, top_k=2), together)
            except (AssertionError, KomrcError) as error:
                failures.append(f"{error!r:.300} on {(question, context)!r:.600}")
            answers += len(together)
    return {"pairs": -(-points // 32) * 32, "answers": answers, "failures": failures}


def mutations(work: Path, points: int, seed: int) -> Result:
    """Damaged inputs for everything that reads foreign bytes; each has 5 seconds of processor time."""
    failures, slowest = [], 0.0
    for name, (target, valid) in hostile.TARGETS.items():
        draw = Random(f"{seed} {name}")
        target(valid())  # imports what it needs
        for _ in range(points):
            data = hostile.mutated(valid(), draw)
            seconds, raised = hostile.attempt(target, data)
            slowest = max(slowest, seconds)
            if raised is not None:
                failures.append(f"{name}: {raised!r} on {data[:200]!r}"[:600])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return {
        "inputs": points * len(hostile.TARGETS),
        "slowest, s": round(slowest, 2),
        "peak memory of the process, MiB": peak,
        "failures": failures,
    }


# Part -> what it does, and how many points docs/results/reliability.md has of it.
PARTS: dict[str, tuple[Callable[[Path, int, int], Result], int]] = {
    "kills": (kills, 200),
    "damage": (damage, 200),
    "disk": (disk, 20),
    "signals": (signals, 50),
    "resume": (resume, 12),
    "pairs": (pairs, 100_000),
    "mutations": (mutations, 5_000),
}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("part", nargs="*", help=f"of {', '.join(PARTS)}; all without one")
    parser.add_argument("--points", type=int, help="how many, instead of each part's own number")
    parser.add_argument("--seed", type=int, default=0, help="another seed, other moments and texts")
    args = parser.parse_args()
    if unknown := set(args.part) - set(PARTS):
        parser.error(f"no part is called {', '.join(sorted(unknown))}")
    logging.disable(logging.WARNING)
    failed = False
    for name in args.part or PARTS:
        run, points = PARTS[name]
        begin = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="komrc-torture-") as work:
            result = run(Path(work), args.points or points, args.seed)
        failed |= bool(result["failures"])
        result["minutes"] = round((time.monotonic() - begin) / 60, 1)
        print(json.dumps({name: result}, ensure_ascii=False), flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
