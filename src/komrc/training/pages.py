"""KorQuAD 2 data to train on: passages of the pages, with and without the answer.

A page has dozens of passages, and nearly all of them don't hold the answer. So of each question there are
the passage that holds it, and a few of the others: the best ones of the search for the question, which are
those that the reader will read, and one at random.
"""

from __future__ import annotations

import hashlib
import logging
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from komrc.config import WindowConfig
from komrc.data import Needs, load_korquad2
from komrc.data.korquad2 import Page, files_of
from komrc.errors import DataError
from komrc.html import HtmlView
from komrc.html.passages import PagePassage, page_passages
from komrc.html.whole_blocks import to_label
from komrc.index.bigrams import bigrams
from komrc.long_texts import question_scores
from komrc.tokenization import ReaderTokenizer
from komrc.types import Example, Gold

logger = logging.getLogger(__name__)

FOUND = 2  # without the answer, the best of the search
RANDOM = 1  # without the answer


def page_examples(
    path: Path, tokenizer: ReaderTokenizer, config: WindowConfig, *, needs: Needs, skip_invalid: bool
) -> list[Example]:
    """The passages of all questions as examples, in the order of the data; the same in every run.

    The pages are read one at a time; only the passages that are trained on are kept. An example's id is that
    of its question with "#" and the passage's number in its page. An answer that a page shows nothing of is
    left out, and how many are is logged. Raises DataError, StorageError; see ``load_korquad2``.
    """
    examples: list[Example] = []
    questions = unseen = 0
    for page in load_korquad2(path, needs=needs, skip_invalid=skip_invalid):
        before = len(examples)
        examples += _of_page(page, tokenizer, config)
        asked = {example.id.rpartition("#")[0] for example in examples[before:]}
        questions += len(page.examples)
        unseen += len(page.examples) - len(asked)
    if unseen:
        logger.warning("%s: %d of %d answers are in no text of their page", path, unseen, questions)
    if not examples:
        raise DataError(
            "has no answer in the text of a page", where=str(path), fix="check it with komrc data lint"
        )
    logger.info("%s: %d passages for %d questions", path, len(examples), questions - unseen)
    return examples


def pages_sha256(path: Path) -> str:
    """Hash of the JSON files of a path, in the order in which they are read."""
    digest = hashlib.sha256()
    for file in files_of(path):
        with file.open() as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def _of_page(page: Page, tokenizer: ReaderTokenizer, config: WindowConfig) -> Iterator[Example]:
    if not page.examples:
        return
    view = HtmlView(page.context)
    passages = page_passages(view, tokenizer, config)
    counts = [Counter(bigrams(passage.context)) for passage in passages]
    for example in page.examples:
        gold = example.answers[0]
        label = to_label(view, gold.start, gold.end)
        if label is None:
            continue
        holding = [number for number, passage in enumerate(passages) if passage.holds(*label)]
        if not holding:  # longer than a passage: what is in them is no answer, and no negative either
            continue
        scores = question_scores(example.question, counts)
        best = max(holding, key=lambda number: scores[number])  # neighbouring passages overlap
        yield _example(example, passages[best], best, label)
        text = view.text[slice(*label)]  # a marker, or one character, says nothing about a passage
        others = [
            number
            for number, passage in enumerate(passages)
            if number not in holding and (len(text) == 1 or text not in passage.text)
        ]
        others.sort(key=lambda number: -scores[number])
        for number in [*others[:FOUND], *_sample(others[FOUND:], RANDOM, example.id)]:
            yield _example(example, passages[number], number, None)


def _sample(numbers: Sequence[int], count: int, question_id: str) -> list[int]:
    """Some of the numbers, the same ones for the same question."""
    random = np.random.default_rng(zlib.crc32(question_id.encode("utf-8", "replace")))
    return random.choice(numbers, min(count, len(numbers)), replace=False).tolist() if numbers else []


def _example(example: Example, passage: PagePassage, number: int, label: tuple[int, int] | None) -> Example:
    golds: tuple[Gold, ...] = ()
    if label is not None:
        start, end = (place - passage.start for place in label)
        golds = (Gold(passage.text[start:end], len(passage.prefix) + start),)
    return Example(
        f"{example.id}#{number}", example.question, passage.context, golds, label is None, example.title
    )
