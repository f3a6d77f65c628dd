"""Coverage-guided fuzzing of everything that reads foreign bytes; ``make fuzz`` installs atheris and runs it.

python tests/reliability/fuzz.py                            400 s of processor time for each target
python tests/reliability/fuzz.py squad --seconds 60         one target, shorter

Prints one line of JSON a target. Inputs that raise anything but errors of komrc.errors, or take over 5 s, are
kept in --findings, one for each place in the source.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import logging
import os
import re
import resource
import sys
import tempfile
import time
import traceback
from pathlib import Path
from random import Random
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # tests/, for its support package

from support.faults import in_child

MEMORY = 2048  # MiB
# Code instrumented by atheris 3.0.0 never frees the arrays that comparisons make: 20 to 90 KB an input, where
# the plain target is flat. So a target runs in several processes, one after another, over one corpus.
SPELL = 50.0  # seconds of processor time
SUMS = ("inputs", "processor seconds")
PEAKS = ("slowest, s", "peak memory of the process, MiB")
LONGEST_INPUT = 20_000  # bytes


def place(error: BaseException) -> str:
    """Where an error comes from: its kind, and the innermost lines of ours."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if "/komrc/" in f.filename]
    frames = frames or traceback.extract_tb(error.__traceback__)
    lines = [f"{Path(frame.filename).name}:{frame.lineno}" for frame in frames[-2:]]
    return f"{type(error).__name__} at {' < '.join(reversed(lines))}"


def fuzz(name: str, seconds: float, seed: int, corpus: Path, findings: Path, report: Path) -> None:
    """Fuzz one target for so much processor time, write the report and end this process."""
    import atheris

    with atheris.instrument_imports(include=["komrc", "support.hostile"]):
        from support import hostile

        target, valid = hostile.TARGETS[name]
        target(valid())  # imports the rest, under the instrumentation
    logging.disable(logging.CRITICAL)
    draw = Random(f"fuzz {name} {seed}")
    for number in range(20):  # beside what former spells found
        (corpus / f"seed-{seed}-{number}").write_bytes(hostile.mutated(valid(), draw) if number else valid())
    failures: dict[str, str] = {}
    begin, slowest, count = time.process_time(), 0.0, 0

    def one(data: bytes) -> None:
        nonlocal slowest, count
        if (used := time.process_time() - begin) >= seconds:
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
            values = {
                "inputs": count, "processor seconds": round(used), "slowest, s": round(slowest, 2),
                "peak memory of the process, MiB": peak, "failures": failures,
            }  # fmt: skip
            report.write_text(json.dumps(values, ensure_ascii=False), encoding="utf-8")
            os._exit(0)
        took, raised = hostile.attempt(target, data)
        slowest, count = max(slowest, took), count + 1
        if raised is not None and (where := place(raised)) not in failures:
            failures[where] = f"{raised!r:.300}"
            (findings / f"{name}-{seed}-{len(failures)}").write_bytes(data)

    def mutator(data: bytes, longest: int, number: int) -> bytes:
        if number % 2:
            return bytes(atheris.Mutate(data, longest))
        return hostile.mutated(data, Random(number))[:longest]

    # Time is measured here, in processor seconds: the machine may be busy, or stop this process for a while.
    options = [
        "-timeout=1000000",
        f"-rss_limit_mb={MEMORY}",
        f"-max_len={LONGEST_INPUT}",
        f"-seed={seed + 1}",
    ]
    options.append(f"-artifact_prefix={findings}/{name}-")
    atheris.Setup([sys.argv[0], *options, str(corpus)], one, custom_mutator=mutator)
    atheris.Fuzz()


def spell(name: str, seconds: float, seed: int, corpus: Path, findings: Path) -> tuple[Any, list[int]]:
    """One process over a corpus: its report and the edges covered.

    A process that never ends or takes too much memory is a failure, too.
    """
    with tempfile.TemporaryDirectory(prefix="komrc-fuzz-") as folder:
        report, log = Path(folder) / "report", Path(folder) / "log"

        def child() -> None:
            with log.open("w") as file:
                for descriptor in (1, 2):
                    os.dup2(file.fileno(), descriptor)
            fuzz(name, seconds, seed, corpus, findings, report)

        ended = in_child(child, cpu_seconds=int(seconds) + 60)
        said = log.read_text(encoding="utf-8", errors="replace")
        covered = [int(edges) for edges in re.findall(r"cov: (\d+)", said)]
        if not report.exists():
            return {"failures": {f"ended with {ended.code}": said[-2000:]}}, covered
        return json.loads(report.read_text(encoding="utf-8")), covered


def run(name: str, seconds: float, seed: int, findings: Path) -> dict[str, Any]:
    """One target, in spells that go on from what the former ones found."""
    total: dict[str, Any] = dict.fromkeys([*SUMS, *PEAKS], 0)
    failures: dict[str, str] = {}
    edges: list[int] = []
    spells = max(1, round(seconds / SPELL))
    with tempfile.TemporaryDirectory(prefix="komrc-fuzz-") as folder:
        for number in range(spells):
            report, covered = spell(name, seconds / spells, spells * seed + number, Path(folder), findings)
            edges += covered
            failures |= report["failures"]
            total |= {key: total[key] + report.get(key, 0) for key in SUMS}
            total |= {key: max(total[key], report.get(key, 0)) for key in PEAKS}
    covered_edges = {"first": edges[0], "last": edges[-1]} if edges else None
    return {"target": name, "covered edges": covered_edges, **total, "failures": failures}


def targets() -> list[str]:
    """Every target's name; imports what is to be instrumented, so only in a child."""
    from support import hostile

    return list(hostile.TARGETS)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("target", nargs="*", help="one or more; all without one")
    parser.add_argument("--seconds", type=float, default=400, help="of processor time, for each target")
    parser.add_argument("--seed", type=int, default=0, help="another seed goes other ways")
    parser.add_argument("--findings", type=Path, default=Path("fuzz-findings"), help="folder")
    args = parser.parse_args()
    if importlib.util.find_spec("atheris") is None:
        print(
            "atheris is not here: pip install -c constraints.txt atheris",
            file=sys.stderr,
        )
        return 3
    args.findings.mkdir(parents=True, exist_ok=True)
    failed = False
    for name in args.target or in_child(targets).value:
        result = run(name, args.seconds, args.seed, args.findings)
        failed |= bool(result["failures"])
        print(json.dumps(result, ensure_ascii=False), flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
