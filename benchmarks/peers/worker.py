"""A peer: reads a number, answers that many questions, prints the seconds. Runs in the peers' venv.

    python worker.py haystack|pipeline MODEL_FOLDER PAIRS.json

Knows nothing of KoMRC; PAIRS.json is a list of [question, context].
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

os.environ.update(HF_HUB_OFFLINE="1", HAYSTACK_TELEMETRY_ENABLED="False", TOKENIZERS_PARALLELISM="true")
Pairs = list[list[str]]
LENGTHS = {"max_seq_length": 384, "doc_stride": 128}


def haystack(folder: str) -> Callable[[Pairs], list[str]]:
    from haystack import Document
    from haystack.utils import ComponentDevice
    from haystack_integrations.components.readers.transformers import TransformersExtractiveReader

    reader = TransformersExtractiveReader(
        model=folder,
        device=ComponentDevice.from_str("cpu"),
        top_k=1,
        no_answer=False,
        max_seq_length=LENGTHS["max_seq_length"],
        stride=LENGTHS["doc_stride"],
    )
    reader.warm_up()

    def run(pairs: Pairs) -> list[str]:
        answers = [reader.run(query=q, documents=[Document(content=c)])["answers"] for q, c in pairs]
        return [found[0].data or "" if found else "" for found in answers]

    return run


def pipeline(folder: str) -> Callable[[Pairs], list[str]]:
    from transformers import pipeline as make

    asking = make("question-answering", model=folder, tokenizer=folder, device="cpu")
    best = 0

    def ask(pairs: Pairs, size: int) -> list[str]:
        found = asking(
            question=[q for q, _ in pairs],
            context=[c for _, c in pairs],
            batch_size=size,
            max_seq_len=LENGTHS["max_seq_length"],
            doc_stride=LENGTHS["doc_stride"],
        )
        return [answer["answer"] for answer in (found if isinstance(found, list) else [found])]

    def run(pairs: Pairs) -> list[str]:
        nonlocal best
        if not best:  # its best batch size, found in the warm-up
            some, seconds = pairs[:8], {}
            ask(some, 1)
            for size in (1, 4, 8):
                began = time.perf_counter()
                ask(some, size)
                seconds[size] = time.perf_counter() - began
            best = min(seconds, key=lambda size: seconds[size])
            print(f"pipeline: batch size {best}", file=sys.stderr)
        return ask(pairs, best)

    return run


def main() -> None:
    kind, folder, path = sys.argv[1:]
    pairs = json.loads(Path(path).read_text(encoding="utf-8"))
    run = {"haystack": haystack, "pipeline": pipeline}[kind](folder)
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        count = int(line)
        began = time.perf_counter()
        answers = run(pairs[:count])
        print(json.dumps({"seconds": time.perf_counter() - began, "answers": len(answers)}), flush=True)


if __name__ == "__main__":
    main()
