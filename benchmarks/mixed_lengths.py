"""A client with long texts beside clients with short ones: what each sees alone, and beside the other."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from benchmarks.load import Load, drive
from komrc.client import AsyncClient
from komrc.errors import ServerError


class LongText(NamedTuple):
    """What the client with long texts asks for."""

    characters: int
    stream: bool  # with progress; otherwise the answer has to be there within --request-timeout


LONG = {"request": LongText(9_000, False), "stream": LongText(100_000, True)}


class ShortClients(NamedTuple):
    """The clients with short texts; each asks again as soon as it is answered."""

    port: int
    bodies: Sequence[bytes]
    expected: Sequence[tuple[int, int]]
    count: int

    async def run(self, seconds: float) -> Load:
        """What they saw in this time."""
        load, _ = await drive(self.port, self.bodies, self.expected, self.count, seconds)
        return load


@dataclass
class LongClient:
    """A client that asks one question after the other on a long text, and what it saw."""

    port: int
    text: str
    stream: bool
    codes: Counter[str] = field(default_factory=Counter)  # "answered", or the code of the error
    answer_seconds: list[float] = field(default_factory=list)
    share_read: float = 0.0  # of texts, until the last progress or answer
    seconds: float = 0.0  # in which they were read

    async def run(self, seconds: float, numbers: itertools.count[int]) -> None:
        """Ask until the time is up; the last question is then cancelled."""
        began = reached = time.monotonic()
        of_text = 0.0

        def progress(done: int, total: int) -> None:
            nonlocal reached, of_text
            self.share_read += done / total - of_text
            of_text, reached = done / total, time.monotonic()

        async def ask_all(web: AsyncClient) -> None:
            nonlocal reached, of_text
            for number in numbers:
                asked, of_text = time.monotonic(), 0.0
                question = f"{number}번째 질문: 언제 누가 무엇을 했는가?"
                watch = progress if self.stream else None
                try:
                    await web.answer(question, self.text, exhaustive=True, on_progress=watch)
                except ServerError as error:
                    self.codes[error.code] += 1
                    await asyncio.sleep(0.5)
                    continue
                progress(1, 1)
                self.codes["answered"] += 1
                self.answer_seconds.append(reached - asked)

        async with AsyncClient(f"http://127.0.0.1:{self.port}", timeout=120) as web:
            try:
                async with asyncio.timeout(seconds):
                    await ask_all(web)
            except TimeoutError:
                pass
        self.seconds += reached - began

    @property
    def texts_a_second(self) -> float:
        return self.share_read / self.seconds if self.seconds else 0.0


async def measure(
    short: ShortClients, texts: Sequence[str], long: LongText, seconds: float, rounds: int
) -> dict[str, Any]:
    """``rounds`` times: the short clients, the long one, both together, each for some seconds."""
    text = "\n".join(texts)
    text = (text * (1 + long.characters // len(text)))[: long.characters]
    short_alone, short_beside = Load(), Load()
    long_alone, long_beside = (LongClient(short.port, text, long.stream) for _ in range(2))
    numbers = itertools.count()
    for _ in range(rounds):
        short_alone.add(await short.run(seconds))
        await long_alone.run(seconds, numbers)
        load, _ = await asyncio.gather(short.run(seconds), long_beside.run(seconds, numbers))
        short_beside.add(load)
    return {
        "characters": long.characters,
        "short": {
            f"p{percent}_ms": {
                "alone": alone * 1000,
                "beside": beside * 1000,
                "times": beside / alone,
            }
            for percent in (50, 99)
            for alone, beside in [[load.percentile(percent / 100) for load in (short_alone, short_beside)]]
        },
        "short_answered": {"alone": short_alone.statuses[200], "beside": short_beside.statuses[200]},
        "short_statuses": dict(short_alone.statuses + short_beside.statuses),
        "wrong": short_alone.wrong + short_beside.wrong,
        "lost": short_alone.lost + short_beside.lost,
        "long": {
            name: {
                "characters_per_second": client.texts_a_second * long.characters,
                "slowest_answer_s": max(client.answer_seconds, default=None),
                "codes": dict(client.codes),
            }
            for name, client in (("alone", long_alone), ("beside", long_beside))
        },
        "long_share": long_beside.texts_a_second / long_alone.texts_a_second
        if long_alone.share_read
        else None,
    }
