"""Interleaved rounds: every contender once a round, one at a time, each in a process of its own."""

from __future__ import annotations

import contextlib
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.machine import peak_memory

ROOT = Path(__file__).resolve().parents[1]
_SETTLE = 0.3  # seconds between two runs, for threads that spin after their work


@dataclass(frozen=True)
class Summary:
    """Seconds over the rounds."""

    median: float
    low: float
    high: float
    rounds: int

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Summary:
        return cls(statistics.median(seconds), min(seconds), max(seconds), len(seconds))

    def per(self, count: float) -> dict[str, float]:
        """As a rate: ``count`` things in these seconds."""
        return {"median": count / self.median, "low": count / self.high, "high": count / self.low}


class Worker:
    """A process that does its work each time it is told a number."""

    def __init__(self, command: Sequence[str | Path]) -> None:
        self.process = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=sys.stderr,
            cwd=ROOT,
            text=True,
        )
        self._reply()

    def seconds(self, count: int) -> float:
        return float(self.order(count)["seconds"])

    def order(self, count: int) -> dict[str, Any]:
        """What the process says about doing ``count`` things: ``seconds``, ``answers`` and more."""
        assert self.process.stdin is not None
        time.sleep(_SETTLE)
        self.process.stdin.write(f"{count}\n")
        self.process.stdin.flush()
        reply = self._reply()
        if reply["answers"] != count:
            raise SystemExit(f"{self.process.args}: {reply['answers']} answers to {count} questions")
        return reply

    def memory(self) -> int:
        """Peak resident bytes."""
        return peak_memory(self.process.pid)

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()

    def _reply(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with contextlib.suppress(ValueError):  # a peer's library may print, too
                reply = json.loads(line)
                if isinstance(reply, dict):
                    return reply
        raise SystemExit(f"{self.process.args} ended with exit code {self.process.wait()}")


@contextlib.contextmanager
def running(commands: Mapping[str, Sequence[str | Path]]) -> Iterator[dict[str, Worker]]:
    workers: dict[str, Worker] = {}
    try:
        for name, command in commands.items():
            say(f"starting {name}")
            workers[name] = Worker(command)
        yield workers
    finally:
        for worker in workers.values():
            worker.close()


def interleaved(workers: Mapping[str, Worker], count: int, *, rounds: int, warm: int) -> dict[str, Summary]:
    """Seconds for ``count`` questions, after a warm-up of ``warm`` questions each."""
    for worker in workers.values():
        worker.seconds(warm)
    seconds: dict[str, list[float]] = {name: [] for name in workers}
    for number in range(rounds):
        for name, worker in workers.items():
            seconds[name].append(worker.seconds(count))
        shown = ", ".join(f"{name} {values[-1]:.2f} s" for name, values in seconds.items())
        say(f"round {number + 1} of {rounds}: {shown}")
    return {name: Summary.of(values) for name, values in seconds.items()}


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
