"""Answers in a page's text as ranges of its HTML."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from komrc.html import HtmlView, html_answer
from komrc.types import NO_ANSWER, Answer, Span

HTML = "<p>길이는 <b>494&nbsp;<i>km</i></b>이다.</p><ul><li>북한강<li>남한강</ul>"


def answer(view: HtmlView, text: str, untrimmed: str | None = None) -> Answer:
    start = view.plain.index(text)
    span = Span(start, start + len(untrimmed)) if untrimmed else None
    return Answer(text, start, start + len(text), 0.5, span)


def test_the_slice_and_what_is_read_there() -> None:
    view = HtmlView(HTML)
    placed = html_answer(view, answer(view, "494\xa0km", "494\xa0km이다"))
    assert placed.text == HTML[placed.start : placed.end] == "494&nbsp;<i>km</i>"
    assert placed.untrimmed is not None
    assert HTML[placed.untrimmed.start : placed.untrimmed.end] == "<b>494&nbsp;<i>km</i></b>이다"
    assert placed.to_dict() == {
        "text": "494&nbsp;<i>km</i>",
        "start": placed.start,
        "end": placed.end,
        "score": 0.5,
        "untrimmed": [placed.untrimmed.start, placed.untrimmed.end],
        "plain_text": "494\xa0km",
    }


def test_no_answer_stays_empty() -> None:
    placed = html_answer(HtmlView(HTML), NO_ANSWER)
    assert (placed.text, placed.start, placed.end, placed.plain_text) == ("", 0, 0, "")


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_text_is_always_the_slice(data: st.DataObject) -> None:
    view = HtmlView(HTML)
    start = data.draw(st.integers(0, len(view.plain) - 1))
    end = data.draw(st.integers(start + 1, len(view.plain)))
    placed = html_answer(view, Answer(view.plain[start:end], start, end, 0.5))
    assert placed.text == HTML[placed.start : placed.end]
    assert placed.plain_text == view.plain[start:end]
