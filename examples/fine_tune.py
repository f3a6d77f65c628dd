"""Fine-tune the embedded model on questions of your own. Needs torch: pip install '.[train]'

    python examples/fine_tune.py FOLDER [OPTION of komrc train …]

FOLDER gets the data, the model and the cache. The data here are two questions, enough to show the form. For a
quick trial add: --max-steps 1 --eval-steps -1 --save-steps -1 --no-particle-labels
"""

import json
import sys
from pathlib import Path

from komrc import Reader
from komrc.cli import main

CONTEXT = "이 제품의 보증 기간은 구입일부터 2년이다. 배터리는 6개월 동안 보증한다."
QUESTIONS = {"보증 기간은 얼마인가?": "2년", "배터리는 얼마 동안 보증하는가?": "6개월"}

folder = Path(sys.argv[1])
folder.mkdir(parents=True, exist_ok=True)
data = folder / "warranty.jsonl"
with data.open("w", encoding="utf-8") as file:
    for number, (question, answer) in enumerate(QUESTIONS.items()):
        answers = [{"text": answer, "answer_start": CONTEXT.index(answer)}]
        row = {"id": str(number), "question": question, "context": CONTEXT, "answers": answers}
        file.write(json.dumps(row, ensure_ascii=False) + "\n")

# Evaluate on other questions than these: here the files are the same only to keep the example short.
files = ["--train-file", str(data), "--predict-file", str(data)]
folders = ["--output-dir", str(folder / "model"), "--cache-dir", str(folder / "cache")]
code = main(["train", *files, *folders, *sys.argv[2:]])
if code:
    sys.exit(code)

reader = Reader.load(folder / "model")
print(reader.read("보증 기간은 얼마인가?", "보증 기간은 구입일부터 3년이다.")[0].text)
