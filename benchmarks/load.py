"""A server process of this machine and the clients that load it."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Server:
    """A server process on a free port of this machine."""

    process: subprocess.Popen[bytes]
    port: int

    @classmethod
    def start(cls, *flags: str, program: Sequence[str] = ("-m", "komrc", "serve")) -> Server:
        environment = {k: v for k, v in os.environ.items() if not k.startswith("KOMRC_")}
        process = subprocess.Popen(
            [sys.executable, *program, "--port", "0", *flags],
            stderr=subprocess.PIPE,
            env=environment,
        )
        assert process.stderr is not None
        for line in process.stderr:
            if found := re.search(rb"ready at http://127\.0\.0\.1:(\d+)", line):
                return cls(process, int(found[1]))
        raise SystemExit(f"the server did not start (exit code {process.wait()})")

    def memory(self) -> int:
        """Resident bytes."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) * 1024  # type: ignore[index]

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)


class Client:
    """One connection that speaks just enough HTTP, so that measuring takes little of the machine."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.reader: asyncio.StreamReader | None = None
        self.writer: asyncio.StreamWriter | None = None
        self.sent = self.received = 0  # bytes

    async def ask(self, path: str, body: bytes = b"") -> tuple[int, bytes]:
        """Status and body; raises OSError or asyncio.IncompleteReadError where the connection breaks."""
        if self.reader is None or self.writer is None:
            self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)
        method = b"POST" if body else b"GET"
        request = b"%s %s HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n" % (
            method,
            path.encode(),
        ) + b"content-length: %d\r\n\r\n%s" % (len(body), body)
        self.writer.write(request)
        await self.writer.drain()
        head = (await self.reader.readuntil(b"\r\n\r\n")).lower()
        length = int(re.search(rb"content-length: (\d+)", head)[1])  # type: ignore[index]
        reply = await self.reader.readexactly(length)
        self.sent += len(request)
        self.received += len(head) + length
        if b"connection: close" in head:
            self.close()
        return int(head[9:12]), reply

    def close(self) -> None:
        if self.writer is not None:
            self.writer.close()
        self.reader = self.writer = None


@dataclass
class Load:
    """What clients saw."""

    statuses: Counter[int] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)  # of those answered with 200
    wrong: int = 0  # answers that are not the offline ones
    lost: int = 0  # connections that broke before the answer

    def add(self, other: Load) -> None:
        """Count what other clients saw, too."""
        self.statuses += other.statuses
        self.seconds += other.seconds
        self.wrong += other.wrong
        self.lost += other.lost

    def percentile(self, share: float) -> float:
        ordered = sorted(self.seconds)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("nan")


async def drive(
    port: int,
    bodies: Sequence[bytes],
    expected: Sequence[tuple[int, int]],
    clients: int,
    seconds: float,
    pause: float = 0,
) -> tuple[Load, float]:
    """``clients`` connections, each asking one thing after the other; what they saw and requests a second."""
    load, end, turn = Load(), time.monotonic() + seconds, iter(range(10**9))

    async def one() -> None:
        client = Client(port)
        while time.monotonic() < end:
            n = next(turn) % len(bodies)
            began = time.monotonic()
            try:
                status, reply = await client.ask("/forward", bodies[n])
            except (OSError, asyncio.IncompleteReadError):
                load.lost += 1
                client.close()
                continue
            load.statuses[status] += 1
            if status == 200:
                load.seconds.append(time.monotonic() - began)
                output = json.loads(reply)["output"]
                load.wrong += (output["start"], output["end"]) != expected[n]
            elif pause:
                await asyncio.sleep(pause)
        client.close()

    began = time.monotonic()
    await asyncio.gather(*(one() for _ in range(clients)))
    return load, load.statuses[200] / (time.monotonic() - began)
