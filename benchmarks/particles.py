"""What trimming particles does to reference answers, and to answers snapped to whole words.

    python -m benchmarks.particles ../shared/data/korquad/KorQuAD_v1.0_dev.json

Prints a JSON object: official EM before and after, and how many answers were won and lost. Trimming should
leave the references as they are; the whole words are what a checkpoint answers whose labels were words.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from komrc.data import load_squad
from komrc.metrics.korquad import best
from komrc.particles import trim_many
from komrc.types import Example

Item = tuple[str, int, int]


def whole_words(context: str, start: int, end: int) -> Item:
    """The span grown to the white space around it."""
    while start > 0 and not context[start - 1].isspace():
        start -= 1
    while end < len(context) and not context[end].isspace():
        end += 1
    return context, start, end


def compare(examples: Sequence[Example], items: Sequence[Item]) -> dict[str, float]:
    """EM before and after trimming, in percent, and the answers that trimming won and lost."""
    before, after = [], []
    for example, (context, start, end), span in zip(examples, items, trim_many(items), strict=True):
        golds = [gold.text for gold in example.answers]
        before.append(best(context[start:end], golds)[0])
        after.append(best(context[span.start : span.end], golds)[0])
    pairs = list(zip(before, after, strict=True))
    return {
        "em_before": round(100 * sum(before) / len(before), 2),
        "em_after": round(100 * sum(after) / len(after), 2),
        "won": sum(b < a for b, a in pairs),
        "lost": sum(b > a for b, a in pairs),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, help="KorQuAD-format file")
    args = parser.parse_args()
    examples = load_squad(args.data)
    golds = [(e.context, e.answers[0].start, e.answers[0].end) for e in examples]
    words = [whole_words(*item) for item in golds]
    figures = {"references": compare(examples, golds), "whole words": compare(examples, words)}
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
