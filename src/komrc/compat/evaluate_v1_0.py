"""Score predictions as the official KorQuAD 1.0 script does.

    python3 evaluate_v1_0.py data/KorQuAD_v1.0_dev.json models/predictions_.json

prints {"exact_match": …, "f1": …}. Runs on a bare Python, without installation.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "src"))

from komrc.cli.console import prepare_output
from komrc.errors import KomrcError
from komrc.metrics.korquad import VERSION, score_files


def main() -> int:
    prepare_output()
    parser = argparse.ArgumentParser(
        description=f"Evaluation for KorQuAD {VERSION}",
        epilog=(
            "example:\n  python3 evaluate_v1_0.py data/KorQuAD_v1.0_dev.json models/predictions_.json\n\n"
            "exit codes: 0 done, 2 usage, 3 a file that is not what it should be, 6 a file that can't be read"
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("dataset_file", help="data in the KorQuAD format")
    parser.add_argument("prediction_file", help='predictions: {"question id": "answer text", …}')
    args = parser.parse_args()
    try:
        scores = score_files(
            args.dataset_file, args.prediction_file, report=lambda line: print(line, file=sys.stderr)
        )
    except KomrcError as error:
        print(f"evaluate_v1_0.py: error: {error}", file=sys.stderr)
        return error.exit_code
    print(json.dumps(scores))
    return 0


if __name__ == "__main__":
    sys.exit(main())
