"""A client with long texts beside clients with short ones: what each sees alone, and beside the other.

python -m benchmarks.serving --only mixed    with the embedded model
python -m benchmarks.mixed_lengths           with an engine that sleeps 20 ms for each batch: about 2 minutes
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from benchmarks.load import Load, Server, drive
from komrc import load_squad
from komrc.client import AsyncClient
from komrc.errors import ServerError
from komrc.models import hub

T = TypeVar("T")

_TESTS = Path(__file__).parents[1] / "tests"

CHARACTERS = (9_000, 100_000)  # of the long texts


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
    """A client that asks one question after the other on all of a long text, as a stream; and what it saw."""

    port: int
    text: str
    codes: Counter[str] = field(default_factory=Counter)  # "answered", or the code of the error
    answer_seconds: list[float] = field(default_factory=list)
    texts_read: float = 0.0  # with parts of texts
    seconds: float = 0.0  # until the last of them

    async def ask_during(self, other: Awaitable[T], numbers: itertools.count[int]) -> T:
        """Ask until the other one is done; the last question is then cancelled. Gives its result."""
        began = reached = time.monotonic()
        of_text = 0.0

        def progress(done: int, total: int) -> None:
            nonlocal reached, of_text
            self.texts_read += done / total - of_text
            of_text, reached = done / total, time.monotonic()

        async def ask_all(web: AsyncClient) -> None:
            nonlocal reached, of_text
            for number in numbers:
                asked, of_text = time.monotonic(), 0.0
                question = f"{number}번째 질문: 언제 누가 무엇을 했는가?"
                try:
                    await web.answer(question, self.text, exhaustive=True, on_progress=progress)
                except ServerError as error:
                    self.codes[error.code] += 1
                    await asyncio.sleep(0.5)
                    continue
                self.codes["answered"] += 1
                self.answer_seconds.append(time.monotonic() - asked)

        async with AsyncClient(f"http://127.0.0.1:{self.port}", timeout=120) as web:
            asking = asyncio.ensure_future(ask_all(web))
            result = await other
            asking.cancel()
            with suppress(asyncio.CancelledError):
                await asking
        self.seconds += reached - began
        return result

    @property
    def texts_a_second(self) -> float:
        return self.texts_read / self.seconds if self.seconds else 0.0


async def measure(
    short: ShortClients, texts: Sequence[str], characters: int, seconds: float, rounds: int
) -> dict[str, Any]:
    """``rounds`` times: the short clients, the long one, both together, each for some seconds."""
    text = "\n".join(texts)
    text = (text * (1 + characters // len(text)))[:characters]
    short_alone, short_beside = Load(), Load()
    long_alone, long_beside = (LongClient(short.port, text) for _ in range(2))
    numbers = itertools.count()
    for _ in range(rounds):
        short_alone.add(await short.run(seconds))
        await long_alone.ask_during(asyncio.sleep(seconds), numbers)
        short_beside.add(await long_beside.ask_during(short.run(seconds), numbers))
    return {
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
                "characters_per_second": client.texts_a_second * characters,
                "slowest_answer_s": max(client.answer_seconds, default=None),
                "codes": dict(client.codes),
            }
            for name, client in (("alone", long_alone), ("beside", long_beside))
        },
        "long_share": long_beside.texts_a_second / long_alone.texts_a_second
        if long_alone.texts_read
        else None,
    }


def main() -> int:
    """Measure the queue of a server whose engine takes the same time for every batch."""
    sys.path.insert(0, str(_TESTS))
    from support import fake_server

    examples = load_squad(hub.sample_data("train"))
    answers = fake_server.make_reader().read_many([(one.question, one.context) for one in examples])
    os.environ["FAKE_SECONDS"] = "0.02"
    server = Server.start("--cache-answers", "0", program=[fake_server.__file__])
    short = ShortClients(
        server.port,
        [json.dumps({"inputs": {"question": e.question, "context": e.context}}).encode() for e in examples],
        [(one[0].start, one[0].end) for one in answers],
        30,
    )
    texts = list(dict.fromkeys(one.context for one in examples))
    try:
        result = {str(n): asyncio.run(measure(short, texts, n, seconds=8.0, rounds=2)) for n in CHARACTERS}
    finally:
        server.stop()
    print(json.dumps(result, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
