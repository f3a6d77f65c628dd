"""Rows of Hugging Face's `datasets` to Examples and back."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from komrc import Example, Gold, from_dataset, load_squad, to_dataset
from komrc.errors import DataError, InputError, MissingPackageError
from komrc.models.hub import sample_data

ROW: dict[str, Any] = {
    "id": "a",
    "title": "글자",
    "context": "훈민정음은 세종이 창제하였다.",
    "question": "누가 창제했나?",
    "answers": {"text": ["세종"], "answer_start": [6]},
}
EXAMPLE = Example("a", ROW["question"], ROW["context"], (Gold("세종", 6),), False, "글자")


def changed(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in (ROW | values).items() if value is not ...}


@pytest.mark.parametrize(
    "answers",
    [
        {"answers": {"text": ["세종"], "answer_start": [6]}},
        {"answers": [{"text": "세종", "answer_start": 6}]},
        {"answers": ..., "answer": "세종", "answer_start": 6},
    ],
)
def test_layouts_of_answers(answers: dict[str, Any]) -> None:
    assert from_dataset([changed(**answers)]) == [EXAMPLE]


def test_other_column_names() -> None:
    row = {
        "key": "a",
        "passage": ROW["context"],
        "ask": ROW["question"],
        "gold": ROW["answers"],
        "context": 7,
    }
    mapping = {"key": "id", "passage": "context", "ask": "question", "gold": "answers"}
    (example,) = from_dataset(iter([row]), mapping)
    assert (example.id, example.context, example.answers) == ("a", ROW["context"], EXAMPLE.answers)
    with pytest.raises(DataError, match=r"no column text.*key, passage, ask"):
        from_dataset([row], {"text": "context"})


def test_without_answers_there_are_questions() -> None:
    assert from_dataset([changed(answers=...)]) == [
        Example("a", ROW["question"], ROW["context"], title="글자")
    ]


def test_no_answer_and_missing_values() -> None:
    empty = changed(answers={"text": [], "answer_start": []}, id=None, title=None)
    (example,) = from_dataset([empty])
    assert example.is_impossible and example.answers == () and example.title == "" and example.id


def test_every_problem_is_named() -> None:
    rows = [ROW, changed(id="b", question=" "), changed(id="c", context=3), changed(id="a")]
    with pytest.raises(DataError, match="1 of 4 questions are usable") as caught:
        from_dataset(rows)
    assert [problem.path for problem in caught.value.problems] == ["row 1", "row 2", "row 3"]
    assert from_dataset(rows, skip_invalid=True) == [EXAMPLE]


@pytest.mark.parametrize("value", [{"train": [ROW]}, "squad_kor_v1", 5])
def test_what_is_no_split(value: Any) -> None:
    with pytest.raises(InputError, match="one split"):
        from_dataset(value)


@pytest.mark.parametrize(("rows", "words"), [([], "no rows"), ([ROW, "text"], "row 1")])
def test_what_holds_no_rows(rows: Any, words: str) -> None:
    with pytest.raises(DataError, match=words):
        from_dataset(rows)


def test_the_library_is_named_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingPackageError, match=r"komrc\[datasets\]"):
        to_dataset([EXAMPLE])
    assert from_dataset([ROW]) == [EXAMPLE]


@pytest.mark.parametrize(
    ("examples", "columns"),
    [
        ([EXAMPLE], {"id", "title", "context", "question", "answers"}),
        ([Example("1", "언제?", "1443년에.")], {"id", "title", "context", "question"}),
        (
            [EXAMPLE, Example("2", "언제?", "어제.", is_impossible=True)],
            {"id", "title", "context", "question", "answers", "is_impossible"},
        ),
    ],
    ids=["answers", "questions only", "without an answer"],
)
def test_there_and_back(examples: list[Example], columns: set[str]) -> None:
    pytest.importorskip("datasets", reason="the datasets extra is not installed")
    dataset = to_dataset(examples)
    assert set(dataset.column_names) == columns
    assert from_dataset(dataset) == examples
    assert from_dataset(dataset.rename_column("context", "text"), {"text": "context"}) == examples
    assert from_dataset(dataset.to_iterable_dataset()) == examples


def test_the_sample_there_and_back() -> None:
    pytest.importorskip("datasets", reason="the datasets extra is not installed")
    examples = load_squad(sample_data("dev"))
    assert from_dataset(to_dataset(examples)) == examples
