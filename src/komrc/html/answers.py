"""Answers found in the text of a page, as ranges of its HTML."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from komrc.html.view import HtmlView
from komrc.types import Answer, Span


@dataclass(frozen=True, slots=True)
class HtmlAnswer(Answer):
    """An answer in a page: ``text == html[start:end]``, which cuts no element; ``plain_text`` is what a
    person reads there.
    """

    plain_text: str = ""

    def to_dict(self) -> dict[str, Any]:
        """As of an answer in a text, with ``plain_text``."""
        return {**Answer.to_dict(self), "plain_text": self.plain_text}


def html_answer(view: HtmlView, answer: Answer) -> HtmlAnswer:
    """An answer in ``view.plain`` as one in ``view.html``; no answer stays the empty one."""
    if answer.start == answer.end:
        return HtmlAnswer(answer.text, answer.start, answer.end, answer.score)
    start, end = view.to_html(answer.start, answer.end)
    untrimmed = answer.untrimmed and Span(*view.to_html(answer.untrimmed.start, answer.untrimmed.end))
    return HtmlAnswer(view.html[start:end], start, end, answer.score, untrimmed, answer.text)
