"""The figures of docs/results/korquad2.md: a reader of pages beside one that strips the tags.

    python -m benchmarks.pages plain-data data/pages/train.json plain.json
    python -m benchmarks.pages score data/pages/test.json --model models/embedded-pages
    python -m benchmarks.pages score data/pages/test.json --model models/embedded-plain --plain

``plain-data`` writes what the second reader is trained on, in the layout of KorQuAD 1.0: each page without
its tags, with the place of the answer there. ``--plain`` reads pages in this way, all windows of each.
"""

from __future__ import annotations

import argparse
import html
import json
import re
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from komrc.data import Page, load_korquad2
from komrc.metrics import korquad2
from komrc.page_reader import PageReader
from komrc.progress import showing
from komrc.reader import Reader
from komrc.types import Example

_TAG = re.compile(r"<[^>]*>")


def stripped(text: str) -> str:
    """HTML without its tags, as most public code for KorQuAD 2 does it."""
    return html.unescape(_TAG.sub(" ", text))


def plain_data(source: Path, target: Path) -> None:
    """Write pages without tags in the layout of KorQuAD 1.0."""
    articles = []
    for page in load_korquad2(source):
        text, qas = stripped(page.context), []
        for example in page.examples:
            (gold,) = example.answers
            start, answer = len(stripped(page.context[: gold.start])), stripped(gold.text)
            start += len(answer) - len(answer.lstrip())
            answer = answer.strip()
            if text[start : start + len(answer)] == answer:
                answers = [{"text": answer, "answer_start": start}]
                qas.append({"id": example.id, "question": example.question, "answers": answers})
        articles.append({"title": page.title, "paragraphs": [{"context": text, "qas": qas}]})
    target.write_text(json.dumps({"version": "", "data": articles}, ensure_ascii=False), encoding="utf-8")
    kept = sum(len(article["paragraphs"][0]["qas"]) for article in articles)
    print(f"{target}: {len(articles)} pages, {kept} questions", file=sys.stderr)


def answers(page: Page, reader: Reader, *, plain: bool, exhaustive: bool) -> Iterator[tuple[str, bool]]:
    """The answer to each question of a page, and whether a passage with the right one was read."""
    for example in page.examples:  # one at a time, since the time of each counts
        (gold,) = example.answers
        if plain:
            asked = Example(example.id, example.question, stripped(page.context))
            (read,) = reader.read_examples([asked], allow_no_answer=False, exhaustive=True)
            yield read.text, True
        else:
            (found,) = PageReader(reader, exhaustive=exhaustive).read(page.context, [example])
            yield found.answer.text, found.has_read(gold.start, gold.end)


def score(source: Path, reader: Reader, *, plain: bool, exhaustive: bool) -> dict[str, Any]:
    """EM, F1 and the share of the questions whose passage was read, by kind of answer; seconds a question."""
    data = json.loads(source.read_text(encoding="utf-8"))["data"]
    kinds = {qa["id"]: qa.get("kind", "") for page in data for qa in page["qas"]}
    rows: dict[str, list[tuple[float, float, float]]] = defaultdict(list)
    seconds = []
    with showing(total=len(kinds), what="reading") as advance:
        for page in load_korquad2(source):
            read = answers(page, reader, plain=plain, exhaustive=exhaustive)
            for example in page.examples:
                begin = time.perf_counter()
                text, found = next(read)
                seconds.append(time.perf_counter() - begin)
                gold = example.answers[0].text
                row = (korquad2.exact_match(text, gold), korquad2.f1(text, gold), found)
                for kind in (kinds[example.id], "all"):
                    rows[kind].append(row)
                advance(len(seconds))
    figures = {
        kind: {"questions": len(of_kind)}
        | {
            name: round(100 * sum(values) / len(of_kind), 1)
            for name, values in zip(("em", "f1", "read"), zip(*of_kind, strict=True), strict=True)
        }
        for kind, of_kind in rows.items()
    }
    return {
        "kinds": figures,
        "p50_seconds": round(statistics.median(seconds), 3),
        "engine": reader.engine.name,
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Run one of the two commands; the figures are JSON on stdout."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True)
    data = commands.add_parser("plain-data")
    data.add_argument("source", type=Path)
    data.add_argument("target", type=Path)
    data.set_defaults(run=lambda args: plain_data(args.source, args.target))
    scores = commands.add_parser("score")
    scores.add_argument("source", type=Path)
    scores.add_argument("--model")
    scores.add_argument("--engine", default="auto")
    scores.add_argument("--plain", action="store_true")
    scores.add_argument("--exhaustive", action="store_true")
    scores.set_defaults(run=_score)
    args = parser.parse_args(argv)
    args.run(args)
    return 0


def _score(args: argparse.Namespace) -> None:
    reader = Reader.load(args.model, engine=args.engine)
    figures = score(args.source, reader, plain=args.plain, exhaustive=args.exhaustive)
    print(json.dumps(figures, ensure_ascii=False))


if __name__ == "__main__":
    sys.exit(main())
