"""The server under load, from a second process: throughput, long texts beside short ones, overload, dawdling
clients, ends, odd requests.

python -m benchmarks.serving                        all of it at full size: about 12 minutes
python -m benchmarks.serving --quick                every part, small: shows that it works, measures nothing
python -m benchmarks.serving --only throughput      one part (may be given several times)

Figures go to stdout as JSON. The server runs the embedded model (or --model) with its own defaults, but
without remembering answers. Only this machine's loopback address is used.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import mixed_lengths
from benchmarks.load import Client, Server, drive
from komrc import Reader, load_squad
from komrc.models import hub

Pair = tuple[str, str]


class Bench:
    """The parts, over one set of pairs."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.quick: bool = args.quick
        self.flags = ["--cache-answers", "0", *(["--model", args.model] if args.model else [])]
        examples = load_squad(args.data or hub.sample_data("train"))[: 64 if self.quick else args.pairs]
        self.pairs: list[Pair] = [(e.question, e.context) for e in examples]
        self.bodies = [json.dumps({"inputs": {"question": q, "context": c}}).encode() for q, c in self.pairs]
        reader = Reader.load(args.model)
        reader.read_many(self.pairs[:16])
        began = time.monotonic()
        answers = reader.read_many(self.pairs)
        self.offline = len(self.pairs) / (time.monotonic() - began)
        self.expected = [(a[0].start, a[0].end) for a in answers]
        self.engine = reader.engine.name

    def throughput(self) -> dict[str, Any]:
        """The most requests a second with 99 of 100 answered within 250 ms, and the offline reader's rate."""
        server = Server.start(*self.flags)
        seconds = 1.0 if self.quick else 10.0
        rows, best = [], 0.0
        try:
            asyncio.run(drive(server.port, self.bodies, self.expected, 4, seconds / 2))
            for clients in (1, 4) if self.quick else (1, 2, 4, 6, 8, 10, 12, 16, 24):
                load, rate = asyncio.run(drive(server.port, self.bodies, self.expected, clients, seconds))
                p99 = load.percentile(0.99)
                row = {"clients": clients, "per_second": rate, "p50_ms": load.percentile(0.5) * 1000}
                rows.append({**row, "p99_ms": p99 * 1000, "wrong": load.wrong, "lost": load.lost})
                if p99 <= 0.25:
                    best = max(best, rate)
        finally:
            server.stop()
        return {
            "offline_per_second": self.offline,
            "best_at_p99_250_ms": best,
            "share": best / self.offline,
            "rows": rows,
        }

    def mixed(self) -> dict[str, Any]:
        """30 clients with short texts and one with a long one: what each sees alone, and beside the other."""
        server = Server.start(*self.flags)
        seconds, rounds = (1.0, 1) if self.quick else (30.0, 2)
        texts = list(dict.fromkeys(context for _, context in self.pairs))
        short = mixed_lengths.ShortClients(server.port, self.bodies, self.expected, 30)
        try:
            return {
                f"{characters} characters": asyncio.run(
                    mixed_lengths.measure(short, texts, characters, seconds, rounds)
                )
                for characters in mixed_lengths.CHARACTERS
            }
        finally:
            server.stop()

    def overload(self) -> dict[str, Any]:
        """200 clients that ask for ten times the capacity; then how soon all is well again."""
        server = Server.start(*self.flags)
        clients, seconds = (20, 3.0) if self.quick else (200, 300.0)
        try:
            return asyncio.run(self._overload(server, clients, seconds))
        finally:
            server.stop()

    async def _overload(self, server: Server, clients: int, seconds: float) -> dict[str, Any]:
        normal, capacity = await drive(server.port, self.bodies, self.expected, 4, seconds / 30)
        # Refused clients come back so soon that ten times the capacity is asked for.
        pause = clients / (10 * capacity)
        probes: list[float] = []
        memory: list[int] = []

        async def probe() -> None:
            client = Client(server.port)
            while True:
                began = time.monotonic()
                status, _ = await client.ask("/health")
                assert status == 200
                probes.append(time.monotonic() - began)
                memory.append(server.memory())
                await asyncio.sleep(0.05)

        probing = asyncio.ensure_future(probe())
        load, rate = await drive(server.port, self.bodies, self.expected, clients, seconds, pause)
        probing.cancel()
        over = time.monotonic()
        while True:
            after, _ = await drive(server.port, self.bodies, self.expected, 4, seconds / 30)
            if after.percentile(0.99) <= 2 * normal.percentile(0.99) or time.monotonic() - over > 60:
                break
        third = len(memory) // 3
        return {
            "capacity_per_second": capacity,
            "asked_per_second": sum(load.statuses.values()) / seconds,
            "answered_per_second": rate,
            "statuses": dict(load.statuses),
            "wrong": load.wrong,
            "lost": load.lost,
            "p99_ms": load.percentile(0.99) * 1000,
            "health_p99_ms": sorted(probes)[int(0.99 * len(probes))] * 1000,
            "memory_drift": sum(memory[-third:]) / max(1, sum(memory[third : 2 * third])) - 1,
            "normal_again_after_s": time.monotonic() - over,
        }

    def dripping(self) -> dict[str, Any]:
        """Normal requests beside 500 clients that send a byte now and then, or nothing."""
        server = Server.start(*self.flags)
        count, seconds = (50, 2.0) if self.quick else (500, 20.0)
        try:
            return asyncio.run(self._dripping(server, count, seconds))
        finally:
            server.stop()

    async def _dripping(self, server: Server, count: int, seconds: float) -> dict[str, Any]:
        alone, _ = await drive(server.port, self.bodies, self.expected, 4, seconds)
        cut = 0

        async def drip(n: int) -> None:
            nonlocal cut
            while True:
                _, writer = await asyncio.open_connection("127.0.0.1", server.port)
                try:
                    for byte in b"POST /forward HTTP/1.1\r\nhost: localhost\r\nx-long: " + b"x" * 1000:
                        if n % 2:
                            writer.write(bytes([byte]))
                            await writer.drain()
                        await asyncio.sleep(0.5)
                        if writer.transport.is_closing():
                            break
                except OSError:
                    pass
                finally:
                    writer.close()
                cut += 1

        tasks = [asyncio.ensure_future(drip(n)) for n in range(count)]
        await asyncio.sleep(1)
        beside, _ = await drive(server.port, self.bodies, self.expected, 4, seconds)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        before, after = alone.percentile(0.99), beside.percentile(0.99)
        return {"sockets": count, "cut": cut, "p99_ms_alone": before * 1000, "p99_ms_beside": after * 1000,
                "times": after / before, "lost": beside.lost}  # fmt: skip

    def ends(self) -> dict[str, Any]:
        """SIGTERM with 50 requests in flight, again and again: each one is answered."""
        result: Counter[str] = Counter()
        rounds, flight = (2, 20) if self.quick else (50, 50)
        for _ in range(rounds):
            server = Server.start(*self.flags)
            asyncio.run(self._end(server, flight, result))
        return {"rounds": rounds, "in_flight": flight, **result}

    async def _end(self, server: Server, flight: int, result: Counter[str]) -> None:
        clients = [Client(server.port) for _ in range(flight)]
        for client in clients:
            await client.ask("/health")
        asking = [
            asyncio.ensure_future(client.ask("/forward", self.bodies[n % len(self.bodies)]))
            for n, client in enumerate(clients)
        ]
        await asyncio.sleep(0.1)
        began = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        for reply in await asyncio.gather(*asking, return_exceptions=True):
            result["lost" if isinstance(reply, BaseException) else str(reply[0])] += 1
        for client in clients:
            client.close()
        await asyncio.to_thread(server.process.wait, 60)
        result["slowest_end_ms"] = max(result["slowest_end_ms"], round((time.monotonic() - began) * 1000))

    def fuzz(self) -> dict[str, Any]:
        """Generated requests, valid and not, for every operation of the schema."""
        import httpx
        import schemathesis
        from hypothesis import HealthCheck, given, settings

        server = Server.start(*self.flags)
        statuses: Counter[int] = Counter()
        unplanned: list[str] = []
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{server.port}", timeout=60) as web:
                schema = schemathesis.openapi.from_dict(web.get("/openapi.json").json())
                operations = [found.ok() for found in schema.get_all_operations()]
                posts = [o for o in operations if o.method == "post"]
                each = 20 if self.quick else 10_000 // len(posts)
                for operation in operations:
                    modes = schemathesis.GenerationMode
                    cases = operation.as_strategy(modes.POSITIVE) | operation.as_strategy(modes.NEGATIVE)

                    @settings(
                        max_examples=each,
                        deadline=None,
                        database=None,
                        suppress_health_check=list(HealthCheck),
                    )
                    @given(cases)
                    def check(case: Any) -> None:
                        parts = case.as_transport_kwargs(base_url=str(web.base_url))
                        body = (
                            parts.get("data") if "json" not in parts else json.dumps(parts["json"]).encode()
                        )
                        reply = web.request(
                            parts["method"],
                            parts["url"],
                            headers=parts["headers"],
                            params=parts.get("params"),
                            content=body,
                        )
                        statuses[reply.status_code] += 1
                        if reply.status_code >= 500 and reply.status_code not in (503, 504):
                            unplanned.append(f"{case.method} {case.path} {reply.text[:200]}")

                    check()
        finally:
            server.stop()
        return {"cases": sum(statuses.values()), "statuses": dict(statuses), "unplanned": unplanned[:10]}


PARTS = ("throughput", "mixed", "overload", "dripping", "ends", "fuzz")


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="small: see that every part works")
    parser.add_argument("--only", action="append", choices=PARTS, help="this part only")
    parser.add_argument(
        "--data", type=Path, help="a KorQuAD-format file (default: the bundled training sample)"
    )
    parser.add_argument("--pairs", type=int, default=1000, help="questions of it (default: 1000)")
    parser.add_argument("--model", help="model folder (default: the embedded one)")
    args = parser.parse_args(argv)
    bench = Bench(args)
    result: dict[str, Any] = {"engine": bench.engine, "pairs": len(bench.pairs), "cores": os.cpu_count()}
    for name in args.only or PARTS:
        print(f"{name} …", file=sys.stderr)
        result[name] = getattr(bench, name)()
    print(json.dumps(result, ensure_ascii=False, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
