"""data/pages: its offsets, its answers, its parts."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from html.parser import HTMLParser
from itertools import product
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "data/pages"
PARTS = ("train", "dev", "test")
LONG = ("paragraph", "list", "table", "section")
KINDS = ("text", "cell", "item", "row", *LONG)
VOID = {"br", "col", "hr", "img", "input", "link", "meta"}
OPTIONAL_END = {"dd", "dt", "li", "p", "tbody", "td", "th", "thead", "tr"}
BLOCKS = {"paragraph": {"p"}, "list": {"ul", "ol", "dl"}, "table": {"table"}, "row": {"tr"}}
Page = dict[str, Any]
Question = dict[str, Any]


@pytest.fixture(scope="module")
def parts() -> dict[str, list[Page]]:
    return {part: json.loads((FOLDER / f"{part}.json").read_text(encoding="utf-8"))["data"] for part in PARTS}


@pytest.fixture(scope="module")
def pages(parts: dict[str, list[Page]]) -> list[Page]:
    return [page for part in PARTS for page in parts[part]]


def questions(pages: list[Page]) -> Iterator[tuple[Page, Question]]:
    for page in pages:
        for question in page["qas"]:
            yield page, question


class Fragment(HTMLParser):
    """A fragment of HTML: its top-level elements and its tags without a partner."""

    def __init__(self, fragment: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.top: list[str] = []
        self.unmatched: list[str] = []
        self.text = ""
        self.feed(fragment)
        self.close()
        self.unmatched += [tag for tag in self.open if tag not in OPTIONAL_END]

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag not in VOID:
            self._close_siblings(tag)
            if not self.open:
                self.top.append(tag)
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: object) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        while self.open and self.open[-1] != tag and self.open[-1] in OPTIONAL_END:
            self.open.pop()
        if self.open and self.open[-1] == tag:
            self.open.pop()
        else:
            self.unmatched.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data

    def _close_siblings(self, tag: str) -> None:
        siblings = {"dt": {"dt", "dd"}, "dd": {"dt", "dd"}, "th": {"td", "th"}, "td": {"td", "th"}}
        if tag == "tr":
            while self.open and self.open[-1] in {"td", "th", "tr"}:
                self.open.pop()
        elif tag in OPTIONAL_END and self.open and self.open[-1] in siblings.get(tag, {tag}):
            self.open.pop()


def visible(html: str) -> str:
    return "".join(Fragment(re.sub(r"(?s)<(script|style)\b.*?</\1>", "", html)).text.split())


def test_the_fields_are_those_of_korquad_2(pages: list[Page]) -> None:
    for page in pages:
        assert set(page) == {"title", "url", "raw_html", "context", "qas"}
        for question in page["qas"]:
            assert set(question) == {"question", "id", "kind", "answer"}
            assert set(question["answer"]) == {
                "text",
                "answer_start",
                "html_answer_text",
                "html_answer_start",
            }


def test_every_answer_is_at_its_offset(pages: list[Page]) -> None:
    for page, question in questions(pages):
        answer = question["answer"]
        for html, text, start in (
            (page["context"], answer["text"], answer["answer_start"]),
            (page["raw_html"], answer["html_answer_text"], answer["html_answer_start"]),
        ):
            assert text == text.strip() != "", question["id"]
            assert html[start : start + len(text)] == text, question["id"]


def test_both_answers_of_a_question_show_the_same_text(pages: list[Page]) -> None:
    for _page, question in questions(pages):
        answer = question["answer"]
        assert visible(answer["text"]) == visible(answer["html_answer_text"]), question["id"]
        assert re.search(r"\w", visible(answer["text"])), question["id"]


def test_the_context_is_the_page_without_attributes(pages: list[Page]) -> None:
    """But for the pages that keep them, as some pages of KorQuAD 2.0 do."""
    kept = [page for page in pages if page["context"] == page["raw_html"]]
    assert len(kept) == 10
    for page in pages:
        if page not in kept:
            tags = re.findall(r"<[a-zA-Z][^<>]*>", page["context"])
            attributes = {name.lower() for tag in tags for name in re.findall(r"\s([\w-]+)=", tag)}
            assert attributes <= {"colspan", "rowspan"}, page["title"]
            assert "<script" not in page["context"] and "<!--" not in page["context"]
        assert visible(page["context"]) == visible(page["raw_html"]), page["title"]


def test_answers_have_no_tag_without_a_partner(pages: list[Page]) -> None:
    for _page, question in questions(pages):
        fragment = Fragment(question["answer"]["text"])
        assert fragment.unmatched == [], question["id"]


def test_long_answers_and_rows_are_whole_blocks(pages: list[Page]) -> None:
    for page, question in questions(pages):
        text, kind = question["answer"]["text"], question["kind"]
        top = Fragment(text).top
        after = page["context"][question["answer"]["answer_start"] + len(text) :].lstrip()
        if kind in BLOCKS:
            assert len(top) == 1 and top[0] in BLOCKS[kind], question["id"]
            assert text.startswith("<"), question["id"]
            assert text.endswith(">") or after.startswith("<"), question["id"]
        elif kind == "section":
            assert top and text.startswith("<"), question["id"]
            assert not set(top) & {"h1", "h2", "h3"}, question["id"]
            assert after.startswith("<"), question["id"]


def test_short_answers_are_short(pages: list[Page]) -> None:
    for _page, question in questions(pages):
        if question["kind"] in ("text", "cell"):
            assert len(question["answer"]["text"]) <= 80, question["id"]
            assert not re.search(r"(?i)<(p|li|td|tr|table)\b", question["answer"]["text"])


def test_a_short_answer_does_not_begin_or_end_inside_a_number(pages: list[Page]) -> None:
    for page, question in questions(pages):
        start, text = question["answer"]["answer_start"], question["answer"]["text"]
        before, after = page["context"][start - 1], page["context"][start + len(text) :][:2]
        assert not (text[0].isdigit() and re.match(r"[\d.,]", before)), question["id"]
        assert not (text[-1].isdigit() and re.match(r"\d|[.,]\d", after)), question["id"]


def test_ids_and_questions_are_unique(pages: list[Page]) -> None:
    ids = Counter(question["id"] for _page, question in questions(pages))
    asked = Counter(
        (page["title"], "".join(question["question"].split())) for page, question in questions(pages)
    )
    assert max(ids.values()) == max(asked.values()) == 1
    assert len({page["title"] for page in pages}) == len({p["url"] for p in pages}) == len(pages)


def test_sizes_of_the_parts(parts: dict[str, list[Page]], pages: list[Page]) -> None:
    assert {part: len(rows) for part, rows in parts.items()} == {"train": 28, "dev": 6, "test": 12}
    assert sum(1 for _ in questions(pages)) == 1170
    lengths = sorted(len(page["context"]) for page in pages)
    assert lengths[0] >= 3_000 and lengths[-1] <= 25_000 and lengths[-3] > 20_000


def test_kinds_in_every_part(parts: dict[str, list[Page]]) -> None:
    for part, rows in parts.items():
        counts = Counter(question["kind"] for _page, question in questions(rows))
        total = sum(counts.values())
        assert set(counts) == set(KINDS), part
        assert 0.30 < counts["text"] / total < 0.45, part
        assert 0.18 < counts["cell"] / total < 0.28, part
        assert 0.12 < (counts["item"] + counts["row"]) / total < 0.22, part
        assert 0.20 < sum(counts[kind] for kind in LONG) / total < 0.30, part


def test_merged_cells_lists_and_open_elements_occur_in_every_part(
    parts: dict[str, list[Page]],
) -> None:
    for rows in parts.values():
        everything = "".join(page["context"] for page in rows).lower()
        for tag in ("colspan=", "rowspan=", "<dl>", "<ol>", "<ul>", "<caption>", "&"):
            assert tag in everything, tag
        assert everything.count("<li>") > everything.count("</li>")
        assert everything.count("<td>") > everything.count("</td>")


def test_no_page_is_nearly_in_two_parts(parts: dict[str, list[Page]]) -> None:
    def shingles(page: Page) -> set[str]:
        text = visible(page["context"])
        return {text[i : i + 12] for i in range(len(text) - 11)}

    sets = {part: [(page["title"], shingles(page)) for page in parts[part]] for part in PARTS}
    for one, other in (("train", "dev"), ("train", "test"), ("dev", "test")):
        for (name, first), (second_name, second) in product(sets[one], sets[other]):
            shared = len(first & second) / min(len(first), len(second))
            assert shared < 0.12, (name, second_name, shared)
