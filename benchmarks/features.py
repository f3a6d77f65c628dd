"""Time and memory of building windows, and time of decoding, on the KorQuAD dev set.

    python -m benchmarks.features ../shared/data/korquad/KorQuAD_v1.0_dev.json ../shared/tokenizers/kobert

Prints a JSON object: medians of the wall and processor seconds of each step, and of 60,000 questions (the
file repeated, every copy of a context changed) the memory above start.
"""

from __future__ import annotations

import argparse
import gc
import json
import resource
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from komrc.datasets import load_squad
from komrc.decoding import DecodeConfig, FlatLogits, decode
from komrc.features import WindowConfig, build_windows
from komrc.tokenization import load_tokenizer
from komrc.types import Example

MANY = 60_000


def timed(step: Callable[[], Any], rounds: int) -> dict[str, float]:
    """Medians over the rounds, after one to warm up."""
    step()
    walls, processors = [], []
    for _ in range(rounds):
        wall, processor = time.perf_counter(), time.process_time()
        step()
        walls.append(time.perf_counter() - wall)
        processors.append(time.process_time() - processor)
    return {
        "wall_s": round(statistics.median(walls), 3),
        "processor_s": round(statistics.median(processors), 3),
    }


def many(examples: list[Example]) -> list[Example]:
    """So many questions, with as many distinct contexts as that many real ones would have."""
    contexts: dict[tuple[int, str], str] = {}
    result = []
    for n in range(MANY):
        copy, example = n // len(examples), examples[n % len(examples)]
        context = contexts.setdefault((copy, example.context), f"{example.context} 판 {copy}")
        result.append(replace(example, id=f"{copy}-{example.id}", context=context))
    return result


def resident() -> int:
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * resource.getpagesize()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data")
    parser.add_argument("tokenizer")
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    examples, tokenizer = load_squad(args.data), load_tokenizer(args.tokenizer)
    figures: dict[str, Any] = {"questions": len(examples)}

    def features() -> Any:
        return build_windows(examples, tokenizer, WindowConfig(), labels=True)

    figures["features"] = timed(features, args.rounds)
    large = many(examples)
    gc.collect()
    before = resident()
    wall, processor = time.perf_counter(), time.process_time()
    build_windows(large, tokenizer, WindowConfig(), labels=True)
    figures[f"features_{MANY}"] = {
        "wall_s": round(time.perf_counter() - wall, 3),
        "processor_s": round(time.process_time() - processor, 3),
        "peak_mb_above_start": round(
            (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before) / 1e6, 1
        ),
    }
    del large

    windows = features()
    rng = np.random.default_rng(0)
    total = int(windows.indptr[-1])

    def draw(*shape: int) -> np.ndarray:
        return (4 * rng.standard_normal((total, *shape))).astype(np.float32)

    contexts = [example.context for example in examples]
    plain = FlatLogits(draw(), draw())
    head = FlatLogits(plain.start, plain.end, draw(8), draw(8))
    config = DecodeConfig(n_best=20, max_answer_tokens=30)
    figures["decoding"] = timed(lambda: decode(windows, plain, contexts, config), args.rounds)
    figures["decoding_boundary_head"] = timed(lambda: decode(windows, head, contexts, config), args.rounds)
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
