"""From an empty process to the first answer of the embedded model: prints seconds and peak memory as JSON.

python -m benchmarks.first PAIRS.json
"""

import time

BEGAN = time.perf_counter()

import json  # noqa: E402
import sys  # noqa: E402
from pathlib import Path  # noqa: E402

from komrc import Reader  # noqa: E402

if __name__ == "__main__":
    question, context = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))[0]
    imported = time.perf_counter()
    reader = Reader.load()
    loaded = time.perf_counter()
    answers = reader.read(question, context)
    done = time.perf_counter()
    from benchmarks.machine import peak_memory  # not before: its imports are no part of the start

    print(
        json.dumps(
            {
                "import": imported - BEGAN,
                "load": loaded - imported,
                "first answer": done - loaded,
                "seconds": done - BEGAN,
                "memory MiB": peak_memory() / 2**20,
                "answers": len(answers),
            }
        )
    )
