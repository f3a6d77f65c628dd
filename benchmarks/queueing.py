"""How many replicas a load needs: questions that come when they like, replicas that read window by window.

python -m benchmarks.queueing            how busy replicas may be; in reading times, so for any machine
python -m benchmarks.queueing --check    the simulation beside this machine's own server: about 6 minutes, on
                                         a machine that does nothing else (--quick: shows that it works)

A question comes at a random moment (a Poisson process) and goes to a replica: to the one with the fewest
open requests, as nginx does with least_conn, or to one drawn by lot, as with a Kubernetes Service. The
replica reads the windows of its open questions in turn, as many at once as fit into --max-batch-tokens. A
window takes as long as it has tokens; the windows are those of KorQuAD v1.0 dev with the embedded model's
tokens.
"""

from __future__ import annotations

import argparse
import asyncio
import heapq
import json
import sys
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from benchmarks.report import table
from benchmarks.rounds import say

Policy = Literal["least", "lot"]
Seconds = NDArray[np.float64]
BATCH_TOKENS = 512  # the server's default


@dataclass(frozen=True)
class Work:
    """What questions take. Entry n of each list is the same question.

    tokens: of each of its windows.
    seconds: the engine's time for each of its windows (any unit will do, if it is the same everywhere).
    beside: the rest of the answer's time, which holds nobody up.
    """

    tokens: list[list[int]]
    seconds: list[list[float]]
    beside: list[float]

    @cached_property
    def alone(self) -> Seconds:
        """Each question's time where no other is there."""
        return np.array([sum(one) for one in self.seconds]) + np.array(self.beside)

    @cached_property
    def mean(self) -> float:
        """Mean reading time; a replica can't answer more than 1 / mean."""
        return float(np.mean([sum(one) for one in self.seconds]))


class Replica:
    """Open questions in the order of their turns, and when what is being read is done."""

    def __init__(self, work: Work) -> None:
        self.work = work
        self.open = 0
        self.waiting: deque[list[int]] = deque()  # number of the arrival, of the question, of its next window
        self.running: list[list[int]] = []

    def start(self) -> float:
        """Take the next batch; returns its time."""
        room, seconds, last = BATCH_TOKENS, 0.0, len(self.waiting)
        while last and (not self.running or self.work.tokens[self.waiting[0][1]][self.waiting[0][2]] <= room):
            job = self.waiting.popleft()
            room -= self.work.tokens[job[1]][job[2]]
            seconds += self.work.seconds[job[1]][job[2]]
            job[2] += 1
            self.running.append(job)
            last -= 1
        return seconds

    def finish(self) -> list[tuple[int, int]]:
        """The batch is done: arrivals and questions that are read to their ends; the others wait again."""
        done = []
        for job in self.running:
            if job[2] == len(self.work.tokens[job[1]]):
                done.append((job[0], job[1]))
            else:
                self.waiting.append(job)
        self.running = []
        self.open -= len(done)
        return done


def simulate(
    work: Work, *, rate: float, replicas: int, policy: Policy = "least", count: int = 50_000, seed: int = 0
) -> tuple[Seconds, float]:
    """Answer times of ``count`` questions that come at ``rate``, and the mean number open on a replica.

    The first tenth, which finds empty replicas, is left out of both.
    """
    rng = np.random.default_rng(seed)
    arrivals = np.cumsum(rng.exponential(1 / rate, count)).tolist()
    questions = rng.integers(len(work.tokens), size=count).tolist()
    lot = rng.integers(replicas, size=count).tolist()
    opened = np.zeros(replicas, np.int64)
    all_replicas = [Replica(work) for _ in range(replicas)]
    batches: list[tuple[float, int]] = []  # when each running batch ends, and on which replica
    answered = np.empty(count)

    def settle(until: float) -> None:
        while batches and batches[0][0] <= until:
            now, number = heapq.heappop(batches)
            replica = all_replicas[number]
            for arrival, question in replica.finish():
                answered[arrival] = now + work.beside[question] - arrivals[arrival]
            opened[number] = replica.open
            if replica.waiting:
                heapq.heappush(batches, (now + replica.start(), number))

    for n, now in enumerate(arrivals):
        settle(now)
        number = int(opened.argmin()) if policy == "least" else lot[n]
        replica = all_replicas[number]
        replica.waiting.append([n, questions[n], 0])
        replica.open += 1
        opened[number] += 1
        if not replica.running:
            heapq.heappush(batches, (now + replica.start(), number))
    settle(float("inf"))
    steady = answered[count // 10 :]
    return steady, float(steady.mean()) * rate / replicas  # Little's law


def most_busy(work: Work, *, replicas: int, within: float, policy: Policy, count: int = 50_000) -> float:
    """The largest share of their capacity at which 99 of 100 questions are answered within ``within``."""
    low, high = 0.01, 1.0
    while high - low > 0.01:
        share = (low + high) / 2
        rate = share * replicas / work.mean
        times, _ = simulate(work, rate=rate, replicas=replicas, policy=policy, count=count)
        low, high = (share, high) if np.quantile(times, 0.99) <= within else (low, share)
    return low


def needed(
    work: Work, *, rate: float, within: float, policy: Policy = "least", count: int = 50_000
) -> int | None:
    """The fewest replicas that answer 99 of 100 questions within ``within``; None where no number does."""
    if np.quantile(work.alone, 0.99) > within:
        return None
    largest = 200  # beyond, a replica may be as busy as with so many: a little less than it really may
    if rate * work.mean > largest:
        share = most_busy(work, replicas=largest, within=within, policy=policy, count=count)
        return int(np.ceil(rate * work.mean / share))

    def enough(replicas: int) -> bool:
        if rate * work.mean >= replicas:
            return False
        times, _ = simulate(work, rate=rate, replicas=replicas, policy=policy, count=count)
        return bool(np.quantile(times, 0.99) <= within)

    low, high = 0, max(1, int(np.ceil(rate * work.mean)))
    while not enough(high):
        low, high = high, high + max(1, high // 4)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def korquad_work(*, mean: float = 1.0, beside: float = 0.0) -> Work:
    """The questions of KorQuAD v1.0 dev: a mean reading time shared out by the windows' tokens."""
    from benchmarks.workload import questions
    from komrc.config import WindowConfig
    from komrc.models import hub
    from komrc.tokenization import load_tokenizer
    from komrc.windows import build_windows

    examples = questions()
    tokenizer = load_tokenizer(hub.embedded_model())
    windows = build_windows(examples, tokenizer, WindowConfig(384, 128, 64), labels=False)
    tokens: list[list[int]] = [[] for _ in examples]
    for example, length in zip(windows.example.tolist(), windows.lengths.tolist(), strict=True):
        tokens[example].append(length)
    unit = mean * len(examples) / float(windows.lengths.sum())
    return Work(tokens, [[unit * length for length in one] for one in tokens], [beside] * len(examples))


def shares(count: int) -> str:
    """The table of docs/results/scale.md that holds for any machine."""
    work = korquad_work()
    say(
        f"{len(work.tokens)} questions; reading times: mean 1, standard deviation {work.alone.std():.2f}, "
        f"99 of 100 within {np.quantile(work.alone, 0.99):.2f}"
    )
    head, rows = ["replicas"], []
    for replicas in (1, 2, 4, 10, 50):
        row: list[object] = [replicas]
        for within in (10.0, 20.0):
            for policy, name in (("least", "least_conn"), ("lot", "by lot")):
                if replicas == 1:
                    head.append(f"p99 ≤ {within:.0f}, {name}")
                if replicas == 1 and policy == "lot":
                    row.append(row[-1])
                    continue
                share = most_busy(work, replicas=replicas, within=within, policy=policy, count=count)
                rate = share * replicas
                _, opened = simulate(work, rate=rate, replicas=replicas, policy=policy, count=count)
                row.append(f"{share:.0%} ({opened:.1f})")
        say(str(row))
        rows.append(row)
    return table(head, rows)


async def _alone(port: int, bodies: Sequence[bytes]) -> tuple[Seconds, Seconds]:
    """Each question asked alone: answer times seen by the client, reading times told by the server."""
    from benchmarks.load import Client

    client, whole, reading = Client(port), [], []
    for body in bodies:
        began = time.perf_counter()
        status, reply = await client.ask("/v1/answers", body)
        whole.append(time.perf_counter() - began)
        assert status == 200, reply
        reading.append(json.loads(reply)["timing_ms"]["infer"] / 1000)
    client.close()
    return np.array(whole), np.array(reading)


async def _capacity(port: int, bodies: Sequence[bytes], seconds: float) -> float:
    """Questions a second where six clients never pause."""
    from benchmarks.load import Client

    end, done = time.perf_counter() + seconds, 0
    turn = iter(range(10**9))

    async def one() -> None:
        nonlocal done
        client = Client(port)
        while time.perf_counter() < end:
            status, _ = await client.ask("/v1/answers", bodies[next(turn) % len(bodies)])
            done += status == 200
        client.close()

    began = time.perf_counter()
    await asyncio.gather(*(one() for _ in range(6)))
    return done / (time.perf_counter() - began)


async def _at_random(port: int, bodies: Sequence[bytes], rate: float, seconds: float, seed: int) -> Seconds:
    """Answer times of questions sent at random moments, whether or not earlier ones are answered."""
    from benchmarks.load import Client

    rng = np.random.default_rng(seed)
    idle = [Client(port) for _ in range(4)]
    times: list[float] = []

    async def one(body: bytes) -> None:
        began = time.perf_counter()
        client = idle.pop() if idle else Client(port)
        status, reply = await client.ask("/v1/answers", body)
        assert status == 200, reply
        times.append(time.perf_counter() - began)
        idle.append(client)

    tasks = []
    due = time.perf_counter()
    for n in range(max(1, round(rate * seconds))):
        due += rng.exponential(1 / rate)
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        tasks.append(asyncio.ensure_future(one(bodies[n % len(bodies)])))
    await asyncio.gather(*tasks)
    for client in idle:
        client.close()
    return np.array(times)


def check(*, quick: bool) -> dict[str, Any]:
    """A real server's answer times at several loads beside the simulated ones.

    What the simulation is told: each question's times when asked alone, and the most that the server does.
    """
    from benchmarks.load import Server
    from benchmarks.machine import describe
    from benchmarks.workload import questions, spread
    from komrc.config import WindowConfig
    from komrc.models import hub
    from komrc.tokenization import load_tokenizer
    from komrc.windows import build_windows

    machine = describe()
    examples = spread(questions(), 40 if quick else 400)
    pairs = [{"question": e.question, "context": e.context, "top_k": 1} for e in examples]
    bodies = [json.dumps(pair).encode() for pair in pairs]
    tokenizer = load_tokenizer(hub.embedded_model())
    windows = build_windows(examples, tokenizer, WindowConfig(384, 128, 64), labels=False)
    tokens = [windows.lengths[windows.example == n].tolist() for n in range(len(examples))]
    server = Server.start(
        *("--cache-answers", "0", "--cache-context-chars", "0", "--max-queue", "10000"),
        *("--keep-alive-timeout", "600"),  # clients that are seldom needed keep their connections
    )
    rows = []
    try:
        asyncio.run(_capacity(server.port, bodies, 1 if quick else 5))  # warm-up
        whole, reading = asyncio.run(_alone(server.port, bodies))
        capacity = asyncio.run(_capacity(server.port, bodies, 2 if quick else 30))
        # Beside others a question takes the engine a little longer than alone, for they share the processor.
        each = reading / (reading.mean() * capacity)
        work = Work(
            tokens,
            [[float(s) * n / sum(one) for n in one] for s, one in zip(each, tokens, strict=True)],
            np.maximum(0, whole - each).tolist(),
        )
        for share in (0.3, 0.5, 0.7, 0.8):
            rate = share * capacity
            say(f"{rate:.1f} questions a second")
            seen = asyncio.run(
                _at_random(server.port, bodies, rate, 3 if quick else 45, seed=round(share * 10))
            )
            expected, _ = simulate(work, rate=rate, replicas=1)
            row = {"share": share, "per_second": rate, "questions": len(seen)}
            for name, quantile in (("p50", 0.5), ("p99", 0.99)):
                row[f"{name}_ms"] = float(np.quantile(seen, quantile)) * 1000
                row[f"{name}_ms_simulated"] = float(np.quantile(expected, quantile)) * 1000
            rows.append(row)
    finally:
        server.stop()
    return {
        "capacity_per_second": capacity,
        "alone_ms": float(np.median(whole)) * 1000,
        "rows": rows,
        "machine": machine,
    }


def checked(figures: dict[str, Any]) -> str:
    """The check as a table."""
    head = ["load", "questions", "p50 measured", "p50 simulated", "p99 measured", "p99 simulated"]
    rows = [
        [
            f"{row['share']:.0%}: {row['per_second']:.1f} a second",
            row["questions"],
            *(f"{row[key]:.0f} ms" for key in ("p50_ms", "p50_ms_simulated", "p99_ms", "p99_ms_simulated")),
        ]
        for row in figures["rows"]
    ]
    return table(head, rows)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.queueing",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--check", action="store_true", help="beside this machine's own server")
    parser.add_argument("--quick", action="store_true", help="small: shows that it works")
    args = parser.parse_args(argv)
    if args.check:
        figures = check(quick=args.quick)
        print(json.dumps(figures, ensure_ascii=False, indent=2), file=sys.stderr)
        print(checked(figures))
    else:
        print(shares(5_000 if args.quick else 40_000))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
