"""What a question costs: bytes, processor time and memory, money, and machines for a load.

python -m benchmarks.scale --machine "2 cores" 40 35 0.10 --machine "one GPU" 3000 12 3.00 --write

Each --machine is a name, the questions it answers in a second, the milliseconds of one question that is
asked alone, and its price for an hour. The first two are what `python -m benchmarks.queueing --check` calls
capacity_per_second and alone_ms on that machine, with the questions that are used here, too; the price is on
your own bill. Without a --machine only what a question takes on this machine is measured: some seconds.
--write puts the tables into docs/results/scale.md.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.machine import describe
from benchmarks.queueing import korquad_work, needed
from benchmarks.report import BEGIN, END, table
from benchmarks.rounds import ROOT, say
from komrc.storage import write_text

LOADS = (10, 1_000, 100_000)  # questions a second
GIGABIT = 1e9 / 8  # bytes a second
_AGAIN = 5  # times that remembered questions are asked: what is left then is HTTP and JSON


@dataclass(frozen=True)
class Machine:
    """A machine that serves."""

    name: str
    per_second: float  # questions, at the most
    alone: float  # seconds of a question that is asked alone
    price: float  # of an hour

    @property
    def per_million(self) -> float:
        """The price of a million questions where the machine is never idle."""
        return self.price / 3600 / self.per_second * 1e6


def costs(machines: Sequence[Machine], within: float) -> str:
    """Price of a million questions, and the machines that loads need behind least_conn."""
    rows: list[list[object]] = []
    for one in machines:
        # The engine is given out question by question; what else an answer takes holds nobody up.
        mean = 1 / one.per_second
        work = korquad_work(mean=mean, beside=max(0.0, one.alone - mean))
        counts = [needed(work, rate=load, within=within) for load in LOADS]
        money = [
            "–" if count is None else f"{count:,} ({one.price * count / 3600 / load * 1e6:,.2f})"
            for load, count in zip(LOADS, counts, strict=True)
        ]
        rows.append([
            one.name, f"{one.per_second:,.0f}", f"{one.alone * 1000:.0f} ms", f"{one.price:.2f}",
            f"{one.per_million:,.2f}", *money,
        ])  # fmt: skip
    head = ["machine", "questions a second", "one alone", "price of an hour", "of a million, never idle"]
    return table([*head, *(f"machines for {load:,} a second (price of a million)" for load in LOADS)], rows)


def footprint(count: int) -> dict[str, Any]:
    """Bytes, processor seconds and memory of a question: the server's as a whole, and the reader's parts."""
    from benchmarks.load import Client, Server
    from benchmarks.workload import questions, spread
    from komrc import Reader

    machine = describe()
    examples = spread(questions(), 20 + count)  # the first ones warm up
    bodies = [
        json.dumps({"inputs": {"question": e.question, "context": e.context}}).encode() for e in examples
    ]
    reader = Reader.load()
    seconds = dict.fromkeys(("tokenize", "engine", "decode"), 0.0)
    for n, example in enumerate(examples):
        began = time.process_time()
        reading = reader.prepare([example])
        prepared = time.process_time()
        reader.run([(reading, range(len(reading.windows)))])
        ran = time.process_time()
        reader.predict(reading, top_k=20)
        if n >= 20:
            seconds["tokenize"] += prepared - began
            seconds["engine"] += ran - prepared
            seconds["decode"] += time.process_time() - ran
    server = Server.start("--cache-context-chars", "0")
    try:
        client = Client(server.port)
        asyncio.run(_ask(client, bodies[:20]))
        loaded = server.memory()
        client, before = Client(server.port), _processor_seconds(server.process.pid)
        asyncio.run(_ask(client, bodies[20:]))
        whole = _processor_seconds(server.process.pid) - before
        memory = server.memory()
        again, before = Client(server.port), _processor_seconds(server.process.pid)
        asyncio.run(_ask(again, bodies[20:] * _AGAIN))
        remembered = _processor_seconds(server.process.pid) - before
    finally:
        server.stop()
    return {
        "questions": count,
        "sent": client.sent / count,
        "received": client.received / count,
        "server": whole / count,
        "http": remembered / count / _AGAIN,
        **{name: value / count for name, value in seconds.items()},
        "memory": memory,
        "loaded": loaded,
        "machine": machine,
    }


async def _ask(client: Any, bodies: Sequence[bytes]) -> None:
    for body in bodies:
        status, reply = await client.ask("/predict", body)
        assert status == 200, reply
    client.close()


def _processor_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def carried(figures: dict[str, Any]) -> str:
    """What a question takes of each part, and how many a second that part carries."""
    parts = {name: figures[name] for name in ("engine", "tokenize", "decode")}

    def work(name: str, seconds: float, each: str) -> list[str]:
        return [name, f"{seconds * 1000:.2f} ms", f"{1 / seconds:,.0f}", each]

    def wire(name: str, size: float) -> list[str]:
        return [name, f"{size:,.0f} bytes", f"{GIGABIT / size:,.0f}", "Gbit/s"]

    # The interpreter runs one thread at a time; the engine and the tokenizer's Rust run beside it.
    rows = [
        work("the model", parts["engine"], "core"),
        work("tokens, windows", parts["tokenize"], "core"),
        work("picking answers", parts["decode"], "server process"),
        work("HTTP, JSON", figures["http"], "server process"),
        work("the server as a whole", figures["server"], "core"),
        wire("the wire, in", figures["sent"]),
        wire("the wire, out", figures["received"]),
    ]
    memory = (
        f"Memory of a server process: {figures['loaded'] / 2**20:,.0f} MiB after 20 questions, "
        f"{figures['memory'] / 2**20:,.0f} MiB after {figures['questions']:,} more."
    )
    return table(["part", "a question", "carries a second", "each"], rows) + f"\n{memory}\n"


def block(figures: dict[str, Any], machines: Sequence[Machine], within: float) -> str:
    """The marked part of docs/results/scale.md."""
    m = figures["machine"]
    where = (
        f"`python -m benchmarks.scale`, {m['date']}; {m['processor']}, {m['cores']} cores; load before: "
        f"{m['load before']}; {figures['questions']:,} questions of KorQuAD v1.0 dev, one at a time; "
        "processor time, of all threads."
    )
    if not machines:
        return f"{where}\n\n{carried(figures)}\nNo machine's throughput has been given to the command yet.\n"
    target = (
        f"99 of 100 questions answered within {within * 1000:.0f} ms; prices are those given to the command."
    )
    return f"{where}\n\n{carried(figures)}\n{target}\n\n{costs(machines, within)}"


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.scale",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--machine",
        nargs=4,
        action="append",
        default=[],
        metavar=("NAME", "PER_SECOND", "ALONE_MS", "PRICE"),
        help="name, questions a second, milliseconds of one alone, price of an hour (repeatable)",
    )
    parser.add_argument("--p99", type=float, default=0.5, help="seconds (default: 0.5)")
    parser.add_argument("--questions", type=int, default=400, help="that are asked (default: 400)")
    parser.add_argument("--write", action="store_true", help="put the tables into docs/results/scale.md")
    args = parser.parse_args(argv)
    machines = [Machine(name, float(a), float(b) / 1000, float(c)) for name, a, b, c in args.machine]
    say("asking questions")
    text = block(footprint(args.questions), machines, args.p99)
    print(text)
    if args.write:
        page = ROOT / "docs/results/scale.md"
        before, rest = page.read_text(encoding="utf-8").split(BEGIN, 1)
        write_text(page, f"{before}{BEGIN}\n\n{text}\n{END}{rest.split(END, 1)[1]}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
