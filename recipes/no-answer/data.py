"""Training and development files from KorQuAD, KLUE-MRC and the everyday texts.

    python recipes/no-answer/data.py --output work/data \\
      --data KorQuAD_v1.0_train.json klue-mrc-v1.1_train.json

Every 25th article of each file goes to ``held-out.json``, the others to ``korean.json``; ``everyday.json``
and ``everyday-dev.json`` are the parts of data/everyday. All in SQuAD form; ids get their file's number in
front, so that no two are equal.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from komrc.errors import KomrcError, UsageError
from komrc.storage import write_json

EVERYDAY = Path(__file__).resolve().parents[2] / "data/everyday"
HELD_OUT_EVERY = 25

Article = dict[str, Any]


def articles(path: Path, prefix: str = "") -> list[Article]:
    """The articles of a SQuAD-shaped file. Raises UsageError where it is none."""
    try:
        data: list[Article] = json.loads(path.read_text(encoding="utf-8"))["data"]
        for article in data:
            for paragraph in article["paragraphs"]:
                for qa in paragraph["qas"]:
                    qa["id"] = f"{prefix}{qa.get('id', qa.get('guid'))}"  # KLUE-MRC calls it guid
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"can't be read as a SQuAD file ({error!r})",
            where=str(path),
            fix="give the training file of KorQuAD 1.0 or KLUE-MRC",
        ) from error
    return data


def write(path: Path, data: list[Article]) -> None:
    write_json(path, {"version": f"no-answer {path.stem}", "data": data}, indent=None)
    questions = sum(len(p["qas"]) for a in data for p in a["paragraphs"])
    print(f"{path}: {questions:,} questions", file=sys.stderr)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="SQuAD-shaped training files")
    parser.add_argument("--everyday", type=Path, default=EVERYDAY, help=f"folder (default: {EVERYDAY})")
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    args = parser.parse_args()
    try:
        files = [articles(path, f"{number}-") for number, path in enumerate(args.data, 1)]
        parts = {part: articles(args.everyday / f"{part}.json") for part in ("train", "dev")}
    except KomrcError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    numbered = [entry for file in files for entry in enumerate(file)]
    write(args.output / "held-out.json", [a for n, a in numbered if n % HELD_OUT_EVERY == 0])
    write(args.output / "korean.json", [a for n, a in numbered if n % HELD_OUT_EVERY])
    write(args.output / "everyday.json", parts["train"])
    write(args.output / "everyday-dev.json", parts["dev"])
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
