"""What KorQuAD 2 data looks like, page by page."""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from pathlib import Path

from komrc.data.korquad2 import PageScan, files_of
from komrc.data.read import Counts
from komrc.errors import DataError, Problem
from komrc.progress import showing
from komrc.report.dataset_stats import Lengths, lengths_of


@dataclass(frozen=True, slots=True)
class PageStatistics:
    """Findings, counts, and lengths in characters of HTML (None if there is nothing to measure).

    ``with_tags`` counts answers that have a tag.
    """

    problems: tuple[Problem, ...]
    counts: Counts
    left_out: tuple[str, ...]
    context: Lengths | None
    question: Lengths | None
    answer: Lengths | None
    with_tags: int


def describe_pages(path: Path) -> PageStatistics:
    """Check and measure data in a stream; progress on stderr. Raises StorageError.

    A file that can't be read to its end is a finding.
    """
    contexts, questions, answers = array("Q"), array("Q"), array("Q")
    with_tags = read = 0
    problems: list[Problem] = []
    scan = PageScan(path, check_raw_html=True)
    try:
        total = sum(file.size for file in files_of(path)) or 1
        with showing(total=1, what="checking") as advance:

            def add(size: int) -> None:
                nonlocal read
                read += size
                advance(min(read / total, 1.0))

            scan.on_bytes = add
            for page in scan:
                contexts.append(len(page.context))
                for example in page.examples:
                    questions.append(len(example.question))
                    for gold in example.answers:
                        answers.append(len(gold.text))
                        with_tags += "<" in gold.text
    except DataError as error:
        problems = [Problem(error.where or "$", error.what, error.fix or "correct it")]
    return PageStatistics(
        problems=(*scan.problems, *problems),
        counts=scan.counts,
        left_out=tuple(scan.left_out),
        context=lengths_of(contexts),
        question=lengths_of(questions),
        answer=lengths_of(answers),
        with_tags=with_tags,
    )
