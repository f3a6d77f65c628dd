"""Features, decoding and metric, each alone, on one core and in this process.

python -m benchmarks.parts ROUNDS SHARE          prints JSON; SHARE: every how many-th question
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from benchmarks.machine import forget_peak, peak_memory
from benchmarks.recipe2020 import features
from benchmarks.workload import SHARED, questions
from komrc.config import DecodingConfig, WindowConfig
from komrc.decoding import decode
from komrc.engines import Logits
from komrc.metrics import korquad
from komrc.models import hub
from komrc.tokenization import load_tokenizer
from komrc.types import Example
from komrc.windows import build_windows

MANY = 60_000


def timed(run: Callable[[], Any], rounds: int) -> dict[str, float]:
    seconds = []
    for _ in range(rounds):
        began = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - began)
    return {"median": statistics.median(seconds), "low": min(seconds), "high": max(seconds)}


def many(examples: list[Example], count: int) -> list[Example]:
    """So many questions, with as many distinct contexts as that many real ones would have."""
    contexts: dict[tuple[int, str], str] = {}
    result = []
    for n in range(count):
        copy, example = n // len(examples), examples[n % len(examples)]
        context = contexts.setdefault((copy, example.context), f"{example.context} 판 {copy}")
        result.append(replace(example, id=f"{copy}-{example.id}", context=context))
    return result


def main() -> None:
    rounds, share = int(sys.argv[1]), int(sys.argv[2])
    examples = questions()[::share]
    folder = SHARED / "tokenizers/kobert"
    tokenizer = load_tokenizer(folder if folder.is_dir() else hub.embedded_model())
    config = WindowConfig(384, 128, 64)
    windows = build_windows(examples, tokenizer, config, labels=True)
    backend = tokenizer.backend

    def naive() -> None:
        features(
            examples,
            lambda text: list(backend.encode(text, add_special_tokens=False).ids),
            length=384,
            stride=128,
            query=64,
        )

    large = many(examples, MANY // share)
    before = forget_peak()
    large_seconds = timed(lambda: build_windows(large, tokenizer, config, labels=True), 1)
    grown = peak_memory() - before
    rng = np.random.default_rng(0)
    tokens = int(windows.indptr[-1])
    shapes = (tokens, tokens, (tokens, 8), (tokens, 8))
    logits = Logits.of([rng.normal(size=shape).astype(np.float32) for shape in shapes])
    contexts = [example.context for example in examples]
    texts = {e.id: e.context[n % 40 : n % 40 + 9] for n, e in enumerate(examples)}
    figures = {
        "questions": len(examples),
        "windows": len(windows),
        "features": timed(lambda: build_windows(examples, tokenizer, config, labels=True), rounds),
        "features, the 2020 way": timed(naive, min(rounds, 2)),
        "features of many": {"questions": len(large), "MB above start": grown / 1e6, **large_seconds},
        "decoding": timed(lambda: decode(windows, logits, contexts, DecodingConfig()), rounds),
        "metric": timed(lambda: korquad.score(texts, examples), rounds),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
