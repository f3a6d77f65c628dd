"""Files for the steps that teach "no answer": KLUE-MRC, everyday texts, and questions beside other passages.

    python recipes/komrc-small/no_answer.py --source ../shared/data --output work/data

Writes for step 6 ``korean-a.json`` (1,400 of the Korean questions), ``klue.json`` (nine of ten articles of
KLUE-MRC's Wikipedia part) and ``negatives-a.json`` (2,000 questions beside passages without their answer);
for step 7 ``everyday.json`` (two questions of each passage of data/everyday), ``korean-c.json`` and
``negatives-c.json``; for step 8 ``everyday-all.json`` (every question of its training part),
``korean-d.json``, ``klue-d.json`` and ``negatives-d.json`` (2,400, 1,600 and 1,200 questions); for choosing
``klue-dev.json`` (the other articles), ``negatives-dev.json`` and ``everyday-dev.json``.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from pathlib import Path

from negatives import negatives

from data import DEVELOPMENT_EVERY, Article, articles, only, with_prefix
from komrc.storage import write_json

ROOT = Path(__file__).resolve().parents[2]
KLUE_DEVELOPMENT_EVERY = 10
Key = tuple[int, int, int]


def keys(data: list[Article]) -> list[Key]:
    """Numbers of article, paragraph and question of every question."""
    return [
        (a, p, q)
        for a, article in enumerate(data)
        for p, paragraph in enumerate(article["paragraphs"])
        for q in range(len(paragraph["qas"]))
    ]


def split(data: list[Article], count: int, draw: random.Random) -> tuple[list[Article], list[Article]]:
    """``count`` questions chosen at random, and the others."""
    shuffled = keys(data)
    draw.shuffle(shuffled)
    return only(data, set(shuffled[:count])), only(data, set(shuffled[count:]))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--source", type=Path, required=True, help="folder with korquad, tydiqa_ko, klue_mrc_wiki"
    )
    parser.add_argument("--everyday", type=Path, default=ROOT / "data/everyday", help="folder of the set")
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    args = parser.parse_args()
    korquad = articles(args.source / "korquad/KorQuAD_v1.0_prerelease-2018-09.json")
    development = [a for i, a in enumerate(korquad) if i % DEVELOPMENT_EVERY == 0]
    korean = [a for i, a in enumerate(korquad) if i % DEVELOPMENT_EVERY]
    korean += with_prefix(articles(args.source / "tydiqa_ko/train.json"), "tydi")
    klue = articles(args.source / "klue_mrc_wiki/train.json")
    klue_dev = [a for i, a in enumerate(klue) if i % KLUE_DEVELOPMENT_EVERY == 0]
    klue = [a for i, a in enumerate(klue) if i % KLUE_DEVELOPMENT_EVERY]

    korean_a, korean_b = split(korean, 1400, random.Random(1))
    first, second = split(negatives([*korean, *klue], share=0.62, nearest=5, seed=1), 2800, random.Random(2))
    negatives_a, negatives_b = split([*first, *second], 2000, random.Random(1))

    draw = random.Random(5)
    everyday = json.loads((args.everyday / "train.json").read_text(encoding="utf-8"))["data"]
    for article in everyday:
        passage = article["paragraphs"][0]
        if len(passage["qas"]) > 2:
            passage["qas"] = sorted(draw.sample(passage["qas"], 2), key=lambda qa: str(qa["id"]))
    korean_c, _ = split(korean_b, 250, draw)
    draw.shuffle(keys(klue))  # keeps the draws of the run that made the embedded model
    negatives_c, _ = split(negatives_b, 180, draw)
    every = json.loads((args.everyday / "train.json").read_text(encoding="utf-8"))["data"]
    draw = random.Random(8)
    korean_d, _ = split(korean, 2400, draw)
    klue_d, _ = split(klue, 1600, draw)
    negatives_d, _ = split([*first, *second], 1200, draw)

    files = {
        "korean-a": korean_a,
        "klue": klue,
        "negatives-a": negatives_a,
        "everyday": everyday,
        "korean-c": korean_c,
        "negatives-c": negatives_c,
        "everyday-all": every,
        "korean-d": korean_d,
        "klue-d": klue_d,
        "negatives-d": negatives_d,
        "klue-dev": klue_dev,
        "negatives-dev": negatives([*development, *klue_dev], share=0.6, nearest=5, seed=3),
        "everyday-dev": json.loads((args.everyday / "dev.json").read_text(encoding="utf-8"))["data"],
    }
    for name, data in files.items():
        version = f"komrc-small {name}"
        write_json(args.output / f"{name}.json", {"version": version, "data": data}, indent=None)
        print(f"{args.output / name}.json: {len(keys(data))} questions", file=sys.stderr)


if __name__ == "__main__":
    main()
