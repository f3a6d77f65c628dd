"""Answers in whole HTML pages: the page's passages that share the most with the question are read together.

One probability over the spans of all passages that are read, as ``komrc.asking`` has it for the passages of
an index. With the logit ``l`` of a span and ``n`` of "no answer" in its passage, the temperature ``T`` of the
model and the score ``b`` of the passage in the search as a share of the best one's:

    P(span) = exp((l - NO_ANSWER * n) / T + PRIOR * b) / Z

A reader that was trained on pages finds whole blocks by their markers (``komrc.html.whole_blocks``); another
one reads the page without markers and finds spans only.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from komrc.errors import check_whole_number
from komrc.html import HtmlAnswer, HtmlView
from komrc.html.passages import PagePassage, page_passages
from komrc.html.whole_blocks import from_label, to_label
from komrc.index.bigrams import bigrams
from komrc.long_texts import question_scores
from komrc.reader import Prediction, Reader
from komrc.types import Answer, Example, Span

PASSAGES = 8  # of a page that are read for a question
PRIOR = 6.0
NO_ANSWER = 0.0
_SPANS = 5  # of a passage, so that one outside of its prefix is among them


@dataclass(frozen=True, slots=True)
class PagePrediction:
    """What was read for one question.

    ``answer`` has offsets in the HTML; it is the empty one only where the page shows no text. ``passages``
    are those that were read, the best of the search first.
    """

    id: str
    answer: HtmlAnswer
    passages: tuple[PagePassage, ...]
    view: HtmlView

    def has_read(self, html_start: int, html_end: int) -> bool:
        """Whether one of the passages holds what is taught for the answer ``html[html_start:html_end]``."""
        label = to_label(self.view, html_start, html_end)
        return label is not None and any(passage.holds(*label) for passage in self.passages)


class PageReader:
    """Answers questions about HTML pages.

    Args:
        reader: any reader. Its setting ``html_markers`` says whether it was trained on pages.
        passages: of a page that are read for a question, at most.
        exhaustive: read all of them.

    Raises UsageError for a number of passages below 1.
    """

    def __init__(self, reader: Reader, *, passages: int = PASSAGES, exhaustive: bool = False) -> None:
        check_whole_number(passages, "passages")
        self.reader = reader
        self.passages = passages
        self.exhaustive = exhaustive

    def read(self, html: str, examples: Sequence[Example]) -> list[PagePrediction]:
        """The best answer to each question about a page; the examples' own contexts are not read.

        Raises InputError for an empty question or one that is not text.
        """
        view = HtmlView(html)
        passages = page_passages(view, self.reader.tokenizer, self.reader.config.windows)
        if not passages:
            return [PagePrediction(example.id, HtmlAnswer("", 0, 0, 0.0), (), view) for example in examples]
        counts = [Counter(bigrams(passage.context)) for passage in passages]
        chosen = [self._choose(example.question, counts) for example in examples]
        read = self.reader.read_examples(
            [
                Example(example.id, example.question, passages[number].context)
                for example, (numbers, _) in zip(examples, chosen, strict=True)
                for number in numbers
            ],
            top_k=_SPANS,
            allow_no_answer=True,
        )
        predictions, begin = [], 0
        for example, (numbers, shares) in zip(examples, chosen, strict=True):
            own = [passages[number] for number in numbers]
            answer = self._best(view, own, shares, read[begin : begin + len(own)])
            predictions.append(PagePrediction(example.id, answer, tuple(own), view))
            begin += len(own)
        return predictions

    def _choose(self, question: str, counts: Sequence[Counter[str]]) -> tuple[list[int], list[float]]:
        """The passages to read, and the score of each as a share of the best one's, best first."""
        scores = question_scores(question, counts)
        best = scores.max()
        shares = scores / best if best > 0 else np.ones(len(counts))
        order = np.argsort(-shares, kind="stable")
        if not self.exhaustive:
            order = order[: self.passages]
        return order.tolist(), shares[order].tolist()

    def _best(
        self,
        view: HtmlView,
        passages: Sequence[PagePassage],
        shares: Sequence[float],
        predictions: Sequence[Prediction],
    ) -> HtmlAnswer:
        spans: list[tuple[float, Answer, PagePassage]] = []
        totals = []
        for passage, share, prediction in zip(passages, shares, predictions, strict=True):
            total, no_answer = _normaliser(prediction, self.reader.config.decoding.temperature)
            prior = PRIOR * share - NO_ANSWER * no_answer
            totals.append(total + prior)
            spans += [
                (total + prior + math.log(answer.score), answer, passage)
                for answer in prediction.answers
                if answer.text and answer.score > 0 and passage.to_view(answer.start, answer.end)
            ]
        if not spans:
            return HtmlAnswer("", 0, 0, 0.0)
        logit, answer, passage = max(spans, key=lambda span: span[0])
        return _in_page(view, passage, answer, min(1.0, math.exp(logit - _log_sum(totals))))


def _normaliser(prediction: Prediction, temperature: float) -> tuple[float, float]:
    """Log of the sum over all spans and "no answer" of a passage, and the logit of "no answer"; at the
    temperature."""
    best = max(prediction.candidates, key=lambda candidate: candidate.score)
    empty = next(candidate for candidate in prediction.candidates if candidate.start == candidate.end)
    return best.logit / temperature - math.log(best.score), empty.logit / temperature


def _log_sum(values: Iterable[float]) -> float:
    return float(np.logaddexp.reduce(list(values)))


def _in_page(view: HtmlView, passage: PagePassage, answer: Answer, score: float) -> HtmlAnswer:
    place = passage.to_view(answer.start, answer.end)
    assert place is not None
    start, end = from_label(view, *place)
    shown = view.from_html(start, end)
    untrimmed = None
    if answer.untrimmed is not None:
        wider = passage.to_view(answer.untrimmed.start, answer.untrimmed.end)
        untrimmed = Span(*from_label(view, *wider)) if wider else None
    plain = view.plain[slice(*shown)].strip() if shown else ""
    return HtmlAnswer(view.html[start:end], start, end, score, untrimmed, plain)
