"""A page's passages: all of the text, one window each, cut between blocks, with the headings in front."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from komrc.config import WindowConfig
from komrc.html import HtmlView
from komrc.html.passages import page_passages
from komrc.html.view import MARKERS
from komrc.tokenization import load_tokenizer
from komrc.types import Example
from komrc.windows import build_windows

PAGES = Path(__file__).resolve().parents[2] / "data/pages/dev.json"
NAMES = ["bert-multilingual", "enliple-32k", "kobert", "kobigbird", "koelectra-v1"]


def contexts() -> list[str]:
    return [page["context"] for page in json.loads(PAGES.read_text(encoding="utf-8"))["data"]]


def check(folder: str | None, *, html_markers: bool) -> None:
    tokenizer = load_tokenizer(folder)
    config = WindowConfig(html_markers=html_markers)
    for html in contexts():
        view = HtmlView(html)
        passages = page_passages(view, tokenizer, config)
        read = np.zeros(len(view.text), np.bool_)
        for passage in passages:
            read[passage.start : passage.end] = True
            text = view.text if html_markers else view.plain
            assert passage.text == text[passage.start : passage.end]
        assert all(view.plain[i].isspace() for i in np.nonzero(~read)[0])
        starts = [passage.start for passage in passages]
        assert starts == sorted(set(starts))
        question = "강" * config.max_query_length
        examples = [Example("", question, passage.context) for passage in passages]
        windows = build_windows(examples, tokenizer, config, labels=False)
        assert windows.example.tolist() == list(range(len(passages)))  # one window each
        assert np.median(windows.context_length) > 200


@pytest.mark.parametrize("html_markers", [True, False])
def test_passages_of_the_embedded_tokenizer(html_markers: bool) -> None:
    check(None, html_markers=html_markers)


def test_passages_of_every_tokenizer(shared: Path) -> None:
    for name in NAMES:
        check(str(shared / "tokenizers" / name), html_markers=True)


def rows(count: int) -> str:
    return "".join(f"<tr><td>{n}번 역<td>하루 {n * 17}명" for n in range(count))


def test_headings_and_the_header_of_a_table_are_in_front_of_each_passage() -> None:
    html = f"<h1>도시 철도</h1><h2>역 목록</h2><table><tr><th>역<th>승객{rows(120)}</table>"
    view = HtmlView(html)
    first, *others = page_passages(view, load_tokenizer(None), WindowConfig(128, 64, 16, html_markers=True))
    assert first.prefix == ""
    assert len(others) > 5
    for passage in others:
        assert passage.prefix == "도시 철도 > 역 목록\n| 역| 승객\n".replace("| ", "|")
        assert passage.text[0] == MARKERS["row"]  # no row is cut


def test_a_passage_ends_in_front_of_a_heading_where_it_can() -> None:
    sentence = "<p>이 도시에는 강이 하나 있고 다리가 셋 있다.</p>"
    html = "".join(f"<h2>{n}장</h2>{sentence * 7}" for n in range(8))
    passages = page_passages(
        HtmlView(html), load_tokenizer(None), WindowConfig(256, 64, 32, html_markers=True)
    )
    assert len(passages) > 3
    assert all(passage.text[0] == MARKERS["heading"] for passage in passages)


def test_places_of_a_passage_are_those_of_the_view() -> None:
    view = HtmlView(contexts()[0])
    passage = page_passages(view, load_tokenizer(None), WindowConfig(html_markers=True))[-1]
    assert passage.prefix
    begin = len(passage.prefix)
    assert passage.to_view(begin + 2, begin + 5) == (passage.start + 2, passage.start + 5)
    assert passage.to_view(begin - 1, begin + 5) is None
    assert passage.holds(passage.start, passage.end)
    assert not passage.holds(passage.start - 1, passage.end)


@pytest.mark.parametrize("html", ["", "<p></p>", "<table><tr><td><td></table>", "가"])
def test_pages_with_little_or_no_text(html: str) -> None:
    passages = page_passages(HtmlView(html), load_tokenizer(None), WindowConfig(html_markers=True))
    assert len(passages) == ("가" in html or "td" in html)
