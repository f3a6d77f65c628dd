"""How the constant NO_ANSWER of ``komrc.asking`` is chosen for a model: what each value keeps and refuses.

    python recipes/komrc-small/fit_asking.py --model src/komrc/resources/model --every 3 \\
      --data work/data/development.json work/data/klue-dev.json work/data/everyday-dev.json \\
      --documents work/data/korean.json work/data/klue.json work/data/everyday-all.json

The contexts of all files are the documents. Each development question (every N-th) is asked twice: with all
documents, and without its own. "Kept" is the share of the right answers that are given although "not in
the documents" is allowed; "refused" the share of questions without their document that get this answer
(those that another document answers rightly are left out). The constant is written into ``asking.py`` by
hand.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from komrc import asking
from komrc.data import load_squad
from komrc.documents.document import Document
from komrc.index import Hit, Index
from komrc.metrics import korquad
from komrc.reader import Reader
from komrc.types import Example

KEPT = (0.97, 0.95, 0.9)


def margin(reader: Reader, example: Example, hits: Sequence[Hit]) -> tuple[float, bool]:
    """The best span's logit less that of "not in the documents" without NO_ANSWER; whether it is right."""
    top = max(hit.score for hit in hits)
    readings = asking.read_passages(
        reader, example.question, hits, [asking.PRIOR * hit.score / top for hit in hits]
    )
    best = max(readings, key=lambda reading: reading.best)
    if not best.spans:
        return -np.inf, False
    golds = [gold.text for gold in example.answers]
    right = korquad.best(best.spans[0][0].text, golds)[0]
    no_answer = asking.no_answer_logit(example.question, readings) - asking.NO_ANSWER
    return best.best - no_answer, right


def measure(
    reader: Reader, index: Index, names: dict[str, str], examples: list[Example]
) -> NDArray[np.float64]:
    """Margin and whether it is right, with the example's document and without it: [N, 4]."""
    rows = []
    for example in examples:
        hits = index.search(example.question, top_k=asking.PASSAGES + 5)
        others = [hit for hit in hits if hit.passage.document != names[example.context]]
        if others:
            with_all = margin(reader, example, hits[: asking.PASSAGES])
            rows.append((*with_all, *margin(reader, example, others[: asking.PASSAGES])))
    return np.array(rows)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, required=True, help="the model to fit for")
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="development files")
    parser.add_argument("--documents", type=Path, nargs="+", required=True, help="files with other passages")
    parser.add_argument("--every", type=int, default=1, help="ask every N-th question (default: 1)")
    args = parser.parse_args()
    sets = {path: load_squad(path) for path in args.data}
    names: dict[str, str] = {}
    documents = []
    for example in [e for path in (*args.data, *args.documents) for e in load_squad(path)]:
        if example.context not in names:
            names[example.context] = str(len(names))
            documents.append(Document(names[example.context], example.title, example.context, (), ""))
    index, reader = Index.of_documents(documents), Reader.load(args.model)
    print(f"{len(documents)} documents", file=sys.stderr)
    rows = {
        path: measure(reader, index, names, [e for e in examples if e.answers][:: args.every])
        for path, examples in sets.items()
    }
    everything = np.concatenate(list(rows.values()))
    right = everything[everything[:, 1] > 0, 0]
    for share in KEPT:
        value = float(np.quantile(right, 1 - share))
        print(f"NO_ANSWER {value:.2f} keeps {100 * share:.0f} % of all right answers")
        for path, part in rows.items():
            gone = part[part[:, 3] == 0, 2]
            kept = 100 * np.mean(part[part[:, 1] > 0, 0] >= value)
            print(
                f"  {path.name}: {len(part)} questions, EM {100 * part[:, 1].mean():.1f}, "
                f"kept {kept:.1f} %, refused {100 * np.mean(gone < value):.1f} %"
            )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
