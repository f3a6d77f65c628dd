"""KoMRC as a process: reads a number, answers that many questions, prints the seconds.

    python -m benchmarks.worker ENGINE MODEL_FOLDER PAIRS.json

ENGINE is what `komrc predict --engine` takes.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from komrc.reader import Reader


def main() -> None:
    engine, folder, path = sys.argv[1:]
    pairs = json.loads(Path(path).read_text(encoding="utf-8"))
    reader = Reader.load(folder, engine=engine)  # type: ignore[arg-type]
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        count = int(line)
        began = time.perf_counter()
        answers = reader.read_many([(q, c) for q, c in pairs[:count]])
        print(json.dumps({"seconds": time.perf_counter() - began, "answers": len(answers)}), flush=True)


if __name__ == "__main__":
    main()
