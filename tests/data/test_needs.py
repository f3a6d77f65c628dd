"""Every command checks what it uses of a data file, and nothing else."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from komrc.data import (
    EVALUATING,
    EVERYTHING,
    PREDICTING,
    REPORTING,
    SCORING,
    TRAINING,
    Needs,
    read_data,
    read_predictions,
    scan_data,
)
from komrc.errors import DataError
from komrc.types import Example, Gold

CONTEXT = "나래도서관은 1997년에 한빛시에 문을 열었다. 관장은 윤가람이다."
CITY, KEEPER = CONTEXT.index("한빛시"), CONTEXT.index("윤가람")


def row(name: Any, text: str, **more: Any) -> dict[str, Any]:
    """A question of the flat layout."""
    answers = {"text": [text], "answer_start": [CONTEXT.index(text)]}
    return {"id": name, "question": f"{text}?", "context": CONTEXT, "answers": answers, **more}


def qa(name: Any, text: str, **more: Any) -> dict[str, Any]:
    """A question of SQuAD's layout."""
    answers = [{"text": text, "answer_start": CONTEXT.index(text)}]
    return {"id": name, "question": f"{text}?", "answers": answers, **more}


def squad(*questions: dict[str, Any], **article: Any) -> dict[str, Any]:
    paragraphs = [{"context": CONTEXT, "qas": list(questions)}]
    return {"version": "KorQuAD_v1.0_x", "data": [{"title": "t", "paragraphs": paragraphs, **article}]}


def write(path: Path, value: object) -> Path:
    path.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")
    return path


WANTED = [
    Example("a", "한빛시?", CONTEXT, (Gold("한빛시", CITY),)),
    Example("b", "윤가람?", CONTEXT, (Gold("윤가람", KEEPER),)),
]
ROWS = [row("a", "한빛시"), row("b", "윤가람")]


def lines(rows: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(value, ensure_ascii=False) + "\n" for value in rows).encode()


def separated(delimiter: str, show: Any = json.dumps) -> bytes:
    def cell(text: str) -> str:
        return '"' + text.replace('"', '""') + '"'

    table = [["", "id", "question", "context", "answers"]]
    table += [["0", v["id"], v["question"], v["context"], show(v["answers"])] for v in ROWS]
    return "\r\n".join(delimiter.join(map(cell, values)) for values in table).encode("utf-8-sig")


FORMS: dict[str, tuple[str, bytes]] = {
    "JSON Lines": ("a.jsonl", lines(ROWS)),
    "JSON Lines with gzip": ("a.jsonl.gz", gzip.compress(lines(ROWS))),
    "JSON Lines in UTF-16": ("a.ndjson", lines(ROWS).decode().encode("utf-16")),
    "JSON Lines called .json": ("a.json", lines(ROWS)),
    "a list": ("a.json", json.dumps(ROWS).encode()),
    "a list in UTF-16 with gzip": ("a.json.gz", gzip.compress(json.dumps(ROWS).encode("utf-16"))),
    "data with rows": ("a.json", json.dumps({"version": "1", "data": ROWS}).encode()),
    "CSV": ("a.csv", separated(",")),
    "CSV with semicolons": ("a.csv", separated(";")),
    "CSV as pandas writes lists": ("a.csv", separated(",", str)),
    "TSV": ("a.tsv", separated("\t")),
    "CSV of one answer a row": (
        "a.csv",
        f"id,question,context,answer,answer_start\na,한빛시?,{CONTEXT},한빛시,{CITY}\n"
        f"b,윤가람?,{CONTEXT},윤가람,{KEEPER}\n".encode(),
    ),
}


@pytest.mark.parametrize("needs", [EVERYTHING, TRAINING, EVALUATING, REPORTING])
@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_questions(tmp_path: Path, form: str, needs: Needs) -> None:
    name, content = FORMS[form]
    (tmp_path / name).write_bytes(content)
    assert read_data(tmp_path / name, needs).examples == WANTED


def test_parquet(tmp_path: Path) -> None:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "a.parquet"
    pq.write_table(pa.Table.from_pylist([row(1, "한빛시"), row(2, "윤가람")]), path)
    loaded = read_data(path, TRAINING)
    assert [example.id for example in loaded.examples] == ["1", "2"]
    assert [example.answers for example in loaded.examples] == [e.answers for e in WANTED]
    wrong = path.rename(tmp_path / "a.json")
    with pytest.raises(DataError, match="is a Parquet file"):
        read_data(wrong, TRAINING)


def test_ai_hub(tmp_path: Path) -> None:
    answer = {"text": "한빛시", "answer_start": CITY, "clue_text": "한빛시", "options": None}
    questions = [
        {"question_id": "0-0", "question": "어디?", "is_impossible": False, "answers": answer},
        {
            "question_id": "0-1",
            "question": "표값?",
            "is_impossible": True,
            "answers": answer | {"text": "", "answer_start": -1},
        },
    ]
    article = {"doc_title": "도서관", "paragraphs": [{"context": CONTEXT, "qas": questions}]}
    path = write(tmp_path / "a.json", {"Dataset": {"name": "x"}, "data": [article]})
    assert read_data(path, EVERYTHING).examples == [
        Example("0-0", "어디?", CONTEXT, (Gold("한빛시", CITY),), False, "도서관"),
        Example("0-1", "표값?", CONTEXT, (), True, "도서관"),
    ]


@pytest.mark.parametrize("answer", [{"text": "", "answer_start": 0}, {"text": "없음", "answer_start": -1}])
def test_an_empty_answer_under_is_impossible_is_no_answer(tmp_path: Path, answer: dict[str, Any]) -> None:
    doc = squad(qa("a", "한빛시"), {**qa("b", "윤가람"), "answers": [answer], "is_impossible": True})
    for needs in (EVERYTHING, TRAINING, SCORING):
        examples = read_data(write(tmp_path / "a.json", doc), needs).examples
        assert [(e.is_impossible, len(e.answers)) for e in examples] == [(False, 1), (True, 0)]


def test_an_empty_answer_elsewhere_comes_with_advice(tmp_path: Path) -> None:
    doc = squad({**qa("a", "한빛시"), "answers": [{"text": "", "answer_start": 0}]})
    (problem,) = scan_data(write(tmp_path / "a.json", doc), TRAINING).problems
    assert "set is_impossible to true and empty the list" in problem.fix


def test_hugging_faces_empty_lists_are_no_answer(tmp_path: Path) -> None:
    path = write(tmp_path / "a.json", [{**ROWS[0], "answers": {"text": [], "answer_start": []}}])
    assert read_data(path, TRAINING).examples[0].is_impossible


UNUSED: dict[str, dict[str, Any]] = {
    "title is null": squad(qa("a", "한빛시"), title=None),
    "title is a number": squad(qa("a", "한빛시"), title=7),
    "plausible answers are null": squad(qa("a", "한빛시", plausible_answers=None)),
    "a plausible answer is empty": squad(
        qa("a", "한빛시", plausible_answers=[{"text": "", "answer_start": -1}])
    ),
    "is_impossible is null": squad(qa("a", "한빛시", is_impossible=None)),
}


@pytest.mark.parametrize("needs", [TRAINING, EVALUATING, SCORING, REPORTING, PREDICTING])
@pytest.mark.parametrize("name", UNUSED)
def test_what_no_command_uses_stops_none(tmp_path: Path, name: str, needs: Needs) -> None:
    path = write(tmp_path / "a.json", UNUSED[name])
    assert [example.id for example in read_data(path, needs).examples] == ["a"]
    assert len(scan_data(path, EVERYTHING).problems) == 1


def test_only_training_needs_offsets(tmp_path: Path) -> None:
    wrong = [{"text": "한빛시", "answer_start": CITY + 1}]
    path = write(tmp_path / "a.json", squad(qa("a", "한빛시", answers=wrong)))
    for needs in (EVALUATING, SCORING, REPORTING, PREDICTING):
        (example,) = read_data(path, needs).examples
        assert all(gold == Gold("한빛시", CITY) for gold in example.answers)
    with pytest.raises(DataError):
        read_data(path, TRAINING)
    write(path, squad(qa("a", "한빛시", answers=[{"text": "다른 곳"}])))
    assert read_data(path, SCORING).examples[0].answers[0].text == "다른 곳"


def test_predicting_needs_no_answers_scoring_no_passages(tmp_path: Path) -> None:
    path = write(tmp_path / "a.json", squad({"id": "a", "question": "?", "answers": "none"}))
    assert read_data(path, PREDICTING).examples == [Example("a", "?", CONTEXT, (), False, "t")]
    questions = [{"id": "a", "answers": [{"text": "x"}]}, {"id": "a", "answers": [{"text": "y"}]}]
    write(path, {"data": [{"paragraphs": [{"qas": questions}]}]})
    assert [e.answers[0].text for e in read_data(path, SCORING).examples] == ["x", "y"]


def test_training_numbers_missing_ids(tmp_path: Path) -> None:
    doc = squad({**qa("", "한빛시"), "id": None}, qa(2, "윤가람"), {**qa("x", "1997년")})
    del doc["data"][0]["paragraphs"][0]["qas"][2]["id"]
    path = write(tmp_path / "a.json", doc)
    assert [example.id for example in read_data(path, TRAINING).examples] == ["1", "2", "3"]
    with pytest.raises(DataError, match="data fix"):
        read_data(path, PREDICTING)


@pytest.mark.parametrize(
    ("value", "what"),
    [
        (
            {"data": [{"context": "<p>x</p>", "raw_html": "", "qas": [{"id": "1", "answer": {}}] * 9}] * 9},
            "layout of KorQuAD 2.0",
        ),
        ({"q0": "한빛시", "q1": ""}, "contains no questions"),
        ([{"id": "1", "text": "x"}], "a list"),
    ],
)
def test_what_is_no_data_is_one_error(tmp_path: Path, value: object, what: str) -> None:
    path = write(tmp_path / "a.json", value)
    for needs in (TRAINING, SCORING, PREDICTING):
        with pytest.raises(DataError, match=what) as caught:
            read_data(path, needs)
        assert len(str(caught.value).splitlines()) <= 3
        assert caught.value.fix


def test_outputs_are_no_data(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(lines([{"id": "1", "text": "x", "start": 0, "end": 1, "score": 0.5}] * 3))
    with pytest.raises(DataError, match="komrc predict wrote"):
        read_data(path, PREDICTING)


def test_many_problems_are_counted_and_the_advice_is_last(tmp_path: Path) -> None:
    questions = [{**qa(n, "한빛시"), "question": ""} for n in range(500)]
    questions += [
        {**qa(n, "한빛시", answers=[{"text": "한빛시", "answer_start": n}])} for n in range(500, 530)
    ]
    with pytest.raises(DataError) as caught:
        read_data(write(tmp_path / "a.json", squad(*questions)), TRAINING)
    shown = str(caught.value).splitlines()
    assert len(shown) == 25
    assert "530 problems; 0 of 530" in shown[0]
    assert [line.strip() for line in shown[-4:-1]] == [
        "… and 510 more. By kind:",
        "500 × question: is empty",
        "30 × answer_start: is …",
    ]
    assert "data fix" in shown[-1]
    assert len(caught.value.problems) == 530


def test_predictions_of_every_form(tmp_path: Path) -> None:
    wanted = {"1": "한빛시", "b": ""}
    found = [{"id": 1, "text": "한빛시", "score": 0.5}, {"id": "b", "text": ""}]
    (tmp_path / "a.jsonl").write_bytes(lines(found))
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(lines(found)))
    folder = tmp_path / "shards"
    folder.mkdir()
    (folder / "part-0.jsonl").write_bytes(lines(found[:1]))
    (folder / "part-1.jsonl").write_bytes(lines(found[1:]))
    (folder / "run.json").write_text("{}")
    with pytest.raises(DataError, match="not complete"):
        read_predictions(folder)
    (folder / "manifest.json").write_text("{}")
    for path in (write(tmp_path / "a.json", wanted), tmp_path / "a.jsonl", tmp_path / "a.jsonl.gz", folder):
        assert read_predictions(path) == wanted
    for value in (squad(qa("a", "한빛시")), [1], {"a": 1}):
        with pytest.raises(DataError):
            read_predictions(write(tmp_path / "b.json", value))
