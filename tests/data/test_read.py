"""Reading data files: what is right comes in unchanged, what is wrong is named, and the counts add up."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.own_tokenizers import EVERYDAY

from komrc.data import EVERYTHING, PREDICTING, Loaded, load_squad, read_data, read_json, scan_data
from komrc.errors import DataError, StorageError, UsageError
from komrc.models import hub
from komrc.types import Example, Gold

CONTEXT = "훈민정음은 1443년에 세종이 창제하였다. 1446년에 반포되었다."


def read_squad(path: str | Path, **options: Any) -> Loaded:
    """Every field checked."""
    return read_data(path, EVERYTHING, **options)


def document() -> dict[str, Any]:
    """Two articles, three paragraphs, five questions."""

    def qa(name: str, text: str, context: str = CONTEXT) -> dict[str, Any]:
        return {
            "id": name,
            "question": f"{text} 질문?",
            "answers": [{"text": text, "answer_start": context.index(text)}],
        }

    other = "서울은 대한민국의 수도이다."
    return {
        "version": "KorQuAD_v1.0_test",
        "data": [
            {
                "title": "훈민정음",
                "paragraphs": [
                    {"context": CONTEXT, "qas": [qa("a", "1443년"), qa("b", "세종"), qa("c", "1446년")]},
                    {"context": other, "qas": [qa("d", "서울", other)]},
                ],
            },
            {"title": "수도", "paragraphs": [{"context": other, "qas": [qa("e", "수도", other)]}]},
        ],
    }


def write(path: Path, value: object, **options: Any) -> Path:
    path.write_text(json.dumps(value, ensure_ascii=False, **options), encoding="utf-8")
    return path


def question(value: dict[str, Any]) -> dict[str, Any]:
    """The question that the malformed files damage: the second, "b"."""
    found: dict[str, Any] = value["data"][0]["paragraphs"][0]["qas"][1]
    return found


QA = "$.data[0].paragraphs[0].qas[1]"
ANSWER = f"{QA}.answers[0]"
PARAGRAPH = "$.data[0].paragraphs[0]"
Edit = Callable[[dict[str, Any]], object]


def put(where: Callable[[dict[str, Any]], Any], key: str | int, value: object) -> Edit:
    def edit(doc: dict[str, Any]) -> None:
        where(doc)[key] = value

    return edit


def drop(where: Callable[[dict[str, Any]], Any], key: str | int) -> Edit:
    def edit(doc: dict[str, Any]) -> None:
        del where(doc)[key]

    return edit


def root(doc: dict[str, Any]) -> dict[str, Any]:
    return doc


def article(doc: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = doc["data"][0]
    return found


def paragraph(doc: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = article(doc)["paragraphs"][0]
    return found


def answer(doc: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = question(doc)["answers"][0]
    return found


# name -> (edit, JSON path of the problem, part of the message, questions kept with skip_invalid)
DAMAGED: dict[str, tuple[Edit, str, str, int]] = {
    "version is a list": (put(root, "version", []), "$.version", "a list", 5),
    "version is an object": (put(root, "version", {"a": 1}), "$.version", "an object", 5),
    "title is a number": (put(article, "title", 7), "$.data[0].title", "7", 5),
    "title is null": (put(article, "title", None), "$.data[0].title", "null", 5),
    "article is text": (put(lambda d: d["data"], 1, "수도"), "$.data[1]", '"수도"', 4),
    "article is null": (put(lambda d: d["data"], 1, None), "$.data[1]", "null", 4),
    "article is a list": (put(lambda d: d["data"], 1, [1]), "$.data[1]", "a list", 4),
    "no paragraphs": (drop(lambda d: d["data"][1], "paragraphs"), "$.data[1]", '"paragraphs"', 4),
    "paragraphs is an object": (
        put(lambda d: d["data"][1], "paragraphs", {}),
        "$.data[1].paragraphs",
        "an object",
        4,
    ),
    "paragraph is a number": (
        put(lambda d: d["data"][0]["paragraphs"], 1, 3),
        "$.data[0].paragraphs[1]",
        "3",
        4,
    ),
    "paragraph is null": (
        put(lambda d: d["data"][0]["paragraphs"], 1, None),
        "$.data[0].paragraphs[1]",
        "null",
        4,
    ),
    "no context": (drop(paragraph, "context"), PARAGRAPH, '"context"', 2),
    "context is null": (put(paragraph, "context", None), f"{PARAGRAPH}.context", "null", 2),
    "context is a list": (put(paragraph, "context", [CONTEXT]), f"{PARAGRAPH}.context", "a list", 2),
    "context is empty": (put(paragraph, "context", ""), f"{PARAGRAPH}.context", "empty", 2),
    "context is blank": (put(paragraph, "context", " \n\u3000"), f"{PARAGRAPH}.context", "empty", 2),
    "no qas": (drop(paragraph, "qas"), PARAGRAPH, '"qas"', 2),
    "qas is text": (put(paragraph, "qas", "없음"), f"{PARAGRAPH}.qas", '"없음"', 2),
    "question entry is text": (put(lambda d: paragraph(d)["qas"], 1, "세종?"), QA, '"세종?"', 4),
    "question entry is null": (put(lambda d: paragraph(d)["qas"], 1, None), QA, "null", 4),
    "no id": (drop(question, "id"), QA, '"id"', 4),
    "id is null": (put(question, "id", None), f"{QA}.id", "null", 4),
    "id is a float": (put(question, "id", 1.5), f"{QA}.id", "1.5", 4),
    "id is true": (put(question, "id", True), f"{QA}.id", "true", 4),
    "id is a list": (put(question, "id", ["b"]), f"{QA}.id", "a list", 4),
    "id is empty": (put(question, "id", ""), f"{QA}.id", "empty", 4),
    "id is blank": (put(question, "id", "  "), f"{QA}.id", "empty", 4),
    "id is taken": (put(question, "id", "a"), f"{QA}.id", "$.data[0].paragraphs[0].qas[0]", 4),
    "guid is taken": (
        lambda d: question(d).update(guid=question(d).pop("id") and "a"),
        f"{QA}.guid",
        "taken",
        4,
    ),
    "no question": (drop(question, "question"), QA, '"question"', 4),
    "question is null": (put(question, "question", None), f"{QA}.question", "null", 4),
    "question is a number": (put(question, "question", 12), f"{QA}.question", "12", 4),
    "question is empty": (put(question, "question", ""), f"{QA}.question", "empty", 4),
    "question is blank": (put(question, "question", "\t\u00a0"), f"{QA}.question", "empty", 4),
    "no answers": (drop(question, "answers"), QA, '"answers"', 4),
    "answers is null": (put(question, "answers", None), f"{QA}.answers", "null", 4),
    "answers is an object of other things": (
        put(question, "answers", {"text": ["세종"], "answer_start": [13, 14]}),
        f"{QA}.answers",
        "an object",
        4,
    ),
    "answers is empty": (put(question, "answers", []), f"{QA}.answers", "empty", 4),
    "answer is text": (put(question, "answers", ["세종"]), ANSWER, '"세종"', 4),
    "answer is null": (put(question, "answers", [None]), ANSWER, "null", 4),
    "no text": (drop(answer, "text"), ANSWER, '"text"', 4),
    "text is null": (put(answer, "text", None), f"{ANSWER}.text", "null", 4),
    "text is a number": (put(answer, "text", 1443), f"{ANSWER}.text", "1443", 4),
    "text is empty": (put(answer, "text", ""), f"{ANSWER}.text", "empty", 4),
    "text is blank": (put(answer, "text", " "), f"{ANSWER}.text", "empty", 4),
    "no answer_start": (drop(answer, "answer_start"), ANSWER, '"answer_start"', 4),
    "answer_start is null": (put(answer, "answer_start", None), f"{ANSWER}.answer_start", "null", 4),
    "answer_start is text": (put(answer, "answer_start", "13"), f"{ANSWER}.answer_start", '"13"', 4),
    "answer_start is a float": (put(answer, "answer_start", 13.0), f"{ANSWER}.answer_start", "13.0", 4),
    "answer_start is true": (put(answer, "answer_start", True), f"{ANSWER}.answer_start", "true", 4),
    "answer_start is one too far": (
        lambda d: answer(d).update(answer_start=CONTEXT.index("세종") + 1),
        f"{ANSWER}.answer_start",
        f"nearest place with that text is {CONTEXT.index('세종')}",
        4,
    ),
    "answer_start is negative": (
        put(answer, "answer_start", CONTEXT.index("세종") - len(CONTEXT)),
        f"{ANSWER}.answer_start",
        "-",
        4,
    ),
    "answer_start is past the end": (
        put(answer, "answer_start", 999),
        f"{ANSWER}.answer_start",
        f"{len(CONTEXT)} characters",
        4,
    ),
    "answer_start is huge": (put(answer, "answer_start", 10**300), f"{ANSWER}.answer_start", "characters", 4),
    "answer_start counts bytes": (
        put(answer, "answer_start", len(CONTEXT[: CONTEXT.index("세종")].encode())),
        f"{ANSWER}.answer_start",
        "nearest",
        4,
    ),
    "text runs past the end": (
        lambda d: answer(d).update(text="었다. 끝", answer_start=len(CONTEXT) - 3),
        f"{ANSWER}.answer_start",
        "does not occur",
        4,
    ),
    "text is not in the context": (
        put(answer, "text", "세조"),
        f"{ANSWER}.answer_start",
        "does not occur",
        4,
    ),
    "text is NFD": (
        put(answer, "text", "\u1109\u1166\u110c\u1169\u11bc"),
        f"{ANSWER}.answer_start",
        "NFC, NFD",
        4,
    ),
    "second answer is misplaced": (
        lambda d: question(d)["answers"].append({"text": "세종", "answer_start": 0}),
        f"{QA}.answers[1].answer_start",
        "훈민",
        4,
    ),
    "is_impossible is text": (put(question, "is_impossible", "true"), f"{QA}.is_impossible", '"true"', 4),
    "is_impossible is null": (put(question, "is_impossible", None), f"{QA}.is_impossible", "null", 4),
    "is_impossible is 1": (put(question, "is_impossible", 1), f"{QA}.is_impossible", "1", 4),
    "impossible, but answered": (put(question, "is_impossible", True), f"{QA}.answers", "is_impossible", 4),
    "possible, but not answered": (
        lambda d: question(d).update(is_impossible=False, answers=[]),
        f"{QA}.answers",
        "empty",
        4,
    ),
    "plausible_answers is text": (
        put(question, "plausible_answers", "세종"),
        f"{QA}.plausible_answers",
        '"세종"',
        4,
    ),
    "plausible answer has no text": (
        put(question, "plausible_answers", [{"answer_start": 1}]),
        f"{QA}.plausible_answers[0]",
        '"text"',
        4,
    ),
    "NaN for an offset": (put(answer, "answer_start", float("nan")), f"{ANSWER}.answer_start", "NaN", 4),
    "Infinity beside the fields": (put(question, "score", float("inf")), f"{QA}.score", "Infinity", 4),
    "NaN for an article": (put(lambda d: d["data"], 1, float("nan")), "$.data[1]", "NaN", 4),
    "NaN for a question entry": (put(lambda d: paragraph(d)["qas"], 1, float("nan")), QA, "NaN", 4),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damage_is_named_and_can_be_left_out(name: str, tmp_path: Path) -> None:
    edit, where, what, kept = DAMAGED[name]
    doc = document()
    edit(doc)
    path = write(tmp_path / "data.json", doc)
    with pytest.raises(DataError) as caught:
        load_squad(path)
    assert [problem.path for problem in caught.value.problems] == [where]
    assert what in str(caught.value.problems[0])
    assert str(path) in str(caught.value)
    assert where in str(caught.value)
    loaded = read_squad(path, skip_invalid=True)
    reconcile(loaded)
    assert loaded.counts.kept == kept
    sound = {example.id: example for example in load_squad(write(tmp_path / "sound.json", document()))}
    for example in loaded.examples:  # what is kept is kept as it was
        assert (example.question, example.context, example.answers) == (
            sound[example.id].question,
            sound[example.id].context,
            sound[example.id].answers,
        )


def reconcile(loaded: Loaded) -> None:
    counts = loaded.counts
    assert counts.questions == counts.kept + counts.left_out
    assert counts.kept == len(loaded.examples)
    assert counts.left_out == len(loaded.left_out)
    assert counts.answers == sum(len(example.answers) for example in loaded.examples)


def test_a_question_is_named_by_its_id(tmp_path: Path) -> None:
    doc = document()
    question(doc)["question"] = ""
    with pytest.raises(DataError) as caught:
        load_squad(write(tmp_path / "data.json", doc))
    assert caught.value.problems[0].id == "b"
    assert "(id b)" in str(caught.value)


def test_every_problem_is_listed_at_once(tmp_path: Path) -> None:
    doc = document()
    question(doc)["question"] = ""
    answer(doc)["answer_start"] = 0
    doc["data"][1]["paragraphs"][0]["context"] = ""
    path = write(tmp_path / "data.json", doc)
    with pytest.raises(DataError) as caught:
        load_squad(path)
    assert [problem.path for problem in caught.value.problems] == [
        f"{QA}.question",
        f"{ANSWER}.answer_start",
        "$.data[1].paragraphs[0].context",
    ]
    assert "3 problems; 3 of 5 questions are usable" in str(caught.value)
    loaded = read_squad(path, skip_invalid=True)
    assert loaded.left_out == ("b", "e")
    reconcile(loaded)


# Files that hold no document at all: bytes, part of the message.
BROKEN: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "empty"),
    "white space": (b" \r\n\t", "empty"),
    "only a BOM": (b"\xef\xbb\xbf", "empty"),
    "cut off in text": (
        json.dumps(document(), ensure_ascii=False).encode()[:200].decode("utf-8", "ignore").encode(),
        "cut off",
    ),
    "cut off in a list": (json.dumps(document()).encode()[:-3], "cut off"),
    "cut off at once": (b"{", "cut off"),
    "cut off inside a character": ('{"data": "훈'.encode()[:-1], "UTF-8"),
    "CP949": ('{"data": "훈민정음"}'.encode("cp949"), "CP949"),
    "UTF-16 cut off": ('{"data": []}'.encode("utf-16")[:-1], "UTF-16"),
    "UTF-16 without a mark": ('{"data": []}'.encode("utf-16-be"), "UTF-16"),
    "surrogate in UTF-8": (b'{"data": "\xed\xa0\x80"}', "UTF-8"),
    "overlong UTF-8": (b'{"data": "\xc0\xaf"}', "UTF-8"),
    "single quotes": (b"{'data': []}", "not JSON"),
    "trailing comma": (b'{"data": [],}', "not JSON"),
    "a comment": (b'{"data": []} // x', "end of its JSON value"),
    "JSON lines": (b'{"id": 1}\n{"id": 2}\n', "0 of 2 questions"),
    "two documents": (b'{"data": []}{"data": []}', "end of its JSON value"),
    "raw line break in text": (b'{"data": "a\nb"}', "control character"),
    "raw tab in text": (b'{"data": "a\tb"}', "control character"),
    "bad escape": (b'{"data": "\\x41"}', "not JSON"),
    "HTML": (b"<!DOCTYPE html><html>404</html>", "not JSON"),
    "binary": (b"PK\x03\x04\x14\x00\x00\x00\x08\x00\xff\xfe", "ZIP"),
    "nested lists": (b"[" * 200_000, "deeply"),
    "nested objects": (b'{"a":' * 200_000 + b"1" + b"}" * 200_000, "deeply"),
    "endless number": (b'{"data": ' + b"9" * 5_000 + b"}", "digits"),
}


@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.parametrize("skip_invalid", [False, True])
def test_what_is_no_document_is_one_clear_error(name: str, skip_invalid: bool, tmp_path: Path) -> None:
    content, what = BROKEN[name]
    path = tmp_path / "data.json"
    path.write_bytes(content)
    with pytest.raises(DataError, match=what) as caught:
        load_squad(path, skip_invalid=skip_invalid)
    assert str(caught.value).startswith(str(path))
    assert caught.value.fix


ROOTS = [
    ("[]", "$", "a list"),
    ("null", "$", "null"),
    ('"text"', "$", '"text"'),
    ("3", "$", "3"),
    ("NaN", "$", "NaN"),
    ("{}", "$", '"data"'),
    ('{"data": null}', "$.data", "null"),
    ('{"data": {"title": 1}}', "$.data", "an object"),
    ('{"data": []}', "$.data", "no questions"),
    ('{"data": [{"paragraphs": []}]}', "$.data", "no questions"),
    ('{"data": [{"paragraphs": [{"context": "가", "qas": []}]}]}', "$.data", "no questions"),
    ('{"data": [], "data": []}', "$", "more than once"),
]


@pytest.mark.parametrize(("text", "where", "what"), ROOTS)
@pytest.mark.parametrize("skip_invalid", [False, True])
def test_a_document_of_another_shape(
    text: str, where: str, what: str, skip_invalid: bool, tmp_path: Path
) -> None:
    path = tmp_path / "data.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError) as caught:
        load_squad(path, skip_invalid=skip_invalid)
    assert caught.value.problems[0].path == where
    assert what in str(caught.value.problems[0])


def test_repeated_keys_are_found(tmp_path: Path) -> None:
    text = json.dumps(document(), ensure_ascii=False).replace('"id": "b"', '"id": "b", "question": "둘?"')
    path = tmp_path / "data.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError) as caught:
        load_squad(path)
    assert [(p.path, '"question"' in p.what) for p in caught.value.problems] == [(QA, True)]
    assert read_squad(path, skip_invalid=True).left_out == ("b",)


def test_a_repeated_list_of_questions_counts_as_unreadable(tmp_path: Path) -> None:
    text = json.dumps(document(), ensure_ascii=False).replace(
        '"qas": [{"id": "d"', '"qas": [], "qas": [{"id": "d"'
    )
    path = tmp_path / "data.json"
    path.write_text(text, encoding="utf-8")
    loaded = read_squad(path, skip_invalid=True)
    assert (loaded.left_out, loaded.counts.unreadable) == (("d",), 1)
    reconcile(loaded)


@pytest.mark.parametrize(
    ("edit", "where", "left_out"),
    [
        (put(question, "question", "\ud83d 뭐?"), f"{QA}.question", ("b",)),
        (put(question, "id", "\udc00"), f"{QA}.id", (QA,)),
        (put(answer, "text", "세\udfff"), f"{ANSWER}.text", ("b",)),
        (put(paragraph, "context", CONTEXT + "\ud800"), f"{PARAGRAPH}.context", ("a", "b", "c")),
        (put(article, "title", "\ud800"), "$.data[0].title", ()),
        (put(question, "\ud800", 1), f'{QA}["\\ud800"]', ("b",)),
        (put(root, "note", ["ok", "\udbff"]), "$.note[1]", ()),
    ],
)
def test_lone_surrogates(edit: Edit, where: str, left_out: tuple[str, ...], tmp_path: Path) -> None:
    doc = document()
    edit(doc)
    path = tmp_path / "data.json"
    path.write_text(json.dumps(doc), encoding="ascii")
    with pytest.raises(DataError) as caught:
        load_squad(path)
    assert [problem.path for problem in caught.value.problems] == [where]
    str(caught.value).encode()  # the message itself can be printed
    loaded = read_squad(path, skip_invalid=True)
    assert loaded.left_out == left_out
    assert all(
        not ("\ud800" <= c <= "\udfff") for e in loaded.examples for c in e.title + e.question + e.context
    )
    reconcile(loaded)


def test_escaped_pairs_and_hangul_escapes_are_fine(tmp_path: Path) -> None:
    doc = document()
    question(doc)["question"] = "한글 😀 \ud55c?"
    path = tmp_path / "data.json"
    path.write_text(json.dumps(doc, ensure_ascii=True), encoding="ascii")
    assert load_squad(path)[1].question == "한글 😀 한?"


# --- what is right -----------------------------------------------------------------------------------------


def test_korquad(tmp_path: Path) -> None:
    path = write(tmp_path / "data.json", document())
    examples = load_squad(str(path))
    assert [example.id for example in examples] == ["a", "b", "c", "d", "e"]
    assert examples[1] == Example(
        "b", "세종 질문?", CONTEXT, (Gold("세종", CONTEXT.index("세종")),), False, "훈민정음"
    )
    loaded = read_squad(path)
    reconcile(loaded)
    assert (loaded.counts.articles, loaded.counts.paragraphs, loaded.counts.unreadable) == (2, 3, 0)
    assert loaded.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert not loaded.version_2
    assert loaded.problems == ()


def test_paragraphs_share_their_context(tmp_path: Path) -> None:
    first, second, *_ = load_squad(write(tmp_path / "data.json", document()))
    assert first.context is second.context


def test_squad_2(tmp_path: Path) -> None:
    doc = document()
    doc["version"] = "v2.0"
    question(doc).update(
        is_impossible=True, answers=[], plausible_answers=[{"text": "다른 곳", "answer_start": 5}]
    )
    paragraph(doc)["qas"][0]["is_impossible"] = False
    loaded = read_squad(write(tmp_path / "data.json", doc))
    assert loaded.version_2
    assert [example.is_impossible for example in loaded.examples] == [False, True, False, False, False]
    assert loaded.examples[1].answers == ()
    assert loaded.counts.answers == 4


def test_klue_mrc(tmp_path: Path) -> None:
    context = "프랑스의 의사 K씨는 말했다."
    doc = {
        "version": "klue-mrc-v1.1",
        "data": [
            {
                "title": "제목",
                "news_category": None,
                "source": "wikipedia",
                "paragraphs": [
                    {
                        "context": context,
                        "acronym": False,
                        "qas": [
                            {
                                "guid": "klue-mrc-v1_dev_00001",
                                "question": "누가?",
                                "question_type": 1,
                                "is_impossible": False,
                                "answers": [
                                    {"text": "의사 K씨", "answer_start": 5},
                                    {"text": "K씨", "answer_start": 8},
                                ],
                            },
                            {
                                "guid": "klue-mrc-v1_dev_00002",
                                "question": "언제?",
                                "question_type": 3,
                                "is_impossible": True,
                                "plausible_answers": [{"text": "프랑스", "answer_start": 0}],
                                "answers": [],
                            },
                        ],
                    }
                ],
            }
        ],
    }
    loaded = read_squad(write(tmp_path / "klue.json", doc))
    assert [example.id for example in loaded.examples] == ["klue-mrc-v1_dev_00001", "klue-mrc-v1_dev_00002"]
    assert loaded.examples[0].answers == (Gold("의사 K씨", 5), Gold("K씨", 8))
    assert loaded.examples[1].is_impossible
    assert loaded.version_2


def test_whole_numbers_are_ids_too(tmp_path: Path) -> None:
    doc = document()
    question(doc)["id"] = 17
    assert load_squad(write(tmp_path / "data.json", doc))[1].id == "17"


def test_a_number_and_the_same_text_are_one_id(tmp_path: Path) -> None:
    doc = document()
    question(doc)["id"] = 17
    paragraph(doc)["qas"][2]["id"] = "17"
    with pytest.raises(DataError, match="taken"):
        load_squad(write(tmp_path / "data.json", doc))


def test_what_nobody_needs_may_be_missing(tmp_path: Path) -> None:
    doc = document()
    del doc["version"], doc["data"][0]["title"]
    examples = load_squad(write(tmp_path / "data.json", doc))
    assert [example.title for example in examples] == ["", "", "", "", "수도"]


def test_answers_are_read_only_where_asked(tmp_path: Path) -> None:
    doc = document()
    del question(doc)["answers"]
    paragraph(doc)["qas"][2]["answers"] = []
    path = write(tmp_path / "data.json", doc)
    assert len(scan_data(path).problems) == 2
    loaded = read_data(path, PREDICTING)
    assert [len(example.answers) for example in loaded.examples] == [0, 0, 0, 0, 0]
    assert not loaded.version_2


def test_bom_and_line_ends_of_windows(tmp_path: Path) -> None:
    context = "첫 줄\r\n둘째 줄\r\n\t답은 여기\r\n"
    doc = document()
    paragraph(doc)["context"] = context
    paragraph(doc)["qas"] = [
        {
            "id": "x",
            "question": "어디?",
            "answers": [{"text": "여기", "answer_start": context.index("여기")}],
        },
        {"id": "y", "question": "끝?", "answers": [{"text": "줄\r\n\t답", "answer_start": 8}]},
    ]
    text = json.dumps(doc, ensure_ascii=False, indent=1).replace("\n", "\r\n")
    path = tmp_path / "data.json"
    path.write_bytes(b"\xef\xbb\xbf" + text.encode())
    for example in load_squad(path):
        for gold in example.answers:
            assert example.context[gold.start : gold.end] == gold.text
    assert load_squad(path)[0].context == context


def test_skipping_says_how_many_and_which(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    doc = document()
    question(doc)["question"] = ""
    path = write(tmp_path / "data.json", doc)
    with caplog.at_level(logging.WARNING):
        assert [example.id for example in load_squad(path, skip_invalid=True)] == ["a", "c", "d", "e"]
    assert "left out 1 of 5 questions: b" in caplog.text


def test_nothing_usable_is_an_error_even_when_skipping(tmp_path: Path) -> None:
    doc = document()
    for part in (paragraph(doc), article(doc)["paragraphs"][1], doc["data"][1]["paragraphs"][0]):
        part["context"] = ""
    with pytest.raises(DataError, match="0 of 5 questions are usable"):
        load_squad(write(tmp_path / "data.json", doc), skip_invalid=True)


def test_a_file_over_the_limit_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "data.json"
    with path.open("wb") as file:
        file.truncate(1 << 40)  # a hole: reading it would take a terabyte
    with pytest.raises(
        DataError, match=r"1,099,511,627,776 bytes, the limit is 1,073,741,824.*KOMRC_MAX_DATA_BYTES"
    ):
        load_squad(path)
    small = write(tmp_path / "small.json", document())
    with pytest.raises(DataError, match="too large"):
        read_squad(small, max_bytes=small.stat().st_size - 1)
    assert len(read_squad(small, max_bytes=small.stat().st_size).examples) == 5
    monkeypatch.setenv("KOMRC_MAX_DATA_BYTES", "10")
    with pytest.raises(DataError, match="the limit is 10"):
        load_squad(small)
    monkeypatch.setenv("KOMRC_MAX_DATA_BYTES", "1 GiB")
    with pytest.raises(UsageError, match="KOMRC_MAX_DATA_BYTES"):
        load_squad(small)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        load_squad(tmp_path / "none.json")
    with pytest.raises(DataError, match="folder"):
        load_squad(tmp_path)
    with pytest.raises(DataError, match="regular"):
        load_squad("/dev/zero")
    with pytest.raises(StorageError, match="read"):
        load_squad(tmp_path / ("n" * 5000))


# --- properties --------------------------------------------------------------------------------------------

texts = st.text(min_size=1, max_size=30).filter(str.strip)


@st.composite
def documents(draw: st.DrawFn) -> tuple[dict[str, Any], list[Example]]:
    """A sound document and the examples it holds."""
    data: list[dict[str, Any]] = []
    examples = []
    for _ in range(draw(st.integers(1, 3))):
        title = draw(st.text(max_size=5))
        paragraphs = []
        for _ in range(draw(st.integers(1, 2))):
            context = draw(texts)
            qas: list[dict[str, Any]] = []
            for _ in range(draw(st.integers(1, 3))):
                name = f"q{len(examples)}{draw(st.text(max_size=3))}"
                asked = draw(texts)
                impossible = draw(st.booleans())
                golds = []
                if not impossible:
                    solid = [i for i, c in enumerate(context) if c.strip()]
                    for _ in range(draw(st.integers(1, 2))):
                        start = draw(st.sampled_from(solid))
                        end = draw(st.integers(start + 1, len(context)))
                        golds.append(Gold(context[start:end], start))
                entry: dict[str, Any] = {"id": name, "question": asked}
                entry["answers"] = [{"text": g.text, "answer_start": g.start} for g in golds]
                if impossible or draw(st.booleans()):
                    entry["is_impossible"] = impossible
                qas.append(entry)
                examples.append(Example(name, asked, context, tuple(golds), impossible, title))
            paragraphs.append({"context": context, "qas": qas})
        data.append({"title": title, "paragraphs": paragraphs})
    return {"version": "x", "data": data}, examples


@given(documents(), st.booleans(), st.booleans(), st.sampled_from([None, 1]))
@settings(max_examples=60, deadline=None)
def test_what_is_written_is_what_is_read(
    tmp_path_factory: pytest.TempPathFactory,
    made: tuple[dict[str, Any], list[Example]],
    bom: bool,
    escaped: bool,
    indent: int | None,
) -> None:
    doc, examples = made
    text = json.dumps(doc, ensure_ascii=escaped, indent=indent)
    path = tmp_path_factory.mktemp("squad") / "data.json"
    path.write_bytes(text.encode("utf-8-sig" if bom else "utf-8"))
    loaded = read_squad(path)
    assert loaded.examples == examples
    assert loaded.version_2 == any(example.is_impossible for example in examples)
    reconcile(loaded)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["data", "paragraphs", "qas", "id", "answers", "text", "x"]), inner, max_size=3
        )
    ),
    max_leaves=8,
)


@given(documents(), json_values, st.data())
@settings(max_examples=150, deadline=None)
def test_any_damage_is_reported_never_a_crash(
    tmp_path_factory: pytest.TempPathFactory,
    made: tuple[dict[str, Any], list[Example]],
    value: object,
    data: st.DataObject,
) -> None:
    """Any value in any place of a sound document: what is kept is sound, and the counts add up."""
    doc, examples = made
    places: list[tuple[Any, Any]] = []
    stack: list[Any] = [doc]
    while stack:
        node = stack.pop()
        for key in list(node) if isinstance(node, dict) else range(len(node)):
            places.append((node, key))
            if isinstance(node[key], dict | list):
                stack.append(node[key])
    node, key = data.draw(st.sampled_from(places))
    node[key] = value
    path = tmp_path_factory.mktemp("squad") / "data.json"
    path.write_text(json.dumps(doc), encoding="ascii")
    loaded = scan_data(path)
    reconcile(loaded)
    by_id = {example.id: example for example in examples}
    for example in loaded.examples:
        assert all(example.context[g.start : g.end] == g.text for g in example.answers)
    if (
        not loaded.problems
        and not isinstance(node, list)
        and key not in ("id", "question", "title", "context")
    ):
        assert {example.id for example in loaded.examples} <= set(by_id)
    if loaded.left_out:
        assert loaded.problems


@given(st.binary(max_size=200))
@settings(max_examples=200, deadline=None)
def test_any_bytes_are_read_or_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.mktemp("bytes") / "data.json"
    path.write_bytes(content)
    try:
        read_json(path)
    except DataError as error:
        str(error).encode()


# --- the real files ----------------------------------------------------------------------------------------


def test_the_official_files_are_read_whole(shared: Path) -> None:
    loaded = read_squad(shared / "data/korquad/KorQuAD_v1.0_dev.json")
    counts = loaded.counts
    assert (counts.articles, counts.paragraphs, counts.questions) == (140, 964, 5774)
    assert (counts.kept, counts.left_out, counts.answers) == (5774, 0, 5774)
    assert loaded.sha256 == "25ffeb51e6c51ec02c071b60a10188e10005c144110f0d876b26079d80a35bdf"
    assert loaded.examples[0].question == "임종석이 여의도 농민 폭력 시위를 주도한 혐의로 지명수배 된 날은?"
    assert loaded.examples[0].answers == (Gold("1989년 2월 15일", 0),)
    files = [*sorted((shared / "data/xquad").glob("*.json")), shared / "data/tydiqa_ko/train.json"]
    files += sorted((shared / "data/jaquad/dev").glob("*.json"))
    total = sum(len(load_squad(path)) for path in files)
    assert total == 8330 + 1621 + 3939


@pytest.mark.parametrize(
    ("path", "paragraphs", "questions", "answerable"),
    [
        (hub.sample_data("train"), 35, 205, 205),
        (hub.sample_data("dev"), 11, 66, 66),
        (EVERYDAY / "train.json", 913, 7769, 7769 - 1985),
    ],
)
def test_our_own_files_are_read_whole(path: Path, paragraphs: int, questions: int, answerable: int) -> None:
    loaded = read_squad(path)
    counts = loaded.counts
    assert (counts.paragraphs, counts.questions) == (paragraphs, questions)
    assert (counts.kept, counts.left_out) == (questions, 0)
    assert loaded.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert sum(bool(example.answers) for example in loaded.examples) == answerable
    for example in loaded.examples:
        for gold in example.answers:
            assert example.context[gold.start : gold.end] == gold.text
