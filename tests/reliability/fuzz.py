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

from faults import in_child

MEMORY = 2048  # MiB
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

    with atheris.instrument_imports(include=["komrc", "hostile"]):
        import hostile

        target, valid = hostile.TARGETS[name]
        target(valid())  # imports the rest, under the instrumentation
    logging.disable(logging.CRITICAL)
    draw = Random(f"fuzz {name} {seed}")
    for number in range(20):
        (corpus / f"seed-{number}").write_bytes(hostile.mutated(valid(), draw) if number else valid())
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


def run(name: str, seconds: float, seed: int, findings: Path) -> dict[str, Any]:
    """One target in a process of its own; one that never ends or takes too much memory is a failure, too."""
    with tempfile.TemporaryDirectory(prefix="komrc-fuzz-") as folder:
        corpus, report, log = (Path(folder) / part for part in ("corpus", "report", "log"))
        corpus.mkdir()

        def child() -> None:
            with log.open("w") as file:
                for descriptor in (1, 2):
                    os.dup2(file.fileno(), descriptor)
            fuzz(name, seconds, seed, corpus, findings, report)

        ended = in_child(child, cpu_seconds=int(seconds) + 60)
        said = log.read_text(encoding="utf-8", errors="replace")
        covered = re.findall(r"cov: (\d+)", said)
        if not report.exists():
            result: dict[str, Any] = {"failures": {f"ended with {ended.code}": said[-2000:]}}
        else:
            result = json.loads(report.read_text(encoding="utf-8"))
        edges = {"first": int(covered[0]), "last": int(covered[-1])} if covered else None
        return {"target": name, "covered edges": edges, **result}


def targets() -> list[str]:
    """Every target's name; imports what is to be instrumented, so only in a child."""
    import hostile

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
