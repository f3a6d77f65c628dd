"""The benchmarks of docs/results/benchmarks.md.

  python -m benchmarks                    everything: about 40 minutes on 2 cores
  python -m benchmarks --quick            every part but the slowest, small: about 3 minutes, nothing to quote
  python -m benchmarks --only throughput  one part (may be given several times); the others' figures stay

Peers (Haystack, the pipeline of transformers 4.57) are installed in an environment of their own from
benchmarks/peers.txt. Every contender runs in its own process, one at a time, in interleaved rounds after a
warm-up. Figures are medians with the lowest and highest round. Real questions come from
KorQuAD_v1.0_dev.json in the folder KOMRC_DATA, or ../shared/data/korquad; else from the bundled sample.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import gemm, report, workload
from benchmarks.machine import describe
from benchmarks.rounds import ROOT, Summary, interleaved, running, say
from komrc import load_squad
from komrc.config import WindowConfig
from komrc.models import hub
from komrc.tokenization import load_tokenizer
from komrc.types import ENGINES
from komrc.windows import build_windows

Figures = dict[str, Any]


@dataclass(frozen=True)
class Run:
    """How large, and where things lie."""

    quick: bool
    work: Path

    @property
    def rounds(self) -> int:
        return 2 if self.quick else 5

    @property
    def peers(self) -> Path | None:
        return workload.peers_python(self.work / "peers")


def script(name: str, *arguments: object) -> Figures:
    """The JSON that one of our modules prints as a process of its own."""
    command = [sys.executable, "-m", f"benchmarks.{name}", *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    found: Figures = json.loads(done.stdout.splitlines()[-1])
    return found


def contenders(run: Run, folder: Path, plain: Path, pairs: Path, engines: tuple[str, ...]) -> dict[str, Any]:
    """Commands by name; KoMRC reads ``folder``, the peers ``plain``."""
    commands: dict[str, Any] = {}
    python = run.peers
    if python is not None:
        for name in ("haystack", "pipeline"):
            commands[name] = [python, ROOT / "benchmarks/peers/worker.py", name, plain, pairs]
    for engine in engines:
        name = f"komrc {engine}"
        commands[name] = [sys.executable, "-m", "benchmarks.worker", engine, folder, pairs]
    return commands


def rates(found: dict[str, Summary], count: int) -> dict[str, dict[str, float]]:
    return {name: summary.per(count) for name, summary in found.items()}


def throughput(run: Run) -> Figures:
    """KoBERT's architecture, random weights, real tokenizer and questions: questions a second."""
    folder = workload.kobert(run.work / "kobert")
    count = 4 if run.quick else 24
    examples = workload.spread(workload.questions(), count)
    pairs = workload.write_pairs(examples, run.work / "kobert-pairs.json")
    windows = build_windows(examples, load_tokenizer(folder), WindowConfig(), labels=False)
    lengths = [int(n) for n in np.diff(windows.indptr)]
    every = tuple(name for name in ENGINES if name != "auto")
    engines = ("torch", "onnx", "onnx-int8") if run.quick else every
    speeds = [script("gemm")]
    with running(contenders(run, folder, folder, pairs, engines)) as workers:
        found = interleaved(workers, count, rounds=run.rounds, warm=min(count, 8))
        memory = {name: worker.memory() / 2**20 for name, worker in workers.items()}
    speeds.append(script("gemm"))  # the better of before and after
    best = {
        precision: {kind: max(s[precision][kind] for s in speeds) for kind in speeds[0][precision]}
        for precision in speeds[0]
    }
    limits = {
        precision: count / gemm.limit_seconds(gemm.KOBERT, lengths, speed)
        for precision, speed in best.items()
    }
    return {
        "questions": count,
        "windows": len(lengths),
        "tokens": sum(lengths),
        "questions a second": rates(found, count),
        "limit, questions a second": limits,
        "GFLOP/s": best,
        "memory MiB": memory,
    }


def embedded(run: Run) -> Figures:
    """The embedded model: questions a second, and milliseconds for one question on 500 characters."""
    plain = workload.plain_embedded(run.work / "embedded")
    engines = ("torch", "torch-bf16", "onnx-int8")
    count = 8 if run.quick else 96
    examples = workload.spread(workload.questions(), count)
    pairs = workload.write_pairs(examples, run.work / "embedded-pairs.json")
    with running(contenders(run, hub.embedded_model(), plain, pairs, engines)) as workers:
        found = interleaved(workers, count, rounds=run.rounds, warm=8)
        memory = {name: worker.memory() / 2**20 for name, worker in workers.items()}
    close = min(workload.questions(), key=lambda e: abs(len(e.context) - 500))
    one = workload.write_pairs([close], run.work / "one-pair.json")
    with running(contenders(run, hub.embedded_model(), plain, one, engines)) as workers:
        single = interleaved(workers, 1, rounds=5 if run.quick else 41, warm=1)
    return {
        "questions": count,
        "questions a second": rates(found, count),
        "memory MiB": memory,
        "characters": len(close.context),
        "one question, ms": {
            name: {key: 1000 * value for key, value in asdict(summary).items() if key != "rounds"}
            for name, summary in single.items()
        },
    }


def start(run: Run) -> Figures:
    """From an empty process to the first answer; size of what `pip install komrc[serve]` brings."""
    close = min(workload.questions(), key=lambda e: abs(len(e.context) - 500))
    one = workload.write_pairs([close], run.work / "one-pair.json")
    times = [script("first", one) for _ in range(run.rounds + 1)][1:]  # the first one fills the disk cache
    found: Figures = {
        key: {"median": float(np.median([t[key] for t in times])), "high": max(t[key] for t in times)}
        for key in ("import", "load", "first answer", "seconds", "memory MiB")
    }
    if not run.quick:
        found["installed MB"] = installed(run.work / "serve-only")
    return found


def installed(folder: Path) -> dict[str, float] | None:
    """MB of a fresh environment with `komrc[serve]`, without pip: what the packages hold, and the bytecode
    that pip compiles beside it; None where it can't be made."""
    try:
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        pip = [folder / "bin/python", "-m", "pip"]
        subprocess.run([*pip, "install", "--quiet", f"{ROOT}[serve]"], check=True, stdout=sys.stderr)
        subprocess.run(
            [*pip, "uninstall", "--quiet", "--yes", "pip", "setuptools"],
            check=True,
            stderr=subprocess.DEVNULL,
        )
    except (OSError, subprocess.CalledProcessError) as error:
        say(f"size not measured: {error}")
        return None
    sizes = {"packages": 0.0, "bytecode": 0.0}
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            sizes["bytecode" if path.suffix == ".pyc" else "packages"] += path.stat().st_size / 1e6
    return sizes


def parts(run: Run) -> Figures:
    """Features, decoding and metric."""
    return script("parts", run.rounds, 20 if run.quick else 1)


def growth(run: Run) -> Figures:
    """Cost over the number of questions and the length of the context."""
    return script("growth", *((10, 5_000) if run.quick else (10_000, 200_000)))


def quantization(run: Run) -> Figures:
    """Accuracy and speed of several ways to quantize, on the embedded model's weights."""
    shared = workload.SHARED / "models/komrc-small-v0"
    source = shared if shared.is_dir() else hub.embedded_model()
    return script("quantization", source, run.work / "quantization", 16 if run.quick else 385)


def training_data() -> Path:
    data = workload.SHARED / "data/korquad/KorQuAD_v1.0_prerelease-2018-09.json"
    return data if data.is_file() else hub.sample_data("train")


def training(run: Run) -> Figures:
    """Real tokens a second against the recipe of 2020, KoBERT's architecture."""
    folder, data = workload.kobert(run.work / "kobert"), training_data()
    steps, rounds = (1, 2) if run.quick else (3, 5)
    speeds: dict[str, list[float]] = {}
    commands = {
        name: [sys.executable, "-m", "benchmarks.training_worker", name, folder, data, run.work]
        for name in ("2020", "komrc")
    }
    peak = script("gemm")
    with running(commands) as workers:
        for number in range(rounds + 1):
            for name, worker in workers.items():
                reply = worker.order(steps)
                if number:  # the first round warms up
                    speeds.setdefault(name, []).append(reply["tokens"] / reply["seconds"])
            say(f"training round {number} of {rounds}")
    middle = gemm.KOBERT.products(300)
    flop = 3 * sum(middle.values()) / 300  # a token, forward and backward
    seconds = sum(value / peak["bf16"][kind] / 1e9 for kind, value in middle.items()) * 3 / 300
    return {
        "real tokens a second": {name: asdict(Summary.of(values)) for name, values in speeds.items()},
        "share of the GEMM limit (bf16)": float(np.median(speeds["komrc"])) * seconds,
        "GFLOP/s": float(np.median(speeds["komrc"])) * flop / 1e9,
    }


H100 = 989e12  # FLOP/s in bf16, dense, as its data sheet says
KORQUAD = (60_407, 3)  # questions of KorQuAD v1.0's training set, epochs


def gpu(run: Run) -> Figures:
    """Training on a GPU, KoBERT's architecture at 512 tokens."""
    import torch

    if not torch.cuda.is_available():
        return {"not run": "no GPU at hand"}
    folder, data = workload.kobert(run.work / "kobert"), training_data()
    examples = load_squad(data)
    windows = build_windows(examples, load_tokenizer(folder), WindowConfig(512, 128, 64), labels=False)
    command = [sys.executable, "-m", "benchmarks.training_worker", "gpu", folder, data, run.work]
    speeds = []
    with running({"gpu": command}) as workers:
        for _ in range(run.rounds + 1):
            reply = workers["gpu"].order(3 if run.quick else 30)
            speeds.append(reply["tokens"] / reply["seconds"])
    rate = Summary.of(speeds[1:])  # the first round warms up
    length = int(windows.indptr[-1]) / len(windows)
    flop = 3 * sum(gemm.KOBERT.products(round(length)).values()) / length  # a token, forward and backward
    questions, epochs = KORQUAD
    return {
        "device": torch.cuda.get_device_name(),
        "real tokens a second": asdict(rate),
        "share of 989 TFLOP/s": rate.median * flop / H100,
        "minutes for KorQuAD": questions
        * epochs
        * int(windows.indptr[-1])
        / len(examples)
        / rate.median
        / 60,
    }


PARTS: dict[str, Callable[[Run], Figures]] = {
    "throughput": throughput,
    "embedded": embedded,
    "start": start,
    "parts": parts,
    "growth": growth,
    "training": training,
    "gpu": gpu,
    "quantization": quantization,
}
SLOW = ("training", "quantization")  # left out of --quick


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="small: shows that everything works")
    parser.add_argument("--only", action="append", choices=PARTS, help="this part (repeatable)")
    parser.add_argument("--work", type=Path, default=ROOT / "work/bench", help="for environments and models")
    parser.add_argument(
        "--output", type=Path, help="folder of the report (default: docs/results, or the work folder)"
    )
    args = parser.parse_args()
    run = Run(args.quick, args.work.resolve())
    run.work.mkdir(parents=True, exist_ok=True)
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
    output = args.output or (run.work / "quick" if args.quick else ROOT / "docs/results")
    figures = report.read(output)
    names = args.only or [name for name in PARTS if not (args.quick and name in SLOW)]
    for name in names:
        say(f"== {name}: {PARTS[name].__doc__}")
        began = time.perf_counter()
        machine = describe()
        figures[name] = {**PARTS[name](run), "machine": machine, "took": time.perf_counter() - began}
        report.write(figures, output)  # after each part: a long run may be cut short
    print(report.tables(figures))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
