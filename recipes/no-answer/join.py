"""Several SQuAD-shaped files as one.

python recipes/no-answer/join.py --data a.json b.json --output both.json
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from komrc.storage import write_json


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="files to join")
    parser.add_argument("--output", type=Path, required=True, help="file to write")
    args = parser.parse_args()
    data = [a for path in args.data for a in json.loads(path.read_text(encoding="utf-8"))["data"]]
    write_json(args.output, {"version": "joined", "data": data}, indent=None)


if __name__ == "__main__":
    main()
