"""The questions of whole pages, in the layout of KorQuAD 2, read one page at a time."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from komrc.data import PREDICTING, load_korquad2
from komrc.page_reader import PageReader
from komrc.types import Example


@dataclass(frozen=True, slots=True)
class PageQuestions:
    """The validated questions of a run, in the order of the files. A context is the HTML of a page.

    ``sha256`` is the hash of all questions and pages. No id is repeated: that would be a problem of the data.
    """

    paths: tuple[Path, ...]
    skip_invalid: bool
    total: int
    sha256: str

    @classmethod
    def open(cls, paths: Sequence[Path], *, skip_invalid: bool = False) -> PageQuestions:
        """Read all pages once, to validate them. Raises DataError with every problem, StorageError."""
        digest = hashlib.sha256()
        total = 0
        for example in _examples(paths, skip_invalid=skip_invalid):
            for text in (example.id, example.question, example.context):
                raw = text.encode("utf-8")
                digest.update(len(raw).to_bytes(8, "little") + raw)
            total += 1
        return cls(tuple(paths), skip_invalid, total, digest.hexdigest())

    def examples(self, skip: int = 0) -> Iterator[Example]:
        """All questions after the first ``skip``. Only one page is in memory at a time."""
        for number, example in enumerate(_examples(self.paths, skip_invalid=self.skip_invalid)):
            if number >= skip:
                yield example


def page_records(reader: PageReader, examples: Iterator[Example]) -> Iterator[dict[str, Any]]:
    """A record for each question: id, text (HTML), start, end, score and plain_text of the answer."""
    for html, questions in groupby(examples, key=lambda example: example.context):
        for prediction in reader.read(html, list(questions)):
            yield {"id": prediction.id, **prediction.answer.to_dict()}


def _examples(paths: Sequence[Path], *, skip_invalid: bool) -> Iterator[Example]:
    one = paths[0] if len(paths) == 1 else list(paths)
    for page in load_korquad2(one, skip_invalid=skip_invalid, needs=PREDICTING):
        yield from page.examples
