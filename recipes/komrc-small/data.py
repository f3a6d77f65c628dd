"""Step 0: check the source files by hash and write the training files of the later steps.

    python recipes/komrc-small/data.py --source ../shared/data --output work/data

Writes ``japanese.json`` (a seeded sample of JaQuAD, and XQuAD English and Chinese), ``japanese-rest.json``
(the other questions of JaQuAD), ``korean.json``
(KorQuAD pre-release and TyDi QA Korean without the development articles) and ``development.json``
(every 16th article of the KorQuAD pre-release), all in SQuAD form.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from pathlib import Path
from typing import Any

from komrc.storage import sha256_file, write_json

HASHES = Path(__file__).with_name("sources.sha256")
JAQUAD_QUESTIONS = 20_000
SEED = 1
DEVELOPMENT_EVERY = 16

Article = dict[str, Any]


def check_sources(folder: Path) -> None:
    """Exit with a list of what is missing or differs from ``sources.sha256``."""
    problems = []
    for line in HASHES.read_text(encoding="utf-8").splitlines():
        digest, name = line.split("  ", 1)
        path = folder / name
        if not path.is_file():
            problems.append(f"{path} is missing")
        elif sha256_file(path) != digest:
            problems.append(f"{path} is another version: its SHA-256 is not {digest}")
    if problems:
        sys.exit("\n".join([*problems, "see recipes/komrc-small/README.md for where each file comes from"]))


def articles(path: Path) -> list[Article]:
    data: list[Article] = json.loads(path.read_text(encoding="utf-8"))["data"]
    return data


def split_questions(data: list[Article], count: int, seed: int) -> tuple[list[Article], list[Article]]:
    """``count`` questions chosen at random, and the others; both without the paragraphs left empty."""
    keys = [
        (a, p, q)
        for a, article in enumerate(data)
        for p, paragraph in enumerate(article["paragraphs"])
        for q in range(len(paragraph["qas"]))
    ]
    random.Random(seed).shuffle(keys)
    return only(data, set(keys[:count])), only(data, set(keys[count:]))


def only(data: list[Article], chosen: set[tuple[int, int, int]]) -> list[Article]:
    """The questions with these numbers of article, paragraph and question."""
    kept = []
    for a, article in enumerate(data):
        paragraphs = []
        for p, paragraph in enumerate(article["paragraphs"]):
            qas = [qa for q, qa in enumerate(paragraph["qas"]) if (a, p, q) in chosen]
            if qas:
                paragraphs.append({"context": paragraph["context"], "qas": qas})
        if paragraphs:
            kept.append({"title": article.get("title", ""), "paragraphs": paragraphs})
    return kept


def with_prefix(data: list[Article], prefix: str) -> list[Article]:
    """The same articles with ids that stay distinct when files are joined."""
    return [
        {
            "title": article.get("title", ""),
            "paragraphs": [
                {
                    "context": paragraph["context"],
                    "qas": [
                        {"id": f"{prefix}-{qa['id']}", "question": qa["question"], "answers": qa["answers"]}
                        for qa in paragraph["qas"]
                    ],
                }
                for paragraph in article["paragraphs"]
            ],
        }
        for article in data
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--source", type=Path, required=True, help="folder with jaquad, xquad, tydiqa_ko, korquad"
    )
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    args = parser.parse_args()
    check_sources(args.source)
    jaquad = [a for file in sorted((args.source / "jaquad/train").glob("*.json")) for a in articles(file)]
    first, rest = split_questions(jaquad, JAQUAD_QUESTIONS, SEED)
    japanese, japanese_rest = with_prefix(first, "ja"), with_prefix(rest, "ja")
    for language in ("en", "zh"):
        japanese += with_prefix(articles(args.source / f"xquad/{language}.json"), language)
    korquad = articles(args.source / "korquad/KorQuAD_v1.0_prerelease-2018-09.json")
    development = [a for i, a in enumerate(korquad) if i % DEVELOPMENT_EVERY == 0]
    korean = [a for i, a in enumerate(korquad) if i % DEVELOPMENT_EVERY]
    korean += with_prefix(articles(args.source / "tydiqa_ko/train.json"), "tydi")
    files = {
        "japanese": japanese,
        "japanese-rest": japanese_rest,
        "korean": korean,
        "development": development,
    }
    for name, data in files.items():
        write_json(
            args.output / f"{name}.json", {"version": f"komrc-small {name}", "data": data}, indent=None
        )
        questions = sum(len(p["qas"]) for a in data for p in a["paragraphs"])
        print(f"{args.output / name}.json: {questions} questions", file=sys.stderr)


if __name__ == "__main__":
    main()
