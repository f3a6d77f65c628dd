"""Questions beside passages that do not answer them, so that a reader learns to say so.

For each question of the training files one passage is drawn from its candidates: the other paragraphs of
its article, and the nearest passages of all files by BM25 over character bigrams. A passage that contains
one of the question's reference answers is not a candidate. The result is a SQuAD 2.0 file with
``is_impossible`` questions.

    python recipes/komrc-small/negatives.py --data work/data/korean.json work/data/klue.json \\
      --share 0.5 --output work/data/negatives.json
"""

from __future__ import annotations

import argparse
import json
import math
import random
import sys
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from komrc.storage import write_json

NEAREST = 5
SEED = 1
K1, B = 1.2, 0.75  # the usual BM25 constants (Robertson and Zaragoza 2009, section 3.4)

Question = dict[str, Any]


# The search of KoMRC (komrc.index) has more kinds of terms. Here the terms stay those with which the training
# files of the embedded model were made, so that the recipe writes the same files.
def bigrams(text: str) -> list[str]:
    """Pairs of neighbouring characters inside each word; a word of one character is taken whole."""
    return [word[i : i + 2] for word in text.lower().split() for i in range(max(1, len(word) - 1))]


class Bm25:
    """BM25 over character bigrams of a fixed list of passages."""

    def __init__(self, passages: Sequence[str]) -> None:
        counts = [Counter(bigrams(passage)) for passage in passages]
        sizes = np.array([sum(count.values()) for count in counts], np.float32)
        norm = K1 * (1 - B + B * sizes / sizes.mean())
        postings: dict[str, list[tuple[int, int]]] = defaultdict(list)
        for number, count in enumerate(counts):
            for gram, times in count.items():
                postings[gram].append((number, times))
        self._size = len(passages)
        self._postings: dict[str, tuple[NDArray[np.int64], NDArray[np.float32]]] = {}
        for gram, entries in postings.items():
            number = np.array([n for n, _ in entries])
            times = np.array([t for _, t in entries], np.float32)
            idf = math.log(1 + (self._size - len(entries) + 0.5) / (len(entries) + 0.5))
            self._postings[gram] = number, idf * times * (K1 + 1) / (times + norm[number])

    def nearest(self, question: str, count: int) -> list[int]:
        """Numbers of the passages with the highest scores, best first."""
        scores = np.zeros(self._size, np.float32)
        for gram in set(bigrams(question)):
            if gram in self._postings:
                number, score = self._postings[gram]
                scores[number] += score
        best = np.argpartition(-scores, min(count, self._size - 1))[:count]
        return [int(n) for n in best[np.argsort(-scores[best], kind="stable")]]


def holds(passage: str, answers: Sequence[str]) -> bool:
    """Whether the passage contains one of the answers, spaces aside."""
    bare = "".join(passage.split())
    return any("".join(answer.split()) in bare for answer in answers)


def negatives(
    articles: list[dict[str, Any]], *, share: float, nearest: int, seed: int
) -> list[dict[str, Any]]:
    """Articles of one passage each with its unanswerable questions, for this share of the questions."""
    passages: list[str] = []
    article_of: list[int] = []
    questions: list[tuple[int, Question]] = []
    for a, article in enumerate(articles):
        for paragraph in article["paragraphs"]:
            questions += [(len(passages), qa) for qa in paragraph["qas"] if not qa.get("is_impossible")]
            passages.append(paragraph["context"])
            article_of.append(a)
    siblings: dict[int, list[int]] = defaultdict(list)
    for number, a in enumerate(article_of):
        siblings[a].append(number)
    index = Bm25(passages)
    draw = random.Random(seed)
    asked: dict[int, list[Question]] = defaultdict(list)
    for home, qa in draw.sample(questions, round(share * len(questions))):
        answers = [answer["text"] for answer in qa["answers"]]
        found = index.nearest(qa["question"], nearest + 1)
        pool = [n for n in dict.fromkeys([*found, *siblings[article_of[home]]]) if n != home]
        pool = [n for n in pool if not holds(passages[n], answers)]
        if pool:
            entry = {"id": f"no-{qa['id']}", "question": qa["question"], "answers": [], "is_impossible": True}
            asked[draw.choice(pool)].append(entry)
    return [
        {
            "title": articles[article_of[number]].get("title", ""),
            "paragraphs": [{"context": passages[number], "qas": qas}],
        }
        for number, qas in sorted(asked.items())
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="SQuAD-shaped training files")
    parser.add_argument(
        "--share", type=float, default=1.0, help="share of the questions, 0 to 1 (default: 1)"
    )
    parser.add_argument("--nearest", type=int, default=NEAREST, help=f"passages by BM25 (default: {NEAREST})")
    parser.add_argument("--seed", type=int, default=SEED, help=f"seed of the draw (default: {SEED})")
    parser.add_argument("--output", type=Path, required=True, help="file to write")
    args = parser.parse_args()
    articles = [a for file in args.data for a in json.loads(file.read_text(encoding="utf-8"))["data"]]
    result = negatives(articles, share=args.share, nearest=args.nearest, seed=args.seed)
    write_json(args.output, {"version": "komrc-small negatives", "data": result}, indent=None)
    questions = sum(len(p["qas"]) for a in result for p in a["paragraphs"])
    print(f"{args.output}: {questions} questions", file=sys.stderr)


if __name__ == "__main__":
    main()
