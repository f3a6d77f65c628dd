"""The view of HTML: its text, its places in the HTML, blocks, tables, and what is left out."""

from __future__ import annotations

import html as standard
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from komrc.html import HtmlView
from komrc.html.tree import MAX_DEPTH, Element, Text, parse
from komrc.html.view import MARKERS

PAGES = Path(__file__).resolve().parents[2] / "data/pages"
NAMES = {marker: f"[{kind}]" for kind, marker in MARKERS.items()}
ALL_MARKERS = set(NAMES)


def shown(html: str) -> str:
    """The view's text with readable markers."""
    return "".join(NAMES.get(character, character) for character in HtmlView(html).text)


# --- any HTML, broken too ----------------------------------------------------------------------------------

TAGS = (
    "p",
    "b",
    "i",
    "a",
    "div",
    "span",
    "h1",
    "h2",
    "table",
    "tbody",
    "tr",
    "td",
    "th",
    "ul",
    "ol",
    "li",
    "dl",
)
CLOSED = (*TAGS, "dt", "dd", "pre", "caption", "nav", "script", "title", "svg", "sup")
PIECES = [
    *(f"<{tag}>" for tag in (*CLOSED, "br", "hr")),
    *(f"</{tag}>" for tag in CLOSED),
    *(
        "<td colspan=2>",
        '<td rowspan="3">',
        "<p class='x' hidden>",
        "<br/>",
        "<p ",
        "</",
        "</>",
        "<!--",
        "-->",
    ),
    *(
        "&amp;",
        "&nbsp",
        "&#51060;",
        "&notit;",
        "&",
        "&#x110000;",
        "&NotEqualTilde;",
        "\n",
        "\r\n",
        "\r",
        "\t",
    ),
    *("한강", "강", "\N{GRINNING FACE}", "[1]", "각주", "\x00", "\ue003", "a", "<![CDATA[x]]>", "<?php ?>"),
    *(" ", "<", '="', "<s>", "</s>", "<DEL x>", "</del>"),
]
documents = st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=3)), max_size=40).map("".join)


def elements(root: Element) -> list[Element]:
    found, stack = [], [root]
    while stack:
        element = stack.pop()
        found.append(element)
        stack.extend(child for child in element.children if isinstance(child, Element))
    return found


def tag_in(html: str, place: int, skipped: int) -> str:
    """What follows "<" or "</", as the standard reads a tag name: ASCII in lower case, NUL replaced."""
    name = html[place + skipped :].replace("\0", "\ufffd")
    return "".join(character.lower() if character.isascii() else character for character in name)


@settings(max_examples=300, deadline=None)
@given(documents)
def test_every_element_and_text_has_its_place(html: str) -> None:
    for element in elements(parse(html)):
        assert 0 <= element.start <= element.inner_start <= element.inner_end <= element.end <= len(html)
        if element.tag:
            assert tag_in(html, element.start, 1).startswith(element.tag)
        if element.end > element.inner_end:
            assert tag_in(html, element.inner_end, 2).startswith(element.tag)
        place = element.inner_start
        for child in element.children:
            assert place <= child.start <= child.end <= element.inner_end
            place = child.end


@settings(max_examples=300, deadline=None)
@given(documents)
def test_every_character_maps_back(html: str) -> None:
    view = HtmlView(html)
    assert len(view.starts) == len(view.ends) == len(view.text) == len(view.plain)
    assert np.all(np.diff(view.starts) >= 0)
    assert np.all(np.diff(view.ends) >= 0)
    for character, start, end in zip(view.text, view.starts, view.ends, strict=True):
        source = html[start:end]
        if character in ALL_MARKERS:
            assert source.startswith("<")
        elif character in " \n":
            assert not source.strip() or source.startswith(("<br", "&"))
        elif source in ALL_MARKERS:
            assert character == "\ufffd"
        else:
            assert character == source or character in standard.unescape(source) or source[:1] == "<"


@settings(max_examples=300, deadline=None)
@given(documents, st.data())
def test_any_span_is_a_whole_slice_and_back(html: str, data: st.DataObject) -> None:
    view = HtmlView(html)
    start = data.draw(st.integers(0, len(view.text)))
    end = data.draw(st.integers(start, len(view.text)))
    html_start, html_end = view.to_html(start, end)
    assert 0 <= html_start <= html_end <= len(html)
    for element in elements(parse(html)):  # no element is cut: in the slice, around it, or apart from it
        inside = html_start <= element.start and element.end <= html_end
        around = element.inner_start <= html_start and html_end <= element.inner_end
        assert inside or around or element.end <= html_start or html_end <= element.start
    back = view.from_html(html_start, html_end)
    wanted = [i for i in range(start, end) if view.ends[i] > view.starts[i]]
    if back is None:
        assert not wanted
        return
    assert not wanted or (back[0] <= wanted[0] and wanted[-1] < back[1])
    again = view.to_html(*back)
    assert html_start <= again[0] <= again[1] <= html_end
    if wanted:
        assert view.from_html(*again) == back


@settings(max_examples=200, deadline=None)
@given(documents)
def test_blocks_are_nested_ranges(html: str) -> None:
    view = HtmlView(html)
    for index, block in enumerate(view.blocks):
        assert 0 <= block.start < block.end <= len(view.text)
        assert view.text[block.start] == MARKERS[block.kind]
        assert html[block.html_start] == "<"
        assert view.to_html(block.start, block.end) == (block.html_start, block.html_end)
        if block.parent >= 0:
            parent = view.blocks[block.parent]
            assert parent.start < block.start
            assert block.end <= parent.end
        assert view.block_at(block.start) == index
    assert sum(character in ALL_MARKERS for character in view.text) == len(view.blocks)


# --- the text ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("<p>한강은  \n 강이다.</p>\n<p>둘</p>", "[paragraph]한강은 강이다.[paragraph]둘"),
        ("<p>가<b> 나</b> <i>다</i></p>", "[paragraph]가 나 다"),
        ("<p> 가 </p> 나", "[paragraph]가\n나"),
        ("가<br>나<br/>다", "가\n나\n다"),
        ("<div>가</div><div>나</div>다", "가\n나\n다"),
        ("<pre>가\n  나</pre>", "[paragraph]가\n  나"),
        ("<p>A&amp;B &lt;나&gt; &#51060;&nbsp;x</p>", "[paragraph]A&B <나> 이\xa0x"),
        ("<p>가\r\n나\r다</p>", "[paragraph]가 나 다"),
        ("<p></p><ul><li></ul>가", "가"),
        ("<h2>제목</h2>글", "[heading]제목\n글"),
        ("<ul><li>가<li>나<ul><li>다</ul><li>라</ul>", "[list][item]가[item]나[list][item]다[item]라"),
        ("<dl><dt>가<dd>나<dt>다<dd>라</dl>", "[list][term]가[item]나[term]다[item]라"),
        ("<table><tr><td>가<td><tr><th>나</table>", "[table][row][cell]가[cell][row][header]나"),
        ("<p>가<table><caption>표<tr><td>나</table>", "[paragraph]가[table][caption]표[row][cell]나"),
        ("<p>a < b & c</p>", "[paragraph]a < b & c"),
        ("a</>b", "ab"),
        ("<td>가</td>", "[cell]가"),
        ("<p>가</b>나</p>다", "[paragraph]가나\n다"),
        ("<p>\ue003</p>", "[paragraph]\ufffd"),
        ("<p><s>3,000원</s> 2,500원 <DEL class=x>x", "[paragraph]<s>3,000원</s> 2,500원 <del>x"),
        ("", ""),
        ("<html><head><title>제목</title><p>가", "[paragraph]가"),
    ],
)
def test_text(html: str, text: str) -> None:
    assert shown(html) == text


@pytest.mark.parametrize(
    "html",
    [
        "<script>if (a<b) x</script>",
        "<style>p {}</style>",
        "<head><title>제목</title><meta></head>",
        "<nav><ul><li>대문</ul></nav>",
        "<!-- 나 -->",
        "<span>[<a>편집</a>]</span>",
        "<span class='mw-editsection'>[고치기]</span>",
        "<sup><a>[1]</a></sup>",
        "<sup>[주 2]</sup>",
        "<div role='navigation'>대문</div>",
        "<div style='display: none'>숨김</div>",
        "<p hidden>숨김</p>",
        "<a>검색하러 가기</a>",
        "<ol class='references'><li>출처</ol>",
        "<svg><text>그림</text></svg>",
        "<button>누르기</button>",
    ],
)
def test_left_out(html: str) -> None:
    assert shown(f"<p>가</p>{html}<p>다</p>") == "[paragraph]가[paragraph]다"


@pytest.mark.parametrize("heading", ["각주", "참고 문헌", "외부 링크", "목차", "둘러보기 메뉴", "References"])
def test_lists_of_references_are_left_out(heading: str) -> None:
    html = f"<h2>{heading}<span>[<a>편집</a>]</span></h2><div><ol><li>출처</ol></div><p>글</p>"
    html += "<h2>다음</h2><ol><li>가</ol>"
    assert shown(html) == f"[heading]{heading}[paragraph]글[heading]다음[list][item]가"


def test_what_looks_like_them_is_read() -> None:
    html = "<p>10<sup>2</sup> [<a>편집</a>은 일] <span>편집</span></p><h2>목차와 각주</h2><ul><li>가</ul>"
    assert shown(html) == "[paragraph]102 [편집은 일] 편집[heading]목차와 각주[list][item]가"


# --- spans -------------------------------------------------------------------------------------------------

HTML = (
    "<h1>강</h1><p>길이는 <b>494<i>km</i></b>이다.</p>"
    "<table><tr><th>발원지</th><td><a>검룡소</a></td></tr><tr><th>하구</th><td>서해</td></tr></table>"
)


@pytest.mark.parametrize(
    ("text", "slice_"),
    [
        ("494", "494"),
        ("494km", "494<i>km</i>"),
        ("km이", "<b>494<i>km</i></b>이"),
        ("길이는 494", "길이는 <b>494<i>km</i></b>"),
        ("검룡소", "검룡소"),
        ("[cell]검룡소", "<td><a>검룡소</a></td>"),
        ("발원지[cell]검룡소", "<th>발원지</th><td><a>검룡소</a></td>"),
        ("[row][header]하구[cell]서해", "<tr><th>하구</th><td>서해</td></tr>"),
        ("소[row][header]하", HTML[HTML.index("<tr>") : -len("</table>")]),
    ],
)
def test_slices(text: str, slice_: str) -> None:
    view = HtmlView(HTML)
    for marker, name in NAMES.items():
        text = text.replace(name, marker)
    start = view.text.index(text)
    html_start, html_end = view.to_html(start, start + len(text))
    assert HTML[html_start:html_end] == slice_


def test_from_html() -> None:
    view = HtmlView(HTML)
    for wanted, plain in [
        ("<a>검룡소</a>", "검룡소"),
        ("<td><a>검룡소</a></td>", "|검룡소"),
        ("<b>494<i>", "494"),
    ]:
        start = HTML.index(wanted)
        span = view.from_html(start, start + len(wanted))
        assert span is not None
        assert view.plain[slice(*span)] == plain
    assert view.from_html(HTML.index("</h1>"), HTML.index("</h1>") + 5) is None
    with pytest.raises(ValueError, match="outside"):
        view.to_html(0, len(view.text) + 1)


def test_references_are_never_cut() -> None:
    html = "<p>a&NotEqualTilde;b&amp;</p>"  # the reference is two characters
    view = HtmlView(html)
    assert view.text[1:] == "a\u2242\u0338b&"
    assert [html[slice(*view.to_html(i, i + 1))] for i in range(1, 6)] == [
        "a", "&NotEqualTilde;", "&NotEqualTilde;", "b", "&amp;",
    ]  # fmt: skip
    assert view.from_html(6, 7) == (2, 4)


def test_the_example_of_korquad_2_1() -> None:
    context = (
        "<!DOCTYPE html>\n<html><head><meta><title>한강 - 위키백과</title></head>\n<body><h1>한강</h1>\n"
        "<p><b>한강</b>(漢江)은 <a>강</a>이다. 길이는 494km이다.</p>\n"
        "<ul><li>북한강</li>\n<li>남한강</li></ul></body></html>"
    )
    view = HtmlView(context)
    for answer in (
        "494km",
        "<b>한강</b>(漢江)",
        "<ul><li>북한강</li>\n<li>남한강</li></ul>",
        "<li>남한강</li>",
    ):
        start = context.index(answer)
        span = view.from_html(start, start + len(answer))
        assert span is not None
        assert context[slice(*view.to_html(*span))] == answer


# --- tables and headings -----------------------------------------------------------------------------------


def grid(html: str) -> list[list[str]]:
    view = HtmlView(html)
    table = next(i for i, block in enumerate(view.blocks) if block.kind == "table")
    return [["-" if i < 0 else view.block_text(i) for i in row] for row in view.grid(table)]


@pytest.mark.parametrize(
    ("html", "cells"),
    [
        ("<table><tr><td>a<td>b<tr><td>c</table>", [["a", "b"], ["c", "-"]]),
        ("<table><tr><td rowspan=2>a<td>b<tr><td>c</table>", [["a", "b"], ["a", "c"]]),
        ("<table><tr><td colspan='2'>a<tr><td>b<td>c</table>", [["a", "a"], ["b", "c"]]),
        (
            "<table><tr><th rowspan=2>a<th colspan=2>b<tr><td>c<td>d<tr><td>e<td colspan=2>f</table>",
            [["a", "b", "b"], ["a", "c", "d"], ["e", "f", "f"]],
        ),
        ("<table><tr><td rowspan=0>a<td>b<tr><td>c<tr><td>d</table>", [["a", "b"], ["a", "c"], ["a", "d"]]),
        ("<table><tr><td colspan=x>a<td colspan=0>b<td rowspan=-1>c</table>", [["a", "b", "c"]]),
        ("<table><thead><tr><th>a</thead><tbody><tr><td>b</table>", [["a"], ["b"]]),
        ("<table><tr><td>a<table><tr><td>x<td>y</table><td>b</table>", [["a |x|y", "b"]]),
    ],
)
def test_cells_of_rows_and_columns(html: str, cells: list[list[str]]) -> None:
    assert [[" ".join(text.split()) for text in row] for row in grid(html)] == cells


def test_huge_spans_are_bounded() -> None:
    assert [
        len(row) for row in grid("<table><tr>" + "<td colspan=99999 rowspan=99999>x" * 50 + "</table>")
    ] == [1049]


def test_heading_path() -> None:
    html = "서문<h1>강</h1>가<h2>길이</h2>나<h3>상류</h3>다<h2>도시</h2>라"
    view = HtmlView(html)
    assert [view.heading_path(view.text.index(text)) for text in ("서문", "가", "나", "다", "라")] == [
        (),
        ("강",),
        ("강", "길이"),
        ("강", "길이", "상류"),
        ("강", "도시"),
    ]


def test_deep_nesting() -> None:
    view = HtmlView("<div>" * 5000 + "가<b>" * 3000 + "나")
    assert view.plain.endswith("나")
    depths = [element.depth for element in elements(parse("<div>" * 5000))]
    assert max(depths) == MAX_DEPTH


def test_a_text_is_one_element() -> None:
    root = parse("가 < 나")
    assert [child for child in root.children if isinstance(child, Text)] == root.children
    assert HtmlView("가 < 나").to_html(0, 3) == (0, 3)


def test_answers_of_our_own_pages() -> None:
    document = json.loads((PAGES / "dev.json").read_text(encoding="utf-8"))
    for page in document["data"]:
        view = HtmlView(page["context"])
        for question in page["qas"]:
            start, text = question["answer"]["answer_start"], question["answer"]["text"]
            assert view.from_html(start, start + len(text)) is not None
