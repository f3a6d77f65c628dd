"""How often the passage of a question is among the first that a search finds.

    python -m benchmarks.retrieval --questions prerelease --terms words pairs starts index
    python -m benchmarks.retrieval --questions dev --terms index --whole

Passages: ``prerelease`` and ``klue`` search those of the KorQuAD pre-release, TyDi QA and KLUE-MRC together;
``dev`` those of KorQuAD dev, the pre-release and TyDi QA (figures only, no choices). ``--whole`` searches
paragraphs as they are, else the passages of an index, where a paragraph counts as found if one of its
passages is. One JSON line for each kind of terms on stdout. Needs ../shared.
"""

from __future__ import annotations

import argparse
import json
import random
import unicodedata
from collections.abc import Callable
from pathlib import Path
from unittest import mock

from komrc.documents.document import Document
from komrc.index import passages as cutting
from komrc.index.bigrams import bigrams
from komrc.index.memory_store import MemoryStore
from komrc.index.updating import cut

DATA = Path(__file__).resolve().parents[2] / "shared/data"
FILES = {
    "dev": "korquad/KorQuAD_v1.0_dev.json",
    "prerelease": "korquad/KorQuAD_v1.0_prerelease-2018-09.json",
    "tydi": "tydiqa_ko/train.json",
    "klue": "klue_mrc_wiki/train.json",
}
SEED = 1


def words(text: str) -> list[str]:
    """Words between white space."""
    return unicodedata.normalize("NFKC", text).casefold().split()


def pairs(text: str) -> list[str]:
    """Pairs of neighbouring characters only."""
    return [term for term in bigrams(text) if term[0] != "^" and "+" not in term]


def starts(text: str) -> list[str]:
    """Pairs and the beginnings of words."""
    return [term for term in bigrams(text) if "+" not in term]


TERMS: dict[str, Callable[[str], list[str]]] = {
    "words": words, "pairs": pairs, "starts": starts, "index": bigrams
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--questions", choices=("prerelease", "klue", "dev"), default="prerelease")
    parser.add_argument("--terms", nargs="+", choices=sorted(TERMS), default=["index"])
    parser.add_argument("--limit", type=int, help="questions, chosen at random (default: all)")
    parser.add_argument("--whole", action="store_true", help="search whole paragraphs")
    parser.add_argument("--no-title", action="store_true", help="search without the article's title")
    args = parser.parse_args()
    names = ["dev", "prerelease", "tydi"] if args.questions == "dev" else ["prerelease", "tydi", "klue"]
    paragraphs: dict[str, str] = {}
    questions: list[tuple[str, str]] = []
    for name in names:
        for article in json.loads((DATA / FILES[name]).read_text(encoding="utf-8"))["data"]:
            for paragraph in article["paragraphs"]:
                paragraphs.setdefault(paragraph["context"], "" if args.no_title else article.get("title", ""))
                if name == args.questions:
                    questions += [(qa["question"], paragraph["context"]) for qa in paragraph["qas"]]
    if args.limit:
        questions = random.Random(SEED).sample(questions, args.limit)
    documents = [Document(text, title, text, (), "") for text, title in paragraphs.items()]
    for name in args.terms:
        with mock.patch.object(cutting, "bigrams", TERMS[name]):
            cut_documents = map(cut, documents)
            if args.whole:
                whole = {"size": 10**9, "overlap": 0}
                with mock.patch.dict(cutting.passages.__kwdefaults__, whole):
                    store = MemoryStore(list(cut_documents))
            else:
                store = MemoryStore(cut_documents)
        ranks = []
        for question, home in questions:
            found = [hit.passage.document for hit in store.search(TERMS[name](question), 10)]
            ranks.append(found.index(home) if home in found else 10)
        line: dict[str, object] = {
            "questions": f"{args.questions} {len(questions)}", "terms": name, "whole": args.whole,
            "title": not args.no_title, "paragraphs": len(documents), "passages": store.info().passages,
        }  # fmt: skip
        for k in (1, 5, 10):
            line[f"recall_{k}"] = round(100 * sum(rank < k for rank in ranks) / len(ranks), 1)
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
