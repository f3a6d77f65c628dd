"""KorQuAD 2.1 data: pages from files, folders and ZIP files, their findings, and the memory they need."""

from __future__ import annotations

import copy
import gzip
import io
import json
import logging
import random
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import pytest

from komrc import load_korquad2
from komrc.data import SCORING
from komrc.data.json_stream import ListReader
from komrc.data.korquad2 import PageScan, is_korquad2
from komrc.errors import DataError, Problem

CONTEXT = (
    "<!DOCTYPE html>\n<html><head><meta><title>한강</title></head>\n<body><h1>한강</h1>\n"
    '<table><tbody><tr><th>발원지</th><td colspan="2"><a>검룡소</a></td></tr></tbody></table></body></html>'
)
RAW_ANSWER = '<a href="/wiki/%EA">검룡소</a>'
RAW = CONTEXT.replace("<a>", '<a href="/wiki/%EA">')


def answer(text: str, html: str | None = None) -> dict[str, Any]:
    html = text if html is None else html
    return {
        "text": text,
        "answer_start": CONTEXT.index(text),
        "html_answer_text": html,
        "html_answer_start": RAW.index(html),
    }


def page(number: int = 0) -> dict[str, Any]:
    return {
        "title": "한강",
        "url": "https://ko.example/한강",
        "context": CONTEXT,
        "raw_html": RAW,
        "qas": [
            {"question": "발원지는?", "id": f"{number}-1", "answer": answer("<a>검룡소</a>", RAW_ANSWER)},
            {"question": "어느 강?", "id": 10 * number + 2, "answer": answer("한강")},
        ],
    }  # fmt: skip


def document(*pages: Any) -> dict[str, Any]:
    return {"version": "KorQuAD_2.1_example", "data": list(pages)}


def write(path: Path, value: Any) -> Path:
    path.write_text(
        value if isinstance(value, str) else json.dumps(value, ensure_ascii=False), encoding="utf-8"
    )
    return path


def problems_of(path: Path, **options: Any) -> tuple[Problem, ...]:
    with pytest.raises(DataError) as error:
        list(load_korquad2(path, **options))
    return error.value.problems


# --- what is read ------------------------------------------------------------------------------------------


def test_pages_questions_and_offsets(tmp_path: Path) -> None:
    first, second = load_korquad2(write(tmp_path / "a.json", document(page(0), page(1))))
    assert (first.title, first.url, first.context) == ("한강", "https://ko.example/한강", CONTEXT)
    assert [example.id for page in (first, second) for example in page.examples] == ["0-1", "2", "1-1", "12"]
    for example in first.examples:
        assert example.context is first.context
        (gold,) = example.answers
        assert CONTEXT[gold.start : gold.end] == gold.text
    assert first.examples[0].answers[0].text == "<a>검룡소</a>"


def test_raw_html_only_if_asked_for(tmp_path: Path) -> None:
    path = write(tmp_path / "a.json", document(page()))
    assert next(load_korquad2(path)).raw_html is None
    assert next(load_korquad2(path, raw_html=True)).raw_html == RAW


def test_pages_without_raw_html(tmp_path: Path) -> None:
    small = page()
    del small["raw_html"]
    path = write(tmp_path / "a.json", document(small))
    assert len(list(load_korquad2(path))) == 1
    assert [problem.what for problem in problems_of(path, raw_html=True)] == ['has no "raw_html"']


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_encodings(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(json.dumps(document(page()), ensure_ascii=False).encode(encoding))
    assert len(next(load_korquad2(path)).examples) == 2


def test_folder_zip_and_gzip_give_the_same(tmp_path: Path) -> None:
    texts = {f"part_{i}.json": json.dumps(document(page(i)), ensure_ascii=False) for i in range(3)}
    folder = tmp_path / "folder"
    folder.mkdir()
    for name, text in texts.items():
        write(folder / name, text)
    with zipfile.ZipFile(tmp_path / "all.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in reversed(texts.items()):
            archive.writestr(f"inner/{name}", text)
        archive.writestr("__MACOSX/inner/._part_0.json", b"\x00\x05")
        archive.writestr("README.txt", "no data")
    mixed = tmp_path / "mixed"
    mixed.mkdir()
    (mixed / "part_0.json.gz").write_bytes(gzip.compress(texts["part_0.json"].encode()))
    write(mixed / "part_1.json", texts["part_1.json"])  # an unpacked copy of a member
    (mixed / "z.zip").write_bytes((tmp_path / "all.zip").read_bytes())
    wanted = list(load_korquad2(folder))
    assert [p.examples[0].id for p in wanted] == ["0-1", "1-1", "2-1"]
    assert list(load_korquad2(tmp_path / "all.zip")) == wanted
    with zipfile.ZipFile(mixed / "z.zip", "w") as archive:
        archive.writestr("part_1.json", texts["part_1.json"])
        archive.writestr("part_2.json", texts["part_2.json"])
    assert list(load_korquad2(mixed)) == wanted


def test_which_layout(tmp_path: Path) -> None:
    assert is_korquad2(write(tmp_path / "a.json", document(page())))
    assert is_korquad2(tmp_path)
    paragraph = {"context": "가", "qas": []}
    assert not is_korquad2(write(tmp_path / "b.json", document({"title": "t", "paragraphs": [paragraph]})))
    assert not is_korquad2(write(tmp_path / "c.json", "[1"))
    assert not is_korquad2(write(tmp_path / "d.csv", "id\n1"))
    assert not is_korquad2(tmp_path / "missing.json")


# --- findings ----------------------------------------------------------------------------------------------


def changed(*keys: Any, value: Any) -> dict[str, Any]:
    """A page with one value changed; ... removes it."""
    damaged = owner = copy.deepcopy(page(5))
    for key in keys[:-1]:
        owner = owner[key]
    if value is ...:
        del owner[keys[-1]]
    else:
        owner[keys[-1]] = value
    return damaged


QA = "$.data[1].qas[0]"
START = ("qas", 0, "answer", "answer_start")
NAN = float("nan")


@pytest.mark.parametrize(
    ("damaged", "path", "what"),
    [
        (changed(*START, value=3), f"{QA}.answer.answer_start", "is 3: the context has"),
        (changed(*START, value="3"), f"{QA}.answer.answer_start", 'is the text "3"'),
        (changed(*START, value=True), f"{QA}.answer.answer_start", "is true"),
        (changed(*START, value=...), f"{QA}.answer", 'has no "answer_start"'),
        (changed("qas", 0, "answer", "text", value=""), f"{QA}.answer.text", "is empty"),
        (changed("qas", 0, "answer", "text", value=...), f"{QA}.answer", 'has no "text"'),
        (changed("qas", 0, "answer", "text", value=7), f"{QA}.answer.text", "is 7"),
        (changed("qas", 0, "answer", value=...), QA, 'has no "answer"'),
        (changed("qas", 0, "answer", value="강"), f"{QA}.answer", 'is the text "강"'),
        (changed("qas", 0, "answer", value=None), f"{QA}.answer", "is null"),
        (changed("qas", 0, "id", value=...), QA, 'has no "id"'),
        (changed("qas", 0, "id", value=1.5), f"{QA}.id", "is the number 1.5"),
        (changed("qas", 0, "id", value="0-1"), f"{QA}.id", "the id is taken by $.data[0]"),
        (changed("qas", 0, "id", value=2), f"{QA}.id", "the id is taken by $.data[0]"),
        (changed("qas", 0, "question", value=" "), f"{QA}.question", "is empty"),
        (changed("qas", 0, "question", value=...), QA, 'has no "question"'),
        (changed("qas", 0, value=4), QA, "is 4"),
        (changed("qas", 0, "question", value=NAN), f"{QA}.question", "is NaN, which JSON does not have"),
        (changed("qas", 0, "question", value="\ud800"), f"{QA}.question", "contains half of"),
    ],
)  # fmt: skip
def test_a_damaged_question(tmp_path: Path, damaged: Any, path: str, what: str) -> None:
    text = json.dumps(document(page(0), damaged, page(7)))  # ASCII: half a surrogate pair as an escape
    file = write(tmp_path / "a.json", text)
    found = problems_of(file)
    assert [problem.path for problem in found] == [path]
    assert found[0].what.startswith(what)
    ids = [example.id for page in load_korquad2(file, skip_invalid=True) for example in page.examples]
    assert ids == ["0-1", "2", "52", "7-1", "72"]


@pytest.mark.parametrize(
    ("damaged", "path", "what"),
    [
        (changed("context", value=...), "$.data[1]", 'has no "context"'),
        (changed("context", value=" "), "$.data[1].context", "is empty"),
        (changed("context", value=["a"]), "$.data[1].context", "is a list"),
        (changed("qas", value={}), "$.data[1].qas", "is an object"),
        (changed("qas", value=...), "$.data[1]", 'has no "qas"'),
        ([], "$.data[1]", "is a list"),
        (3, "$.data[1]", "is 3"),
    ],
)
def test_a_damaged_page(tmp_path: Path, damaged: Any, path: str, what: str) -> None:
    file = write(tmp_path / "a.json", document(page(0), damaged, page(7)))
    found = problems_of(file)
    assert [(problem.path, problem.what) for problem in found] == [(path, what)]
    ids = [example.id for page in load_korquad2(file, skip_invalid=True) for example in page.examples]
    assert ids == ["0-1", "2", "7-1", "72"]


def test_every_finding_is_listed_and_no_page_follows_the_first(tmp_path: Path) -> None:
    bad = changed(*START, value=1)
    bad["qas"][1]["answer"]["answer_start"] = 2
    file = write(tmp_path / "a.json", document(page(0), bad, page(7), {**page(8), "title": 3}))
    yielded = []
    with pytest.raises(DataError) as error:
        for good in load_korquad2(file):
            yielded.append(good.examples[0].id)
    assert yielded == ["0-1"]
    assert [problem.path for problem in error.value.problems] == [
        "$.data[1].qas[0].answer.answer_start",
        "$.data[1].qas[1].answer.answer_start",
        "$.data[3].title",
    ]
    assert error.value.problems[0].id == "5-1"


def test_findings_name_the_file_of_several(tmp_path: Path) -> None:
    write(tmp_path / "a.json", document(page(0)))
    write(tmp_path / "b.json", document(page(0)))
    first, second = problems_of(tmp_path)
    assert first.path == "b.json $.data[0].qas[0].id"
    assert first.what == "the id is taken by a.json $.data[0]"
    assert first.kind == second.kind


def test_broken_utf_8_costs_one_page(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "a.json"
    raw = json.dumps(document(page(0), page(1), page(2)), ensure_ascii=False).encode()
    pieces = raw.split("어느 강".encode())
    file.write_bytes(
        "어느 강".encode().join(pieces[:2])
        + "어느 ".encode()
        + b"\xec\xb0"
        + "어느 강".encode().join(pieces[2:])
    )
    (problem,) = problems_of(file)
    assert problem.path == "$.data[1]"
    assert problem.what.startswith("is not UTF-8: byte 0xec")
    with caplog.at_level(logging.WARNING):
        kept = list(load_korquad2(file, skip_invalid=True))
    assert [page.examples[0].id for page in kept] == ["0-1", "2-1"]
    assert "1 pages can't be read" in caplog.text


def test_repeated_keys_in_a_page(tmp_path: Path) -> None:
    text = json.dumps(document(page(0), page(1)), ensure_ascii=False)
    file = write(tmp_path / "a.json", text.replace('"id": "1-1"', '"id": "1-1", "id": "x"'))
    (problem,) = problems_of(file)
    assert (problem.path, problem.what) == (QA, 'names "id" more than once')


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("[]", "is a list"),
        ("{}", 'has no "data"'),
        ('{"data": []}', "has no questions"),
        ('{"data": [{"paragraphs": []}]}', "layout of KorQuAD 1.0"),
        (json.dumps(document(page()))[:-300], r"is cut off in \$.data\[0\]"),
        (json.dumps(document(page()))[:-1], "is cut off"),
        (json.dumps(document(page())) + "x", "after the end"),
        (json.dumps(document(page())).replace("}]}]}", "}]} 3]}"), "is not JSON"),
        ("%PDF-1.7", "is a PDF document"),
    ],
)
def test_files_that_are_no_data(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        list(load_korquad2(write(tmp_path / "a.json", text), skip_invalid=True))


def test_a_page_that_is_no_json_costs_one_page(tmp_path: Path) -> None:
    text = json.dumps(document(page(0), page(1), page(2)))
    file = write(tmp_path / "a.json", text.replace('"id": "1-1"', '"id": 01-1'))
    assert problems_of(file)[0].path == "$.data[1]"
    assert len(list(load_korquad2(file, skip_invalid=True))) == 2


def test_paths_that_hold_nothing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        list(load_korquad2(tmp_path / "missing.json"))
    with pytest.raises(DataError, match="no JSON or ZIP file directly in it"):
        list(load_korquad2(tmp_path))
    (tmp_path / "a.zip").write_bytes(b"PK\x05\x06" + bytes(18))
    with pytest.raises(DataError, match="has no JSON"):
        list(load_korquad2(tmp_path))


def test_a_damaged_zip_file(tmp_path: Path) -> None:
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w") as archive:
        archive.writestr("a.json", json.dumps(document(page())))
    damaged = bytearray(whole.getvalue())
    damaged[60] ^= 1  # the check sum differs
    (tmp_path / "a.zip").write_bytes(damaged)
    with pytest.raises(DataError, match="CRC"):
        list(load_korquad2(tmp_path / "a.zip"))


def test_answers_in_raw_html(tmp_path: Path) -> None:
    damaged = changed("qas", 0, "answer", "html_answer_start", value=5)
    file = write(tmp_path / "a.json", document(page(0), damaged))
    assert len(list(load_korquad2(file))) == 2  # of no use without raw_html
    (problem,) = problems_of(file, raw_html=True)
    assert problem.path == f"{QA}.answer.html_answer_start"


def test_scoring_needs_ids_and_texts_only(tmp_path: Path) -> None:
    damaged = changed(*START, value=3)
    damaged["context"] = damaged["title"] = None
    damaged["qas"][1]["id"] = "5-1"
    scan = PageScan(write(tmp_path / "a.json", document(damaged)), SCORING)
    (only,) = scan
    assert (scan.problems, [e.id for e in only.examples]) == ([], ["5-1", "5-1"])


# --- in a stream -------------------------------------------------------------------------------------------


class Slow(io.BytesIO):
    """Gives a few bytes a time."""

    def __init__(self, content: bytes, most: int) -> None:
        super().__init__(content)
        self.most = most

    def read(self, size: int | None = -1) -> bytes:
        return super().read(self.most if size is None or size < 0 else min(self.most, size))


@pytest.mark.parametrize("most", [1, 2, 3, 7, 64, 100_000])
def test_elements_whatever_the_chunks_are(most: int) -> None:
    random.seed(most)
    strings = ['"', "\\", '\\"', "{[", "]}", ",", "가", "😀", "\n", "data"]
    values: list[Any] = []
    for _ in range(30):
        text = "".join(random.choices(strings, k=random.randrange(8)))
        values.append(random.choice([{text: [text, {"data": [text]}]}, [text], text, 3, None, {}]))
    whole = {"meta": {"data": [{"a": 1}]}, "x": "data", "data": values, "y": [{"z": 1}], "data2": [1]}
    raw = json.dumps(whole, ensure_ascii=most % 2 == 0).encode()
    reader = ListReader(Slow(raw, most), "data", where="x", max_bytes=10_000)
    elements = {element.index: element.parse("x")[0] for element in reader}
    assert elements == {i: value for i, value in enumerate(values) if isinstance(value, dict | list)}
    rest = [value if i not in elements else {} for i, value in enumerate(values)]
    assert reader.outside == {**whole, "data": rest}


def test_memory_does_not_grow_with_the_pages(tmp_path: Path) -> None:
    def peak(pages: int) -> int:
        file = tmp_path / f"{pages}.json"
        with file.open("w", encoding="utf-8") as stream:
            stream.write('{"data": [')
            for i in range(pages):
                big = {**page(i), "raw_html": '<p class="x">가나다</p>' * 2_000}
                stream.write(("," if i else "") + json.dumps(big, ensure_ascii=False))
            stream.write("]}")
        tracemalloc.start()
        try:
            assert sum(len(page.examples) for page in load_korquad2(file)) == 2 * pages
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    few, many = peak(10), peak(1_000)  # 1,000 pages have 55 MB
    assert many < few + 1_000_000  # the ids of 2,000 questions


def test_one_page_over_the_limit_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KOMRC_MAX_DATA_BYTES", "100000")
    big = {**page(), "raw_html": "가" * 2_000_000}
    with pytest.raises(DataError, match="too large"):
        list(load_korquad2(write(tmp_path / "a.json", document(big))))
