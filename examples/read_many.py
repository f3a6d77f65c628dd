"""Answer all questions of a data file, and write the answers as JSON Lines.

    python examples/read_many.py [DATA] [OUTPUT]

Without DATA: the questions of the bundled sample.
"""

import json
import sys
from importlib.resources import files
from pathlib import Path

from komrc import Reader, load_squad

data = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(str(files("komrc") / "resources/sample/dev.json"))
output = Path(sys.argv[2] if len(sys.argv) > 2 else "answers.jsonl")

examples = load_squad(data)
reader = Reader.load()
with output.open("w", encoding="utf-8") as file:
    # Predictions come in the order of the examples, in bounded memory however many there are.
    for prediction in reader.stream(examples):
        best = prediction.answers[0] if prediction.answers else None
        line = {"id": prediction.id, "text": best.text if best else "", "score": best.score if best else 0.0}
        file.write(json.dumps(line, ensure_ascii=False) + "\n")
print(f"{len(examples)} answers in {output}")
