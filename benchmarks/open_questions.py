"""Questions without a passage: search and reading together, and long single texts.

python -m benchmarks.open_questions --data ../shared/data [--part PART] [--every N]     prints tables

Parts:
  korquad  KorQuAD 1.0 dev; the passages of dev, of the pre-release and of TyDi QA Korean are the documents
  klue     KLUE-MRC (Wikipedia), every tenth article; its passages and those of the part "korquad"
  long     texts of pasted passages: all windows read against the best ones (of 6 questions 2 have no answer)

For each question of the first two parts three things are read: the passage given with it (``Reader.read``),
the ten best passages of the index (``Reader.ask``), and the ten best after its own passage was removed. There
the right answer is "not in the documents"; an answer that equals the reference because another passage has
it, too, is left out. --every 10 asks every tenth question.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks.machine import describe
from benchmarks.report import table
from komrc.asking import DocumentAnswer, answers_from
from komrc.data import load_squad
from komrc.documents.document import Document
from komrc.index import Index
from komrc.metrics import korquad, retrieval
from komrc.reader import Reader
from komrc.types import Example

DEV, PRE, TYDI, KLUE = (
    "korquad/KorQuAD_v1.0_dev.json",
    "korquad/KorQuAD_v1.0_prerelease-2018-09.json",
    "tydiqa_ko/train.json",
    "klue_mrc_wiki/train.json",
)
PASSAGES = 10
EVERY_ARTICLE = 10  # of KLUE: the articles that the embedded model was not trained with
LONG = (50_000, 200_000)


@dataclass(slots=True)
class Counts:
    """What was counted over the questions of a part."""

    questions: int = 0
    given: tuple[float, float] = (0.0, 0.0)  # EM, F1
    forced: float = 0.0  # EM of the best span
    open: tuple[float, float] = (0.0, 0.0)
    removed: int = 0
    refused: int = 0


def documents(data: Path, files: Sequence[str]) -> tuple[list[Document], dict[str, str]]:
    """Each distinct passage as a document; and the document of each passage."""
    ids: dict[str, str] = {}
    found = []
    for file in files:
        for example in load_squad(data / file, skip_invalid=True):
            if example.context not in ids:
                ids[example.context] = f"passage {len(ids)}"
                name = ids[example.context]
                found.append(Document(name, example.title, example.context, (), name))
    return found, ids


def klue_examples(data: Path) -> list[Example]:
    titles: dict[str, int] = {}
    chosen = []
    for example in load_squad(data / KLUE, skip_invalid=True):
        number = titles.setdefault(example.title, len(titles))
        if number % EVERY_ARTICLE == 0 and example.answers:
            chosen.append(example)
    return chosen


def margin(answers: Sequence[DocumentAnswer]) -> float:
    """Log of the best span's probability over that of "not in the documents"."""
    empty = next((a.score for a in answers if not a.text), 1e-300)
    best = next((a.score for a in answers if a.text), 1e-300)
    return math.log(max(best, 1e-300)) - math.log(max(empty, 1e-300))


def ask_all(reader: Reader, index: Index, examples: Sequence[Example], ids: dict[str, str]) -> None:
    counts, seconds = Counts(), []
    found: dict[str, list[str]] = {}
    right, wrong = [], []  # margins
    for number, example in enumerate(examples):
        golds = [gold.text for gold in example.answers]
        (given,) = reader.read_examples([example], allow_no_answer=False)
        began = time.perf_counter()
        hits = index.search(example.question, top_k=PASSAGES)
        answers = answers_from(reader, example.question, hits, top_k=20)
        seconds.append(time.perf_counter() - began)
        found[example.id] = [hit.passage.text for hit in hits]
        forced = next((answer.text for answer in answers if answer.text), "")
        own = ids[example.context]
        others = [hit for hit in index.search(example.question, 3 * PASSAGES) if hit.passage.document != own]
        without = answers_from(reader, example.question, others[:PASSAGES], top_k=20)
        counts.questions += 1
        counts.given = add(counts.given, korquad.best(given.text, golds))
        counts.open = add(counts.open, korquad.best(answers[0].text, golds))
        counts.forced += korquad.best(forced, golds)[0]
        if korquad.best(forced, golds)[0]:
            right.append(margin(answers))
        if not korquad.best(next((a.text for a in without if a.text), ""), golds)[0]:
            counts.removed += 1
            counts.refused += not without[0].text
            wrong.append(margin(without))
        print(f"\r{number + 1} of {len(examples)}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    report(counts, retrieval.score(found, examples), right, wrong, seconds)


def add(sums: tuple[float, float], scores: tuple[bool, float]) -> tuple[float, float]:
    return sums[0] + scores[0], sums[1] + scores[1]


def report(
    counts: Counts,
    search: dict[str, float],
    right: Sequence[float],
    wrong: Sequence[float],
    seconds: Sequence[float],
) -> None:
    total = counts.questions

    def share(value: float) -> str:
        return f"{100 * value / total:.1f}"

    limit = sorted(right)[int(0.05 * len(right))] if right else 0.0
    rows = [
        ["questions", f"{total}"],
        ["passage given, EM / F1", f"{share(counts.given[0])} / {share(counts.given[1])}"],
        *([name, f"{value:.1f}"] for name, value in search.items()),
        ["index, EM / F1", f"{share(counts.open[0])} / {share(counts.open[1])}"],
        ["index, best span, EM", share(counts.forced)],
        ["EM kept with 'not in the documents'", f"{100 * counts.open[0] / max(1, counts.forced):.1f} %"],
        ["passage removed: questions", f"{counts.removed}"],
        ["passage removed: 'not in the documents'", f"{100 * counts.refused / max(1, counts.removed):.1f} %"],
        [
            "the same if 95 % of the EM is kept",
            f"{100 * sum(m < limit for m in wrong) / max(1, len(wrong)):.1f} %",
        ],
        ["seconds a question, median", f"{median(seconds):.2f}"],
    ]
    print(table(["", ""], rows))


def long_texts(reader: Reader, data: Path, count: int) -> None:
    """Equal answers and times of the two ways to read long texts."""
    examples = [e for i, e in enumerate(load_squad(data / PRE)) if e.answers and i % 16 == 0]
    pool = list(dict.fromkeys(e.context for e in load_squad(data / PRE) + klue_examples(data)))
    for size in LONG:
        draw = random.Random(size)
        equal = 0
        times: tuple[list[float], list[float]] = ([], [])
        for number, example in enumerate(draw.sample(examples, count)):
            text = pasted(draw, pool, example, size, absent=number % 6 >= 4)
            answers = []
            for exhaustive in (False, True):
                began = time.perf_counter()
                (answer,) = reader.read(example.question, text, exhaustive=exhaustive)
                times[exhaustive].append(time.perf_counter() - began)
                answers.append((answer.text, answer.start))
            equal += answers[0] == answers[1]
            print(f"\r{number + 1} of {count}", end="", file=sys.stderr, flush=True)
        print(file=sys.stderr)
        print(
            f"{size:,} characters: {equal} of {count} answers equal; "
            f"{median(times[0]):.2f} s against {median(times[1]):.2f} s at the median"
        )


def pasted(draw: random.Random, pool: Sequence[str], example: Example, size: int, *, absent: bool) -> str:
    """A text of about ``size`` characters of passages, with or without that of the example."""
    others = [text for text in pool if text != example.context]
    draw.shuffle(others)

    def filling() -> Iterator[str]:
        rest = size - len(example.context)
        for text in others:
            rest -= len(text) + 1
            if rest < 0:
                return
            yield text

    chosen = list(filling())
    if not absent:
        chosen.insert(draw.randrange(len(chosen) + 1), example.context)
    return "\n".join(chosen)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--data", type=Path, required=True, help="folder with korquad, tydiqa_ko, klue_mrc_wiki"
    )
    parser.add_argument("--part", choices=("korquad", "klue", "long"), action="append")
    parser.add_argument("--every", type=int, default=10, metavar="N", help="ask every N-th question")
    parser.add_argument("--long-questions", type=int, default=30, metavar="N", help="of the part long")
    args = parser.parse_args()
    print(json.dumps(describe(), ensure_ascii=False))
    reader = Reader.load()
    for part in args.part or ("korquad", "klue", "long"):
        if part == "long":
            long_texts(reader, args.data, args.long_questions)
            continue
        files = (DEV, PRE, TYDI) if part == "korquad" else (DEV, PRE, TYDI, KLUE)
        found, ids = documents(args.data, files)
        examples = load_squad(args.data / DEV) if part == "korquad" else klue_examples(args.data)
        print(f"{part}: {len(found):,} passages, every {args.every}th of {len(examples):,} questions")
        ask_all(reader, Index.of_documents(found), examples[:: args.every], ids)


if __name__ == "__main__":
    main()
