"""``evaluate_v1_0.py``: score predictions as the official KorQuAD 1.0 script does.

    python3 evaluate_v1_0.py data/KorQuAD_v1.0_dev.json models/predictions_.json

prints {"exact_match": …, "f1": …}. It needs no package, so that it runs where nothing is installed.
"""

from __future__ import annotations

import argparse
import json
import sys

from komrc.cli.console import prepare_output
from komrc.errors import KomrcError
from komrc.metrics.korquad import VERSION, score_files


def main() -> int:
    """Print the scores; returns the exit code. Errors go to stderr as one message."""
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
