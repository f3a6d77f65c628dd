"""Documents to passages: every passage is exactly its place in the document."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.own_tokenizers import everyday_texts

from komrc.documents.document import Block, Document
from komrc.index.passages import SIZE, Passage, passages
from komrc.models import hub
from komrc.tokenization import load_tokenizer

KINDS = ("heading", "paragraph", "list", "table", "code")
TEXT = st.text(st.sampled_from("가나다 .\n|ab😀e\u0301\u200b\t\r"), max_size=300)


def document(*parts: tuple[str, str], title: str = "규정", pages: tuple[int | None, ...] = ()) -> Document:
    """A document of blocks (kind, text), a blank line between them; headings have level 1, 2, … by "#"."""
    text, blocks = "", []
    for number, (kind, content) in enumerate(parts):
        level = len(content) - len(content.lstrip("#")) if kind == "heading" else 0
        line = content[level:]
        page = pages[number] if pages else None
        blocks.append(Block(kind, len(text), len(text) + len(line), page, level or int(kind == "heading")))
        text += line + "\n\n"
    return Document("a.txt", title, text, tuple(blocks), "/a.txt")


def sentence(number: int) -> str:
    return f"제{number}항의 내용은 다른 항의 내용과 서로 다르며 그 길이는 이 정도가 된다."


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(st.tuples(st.sampled_from(KINDS), TEXT), max_size=8), st.integers(20, 500), st.integers(0, 19)
)
def test_a_passage_is_its_place_and_nothing_is_lost(
    parts: list[tuple[str, str]], size: int, overlap: int
) -> None:
    whole = document(*parts)
    cut = list(passages(whole, size=size, overlap=overlap))
    covered: set[int] = set()
    for number, passage in enumerate(cut):
        assert whole.text[passage.start : passage.end] == passage.text
        assert 0 < len(passage.text) <= size
        assert passage.id == number
        assert passage.line == whole.text.count("\n", 0, passage.start) + 1
        covered.update(range(passage.start, passage.end))
    assert {i for i, character in enumerate(whole.text) if not character.isspace()} <= covered
    assert [p.start for p in cut] == sorted({p.start for p in cut})


def test_a_document_without_blocks_is_one_paragraph() -> None:
    (passage,) = passages(Document("a", "제목", "한 문장이다.", (), "a"))
    assert passage.text == "한 문장이다."


def test_an_empty_document_has_no_passage() -> None:
    assert list(passages(Document("a", "", " \n ", (), "a"))) == []


def test_long_paragraphs_are_cut_between_sentences_and_overlap_by_whole_ones() -> None:
    text = " ".join(sentence(number) for number in range(60))
    cut = list(passages(document(("paragraph", text))))
    assert len(cut) > 4
    for before, after in pairwise(cut):
        assert before.text.endswith("된다.") and after.text.startswith("제")
        assert 0 < before.end - after.start <= 100
    assert all(SIZE / 2 < len(passage.text) <= SIZE for passage in cut[:-1])


def test_a_word_longer_than_a_passage_is_cut_through() -> None:
    cut = list(passages(document(("paragraph", "가" * 1000))))
    assert "".join(passage.text for passage in cut) == "가" * 1000


def test_headings_are_a_path_and_small_parts_are_put_together() -> None:
    cut = list(
        passages(
            document(
                ("heading", "#휴가"),
                ("heading", "##연차"),
                ("paragraph", " ".join(sentence(n) for n in range(14))),
                ("heading", "##병가"),
                ("paragraph", "병가는 60일이다."),
                ("heading", "#급여"),
                ("paragraph", "급여일은 25일이다."),
            )
        )
    )
    assert [passage.heading for passage in cut] == ["휴가", "휴가 > 연차", "휴가 > 병가"]
    assert cut[0].text.startswith("휴가\n\n연차")
    assert cut[2].text.startswith("병가") and cut[2].text.endswith("급여일은 25일이다.")
    assert cut[1].prefix == "규정 > 휴가 > 연차\n"
    assert cut[2].prefix == "규정 > 휴가\n"  # the text begins with the heading


def test_a_passage_stays_on_its_page() -> None:
    cut = list(passages(document(("paragraph", "첫 쪽이다."), ("paragraph", "둘째 쪽이다."), pages=(1, 2))))
    assert [(passage.page, passage.text) for passage in cut] == [(1, "첫 쪽이다."), (2, "둘째 쪽이다.")]


def test_later_passages_of_a_table_have_its_first_row_in_front() -> None:
    rows = "\n".join(["이름 | 부서 | 내선", *(f"사원{n} | 개발{n}팀 | 10{n}" for n in range(80))])
    cut = list(passages(document(("table", rows))))
    assert len(cut) > 2 and cut[0].header == ""
    for passage in cut[1:]:
        assert passage.header == "이름 | 부서 | 내선"
        assert passage.prefix.endswith("이름 | 부서 | 내선\n")
        assert "이름" not in passage.text and passage.text.startswith("사원")
        assert len(passage.header) + len(passage.text) <= SIZE


@pytest.mark.parametrize("length", [10, 59, 60, 61, 500])
def test_the_prefix_is_bounded(length: int) -> None:
    passage = Passage(0, "d", "제" * length, "목 > 차", "글", 0, 1, None, 1, "머리 | 글")
    first, second = passage.prefix.splitlines()
    assert len(first) <= 60 and first.endswith("목 > 차") and second == "머리 | 글"


def test_one_window_holds_title_passage_and_question() -> None:
    """The size was chosen for this: nearly all passages of real text fit, with a long question."""
    tokenizer = load_tokenizer(hub.embedded_model())
    texts = everyday_texts("dev")
    cut = [p for n, text in enumerate(texts) for p in passages(Document(str(n), "안내문", text, (), ""))]
    lengths = [len(text.ids) for text in tokenizer.encode_many([p.prefix + p.text for p in cut])]
    assert sum(length <= 384 - 42 - 4 for length in lengths) >= 0.98 * len(lengths), sorted(lengths)[-20:]
