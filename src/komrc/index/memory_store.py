"""A store in memory, for one long text or a few documents: NumPy only, built once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from komrc.index.passages import Passage
from komrc.index.store import K1, B, CutDocument, Hit, StoreInfo


class MemoryStore:
    """Implements ``Store``. Scores are those of Lucene's BM25 with exact lengths."""

    def __init__(self, documents: Iterable[CutDocument]) -> None:
        self._texts: dict[str, str] = {}
        self._passages: list[Passage] = []
        numbers: defaultdict[str, int] = defaultdict()
        numbers.default_factory = numbers.__len__
        terms: list[int] = []
        lengths: list[int] = []
        for document in documents:
            self._texts[document.id] = document.text
            for passage in document.passages:
                self._passages.append(replace(passage, id=len(self._passages)))
                before = len(terms)
                terms.extend(map(numbers.__getitem__, passage.terms()))
                lengths.append(len(terms) - before)
        numbers.default_factory = None
        self._numbers: dict[str, int] = numbers
        self._weigh(np.array(terms, np.int64), np.array(lengths, np.int64))

    def _weigh(self, terms: NDArray[np.int64], lengths: NDArray[np.int64]) -> None:
        """Keep for each term the passages that contain it, each with the term's score there."""
        passage_of = np.repeat(np.arange(len(lengths)), lengths)
        pairs, counts = np.unique(terms * max(1, len(lengths)) + passage_of, return_counts=True)
        term, self._posting = np.divmod(pairs, max(1, len(lengths)))
        self._begin = np.searchsorted(term, np.arange(len(self._numbers) + 1))
        with_term = np.diff(self._begin)
        idf = np.log1p((len(lengths) - with_term + 0.5) / (with_term + 0.5))
        mean = lengths.mean() if lengths.size else 1.0
        norm = K1 * (1 - B + B * lengths / max(mean, 1.0))
        self._weight = (idf[term] * counts * (K1 + 1) / (counts + norm[self._posting])).astype(np.float32)

    def search(self, terms: Sequence[str], top_k: int) -> list[Hit]:
        """See ``Store``."""
        scores = np.zeros(len(self._passages), np.float32)
        for term in set(terms):
            if (number := self._numbers.get(term)) is not None:
                part = slice(self._begin[number], self._begin[number + 1])
                scores[self._posting[part]] += self._weight[part]
        best = np.argsort(-scores, kind="stable")[:top_k]
        return [Hit(self._passages[number], float(scores[number])) for number in best if scores[number] > 0]

    def document_text(self, document: str) -> str:
        """See ``Store``."""
        return self._texts[document]

    def info(self) -> StoreInfo:
        """See ``Store``."""
        return StoreInfo(
            files=0,
            documents=len(self._texts),
            passages=len(self._passages),
            characters=sum(map(len, self._texts.values())),
            size=self._weight.nbytes + self._posting.nbytes,
        )

    def close(self) -> None:
        """See ``Store``."""
