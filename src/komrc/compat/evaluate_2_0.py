"""``evaluate-2.0.py``: score predictions as the official KorQuAD 2.0 script does (2.1 has the same one).

    python3 evaluate-2.0.py data/korquad-v2.1/dev models/predictions_.json

prints {"exact_match": …, "f1": …}. It needs beautifulsoup4 and lxml, as the metric does.
"""

from __future__ import annotations

import argparse
import json
import sys

from komrc.cli.console import prepare_output
from komrc.data import read_predictions
from komrc.errors import KomrcError
from komrc.evaluation import korquad2_golds
from komrc.metrics import korquad2


def main() -> int:
    """Print the scores; returns the exit code. Errors go to stderr as one message."""
    prepare_output()
    parser = argparse.ArgumentParser(
        description="Evaluation for KorQuAD_v2.0",
        epilog=(
            "example:\n  python3 evaluate-2.0.py data/korquad-v2.1/dev models/predictions_.json\n\n"
            "exit codes: 0 done, 2 usage, 3 a file that is not what it should be, 6 a file that can't be"
            " read, 8 beautifulsoup4 or lxml is not installed"
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("dataset_file", help="folder of data files (also one file, or a ZIP file)")
    parser.add_argument("prediction_file", help='predictions: {"question id": "answer text", …}')
    args = parser.parse_args()
    try:
        scores = korquad2.score_golds(
            read_predictions(args.prediction_file),
            korquad2_golds(args.dataset_file),
            on_missing=lambda name: print(
                f"Unanswered question {name} will receive score 0.", file=sys.stderr
            ),
        )
    except KomrcError as error:
        print(f"evaluate-2.0.py: error: {error}", file=sys.stderr)
        return error.exit_code
    print(json.dumps(scores))
    return 0
