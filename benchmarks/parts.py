"""Features, decoding and metric, each alone, on one core and in this process.

python -m benchmarks.parts ROUNDS SHARE          prints JSON; SHARE: every how many-th question
"""

from __future__ import annotations

import json
import resource
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.recipe2020 import features
from benchmarks.workload import SHARED, questions
from komrc import hub
from komrc.decoding import DecodeConfig, FlatLogits, decode
from komrc.features import WindowConfig, build_windows
from komrc.metrics import korquad
from komrc.tokenization import load_tokenizer


def timed(run: Callable[[], Any], rounds: int) -> dict[str, float]:
    seconds = []
    for _ in range(rounds):
        began = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - began)
    return {"median": statistics.median(seconds), "low": min(seconds), "high": max(seconds)}


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

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    build_windows(examples, tokenizer, config, labels=True)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    many = [example for _ in range(max(1, 60_000 // len(examples))) for example in examples]
    rng = np.random.default_rng(0)
    tokens = int(windows.indptr[-1])
    logits = FlatLogits(
        rng.normal(size=tokens).astype(np.float32),
        rng.normal(size=tokens).astype(np.float32),
        rng.normal(size=(tokens, 8)).astype(np.float32),
        rng.normal(size=(tokens, 8)).astype(np.float32),
    )
    contexts = [example.context for example in examples]
    texts = {e.id: e.context[n % 40 : n % 40 + 9] for n, e in enumerate(examples)}
    figures = {
        "questions": len(examples),
        "windows": len(windows),
        "features": timed(lambda: build_windows(examples, tokenizer, config, labels=True), rounds),
        "features, the 2020 way": timed(naive, min(rounds, 2)),
        "features, more than 60,000 questions": {
            "questions": len(many),
            **timed(lambda: build_windows(many, tokenizer, config, labels=True), 1),
        },
        "features, memory MiB": grown / 1024,
        "decoding": timed(lambda: decode(windows, logits, contexts, DecodeConfig()), rounds),
        "metric": timed(lambda: korquad.score(texts, examples), rounds),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
