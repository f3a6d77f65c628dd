"""Answers in pages as spans of their views, and back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from komrc.html import HtmlView
from komrc.html.view import MARKERS
from komrc.html.whole_blocks import LONGEST_SPAN, from_label, to_label
from komrc.metrics import korquad2

LONG = "남한강과 북한강이 두물머리에서 만나 서해로 흐르는 우리나라의 큰 강 가운데 하나이다"
PAGE = (
    "<h1>한강</h1><p>길이는 <b>494km</b>이다.</p>"
    "<h2>지류</h2><p>둘이다.</p><ul><li>북한강<li>남한강</ul><h3>작은 것</h3><p>많다.</p>"
    f"<h2>표</h2><table><tr><th>발원지<td>검룡소<tr><th>설명<td>{LONG}<td></table>"
)


@pytest.mark.parametrize(
    ("answer", "label"),
    [
        ("494km", "494km"),
        ("<p>둘이다.</p>", MARKERS["paragraph"]),
        ("<ul><li>북한강<li>남한강</ul>", MARKERS["list"]),
        ("<li>남한강", MARKERS["item"]),
        ("남한강</ul>", "남한강"),
        ("<tr><th>발원지<td>검룡소", MARKERS["row"]),
        ("<td>검룡소", MARKERS["cell"]),
        (PAGE[PAGE.index("<table>") :], MARKERS["table"]),
        (LONG, MARKERS["cell"]),  # too long for a span
        ("<h2>지류</h2>", "지류"),  # its marker is the section below it
        ("<p>둘이다.</p><ul><li>북한강<li>남한강</ul><h3>작은 것</h3><p>많다.</p>", MARKERS["heading"]),
        ("<h3>작은 것</h3><p>많다.</p>", f"{MARKERS['heading']}작은 것{MARKERS['paragraph']}많다."),
    ],
)
def test_what_is_taught_for_an_answer_gives_it_back(answer: str, label: str) -> None:
    assert len(LONG) > LONGEST_SPAN
    view = HtmlView(PAGE)
    start = PAGE.index(answer)
    span = to_label(view, start, start + len(answer))
    assert span is not None
    assert view.text[slice(*span)] == label
    found = from_label(view, *span)
    assert korquad2.exact_match(PAGE[slice(*found)], answer)


def test_nothing_is_taught_for_what_the_view_does_not_show() -> None:
    html = "<p>가</p><script>나</script>"
    assert to_label(HtmlView(html), html.index("나"), html.index("나") + 1) is None


def test_a_found_span_does_not_take_in_the_next_block() -> None:
    view = HtmlView(PAGE)
    start = view.text.index("검룡소")
    assert view.text[start + 3] == MARKERS["row"]
    found = from_label(view, start, start + 4)
    assert PAGE[slice(*found)] == "검룡소"


def test_the_marker_of_a_heading_without_a_section_is_the_heading() -> None:
    html = "<h2>가</h2><h2>나</h2>"
    assert html[slice(*from_label(HtmlView(html), 0, 1))] == "<h2>가</h2>"


@given(st.integers(0, len(PAGE)), st.integers(0, len(PAGE)))
def test_any_range_of_a_page_has_a_label_with_the_same_text(one: int, other: int) -> None:
    view = HtmlView(PAGE)
    span = to_label(view, min(one, other), max(one, other))
    place = view.from_html(min(one, other), max(one, other))
    if place is None:
        assert span is None
        return
    assert span is not None
    found = view.from_html(*from_label(view, *span))
    assert found is not None
    text = view.plain[slice(*place)].strip("\n |•")
    assert text in view.plain[slice(*found)]


@given(st.integers(0, 200), st.integers(1, 40))
def test_any_span_is_a_range_of_the_page_that_cuts_no_element(start: int, length: int) -> None:
    view = HtmlView(PAGE)
    start = min(start, len(view.text) - 1)
    low, high = from_label(view, start, min(start + length, len(view.text)))
    piece = PAGE[low:high]
    for tag in ("table", "ul", "b", "h2", "p"):
        assert piece.count(f"<{tag}>") == piece.count(f"</{tag}>")
