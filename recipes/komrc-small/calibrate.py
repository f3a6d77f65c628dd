"""Choose the no-answer threshold and the temperature of a finished model, and write them into its komrc.json.

    python recipes/komrc-small/calibrate.py --model src/komrc/resources/model \\
      --data work/data/development.json work/data/klue-dev.json work/data/negatives-dev.json \\
             work/data/everyday-dev.json --cost-on work/data/development.json work/data/klue-dev.json

The threshold is the one with the highest share of right answers, answerable questions and others weighted
equally, among those that lower the EM on ``--cost-on`` by at most ``--cost`` points. The temperature is
fitted with that threshold on the same files.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from komrc.config import Provenance, ReaderConfig
from komrc.data import load_squad
from komrc.errors import KomrcError
from komrc.metrics import korquad
from komrc.reader import Reader
from komrc.training.calibrate import tune_temperature
from komrc.types import Example

STEP = 0.25  # thresholds are tried in such steps
LOWEST, HIGHEST = -12.0, 4.0


def margins(reader: Reader, examples: list[Example]) -> NDArray[np.float64]:
    """The empty answer's logit less the best span's, and whether that span is right: [N, 2]."""
    rows = []
    for example, prediction in zip(examples, reader.stream(examples, top_k=1), strict=True):
        empty = next(c for c in prediction.candidates if c.start == c.end)
        span = next((c for c in prediction.candidates if c.start != c.end), None)
        if span is None:
            rows.append((np.inf, 0.0))
            continue
        golds = [gold.text for gold in example.answers]
        right = bool(golds) and korquad.best(example.context[span.start : span.end], golds)[0]
        rows.append((empty.logit - span.logit, float(right)))
    return np.array(rows)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, required=True, help="the folder to calibrate")
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="development files")
    parser.add_argument(
        "--cost-on", type=Path, nargs="+", required=True, help="those of them whose EM must stay"
    )
    parser.add_argument("--cost", type=float, default=1.0, help="points of EM that may be lost (default: 1)")
    args = parser.parse_args()
    try:
        calibrate(args.model, args.data, args.cost_on, args.cost)
    except KomrcError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def calibrate(model: Path, data: list[Path], cost_on: list[Path], cost: float) -> None:
    """Write the threshold and the temperature into the model's komrc.json. Raises KomrcError."""
    config, provenance = ReaderConfig.load(model), Provenance.load(model)
    plain = config.changed(temperature=1.0)
    reader = Reader.load(model, temperature=1.0, version_2_with_negative=True)
    read = {path: load_squad(path) for path in data}
    measured = {path: margins(reader, examples) for path, examples in read.items()}
    answerable = {path: np.array([bool(e.answers) for e in examples]) for path, examples in read.items()}

    def em(threshold: float, paths: list[Path]) -> float:
        rows = np.concatenate([measured[path][answerable[path]] for path in paths])
        return 100 * float(np.mean(rows[:, 1] * (rows[:, 0] <= threshold)))

    def recognised(threshold: float) -> float:
        rows = np.concatenate([measured[path][~answerable[path]] for path in data])
        return 100 * float(np.mean(rows[:, 0] > threshold))

    thresholds = np.arange(LOWEST, HIGHEST, STEP)
    allowed = [t for t in thresholds if em(np.inf, cost_on) - em(t, cost_on) <= cost]
    best = float(max(allowed, key=lambda t: em(t, data) + recognised(t)))
    print(
        f"threshold {best}: EM {em(best, data):.2f} (without: {em(np.inf, data):.2f}), "
        f"unanswerable recognised {recognised(best):.1f} %",
        file=sys.stderr,
    )
    chosen = plain.changed(null_score_diff_threshold=best)
    everything = [example for examples in read.values() for example in examples]
    temperature = tune_temperature(reader.engine, reader.tokenizer, chosen, everything)
    print(f"temperature {temperature:.3f}", file=sys.stderr)
    chosen.changed(temperature=temperature).save(model, provenance)


if __name__ == "__main__":
    raise SystemExit(main())
