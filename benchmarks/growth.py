"""Cost over size with the embedded model: how many questions, how long a context.

python -m benchmarks.growth LARGEST_COUNT LONGEST_CONTEXT          prints JSON
"""

from __future__ import annotations

import json
import sys
import time

from benchmarks.machine import forget_peak, peak_memory
from benchmarks.rounds import say
from benchmarks.workload import questions, spread
from komrc import Reader


def main() -> None:
    most, longest = int(sys.argv[1]), int(sys.argv[2])
    examples = questions()
    reader = Reader.load()
    reader.read_many([(e.question, e.context) for e in spread(examples, 4)])
    found: dict[str, list[dict[str, float]]] = {"questions": [], "characters": []}

    def measure(what: str, size: int, pairs: list[tuple[str, str]], times: int) -> None:
        seconds = []
        forget_peak()
        for _ in range(times):
            began = time.perf_counter()
            reader.read_many(pairs)
            seconds.append(time.perf_counter() - began)
        memory = peak_memory() / 2**20
        found[what].append({"size": size, "seconds": min(seconds), "memory MiB": memory})
        say(f"{size:,} {what}: {min(seconds):.3f} s, peak memory {memory:.0f} MiB")

    for count in (1, 10, 100, 1_000, 10_000):
        if count <= most:
            pairs = [(e.question, e.context) for e in spread(examples, count)]
            measure("questions", count, pairs, 5 if count < 100 else 1)
    text = "\n".join(dict.fromkeys(example.context for example in examples))
    for size in (200, 1_000, 5_000, 20_000, 100_000, 200_000):
        if size <= min(longest, len(text)):
            measure("characters", size, [(examples[0].question, text[:size])], 5 if size < 20_000 else 1)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
