"""The sample set that the package carries: valid, varied, our own."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from komrc.data import load_squad
from komrc.models.hub import sample_data
from komrc.types import Example

PARTICLES = "은는이가을를에의로으와과도만"
QUOTES = "「」『』《》〈〉“”‘’"


@pytest.fixture(scope="module")
def parts() -> dict[str, list[Example]]:
    return {"train": load_squad(sample_data("train")), "dev": load_squad(sample_data("dev"))}


@pytest.fixture(scope="module")
def examples(parts: dict[str, list[Example]]) -> list[Example]:
    return parts["train"] + parts["dev"]


def golds_followed_by(examples: list[Example], pattern: str) -> int:
    return sum(
        re.match(pattern, example.context[gold.end :]) is not None
        for example in examples
        for gold in example.answers
    )


def golds_like(examples: list[Example], pattern: str) -> int:
    return sum(re.search(pattern, gold.text) is not None for example in examples for gold in example.answers)


def test_it_is_large_enough_and_its_offsets_are_exact(examples: list[Example]) -> None:
    assert len({example.context for example in examples}) >= 40
    assert len(examples) >= 200
    for example in examples:
        assert 300 <= len(example.context) <= 900
        assert len(example.answers) == 1
        gold = example.answers[0]
        assert example.context[gold.start : gold.end] == gold.text == gold.text.strip() != ""
        assert example.question.endswith("?")


def test_the_parts_share_nothing(parts: dict[str, list[Example]]) -> None:
    for field in ("context", "question", "id"):
        train, dev = ({getattr(example, field) for example in parts[part]} for part in ("train", "dev"))
        assert not train & dev
    assert len({example.context for example in parts["dev"]}) >= 10
    assert len(parts["dev"]) >= 50


def test_ids_are_stable_and_count_within_their_paragraph(examples: list[Example]) -> None:
    assert [
        example.id for example in examples if not re.fullmatch(r"komrc-sample-\d{3}-\d", example.id)
    ] == []
    numbers = {example.context: example.id.rsplit("-", 1)[0] for example in examples}
    assert len(set(numbers.values())) == len(numbers)
    assert all(example.id.startswith(numbers[example.context] + "-") for example in examples)


def test_answers_stand_glued_to_particles_quotes_and_hanja(examples: list[Example]) -> None:
    assert golds_followed_by(examples, f"[{PARTICLES}]") >= 80
    for particle in ("은|는", "이|가", "을|를", "에서", "으로|로", "의", "이다|이며|이고|였"):
        assert golds_followed_by(examples, particle) >= 2, particle
    assert golds_followed_by(examples, f"[{QUOTES}]") >= 8
    assert golds_followed_by(examples, r"\([\u4e00-\u9fff]+\)") >= 10  # 훈민정음(訓民正音)


def test_answers_carry_units_dates_and_numbers_with_commas(examples: list[Example]) -> None:
    for unit in ("명", "km", "%", "원", "℃", "년", "월", "개"):
        assert golds_like(examples, rf"\d\s?[만억]?\s?{unit}") >= 1, unit
    assert golds_like(examples, r"\d,\d{3}") >= 5
    assert golds_like(examples, r"\d+월 \d+일") >= 2
    assert golds_like(examples, r"[A-Za-z]") >= 4
    assert golds_like(examples, r"^.{1,2}$") >= 10
    assert golds_like(examples, r"^.{15,}$") >= 8


def test_contexts_show_every_kind_of_quote(examples: list[Example]) -> None:
    text = "".join({example.context for example in examples})
    assert [mark for mark in QUOTES if mark not in text] == []


def test_questions_ask_in_every_way(examples: list[Example]) -> None:
    for word in ("누구", "언제", "어디", "무엇", "왜", "어떤", "어떻", "몇", "얼마"):
        assert any(word in example.question for example in examples), word


def test_nothing_was_taken_from_the_data_sets_we_train_on(examples: list[Example], shared: Path) -> None:
    contexts: set[str] = set()
    questions: set[str] = set()
    files = [*(shared / "data/korquad").glob("*.json"), *(shared / "data/tydiqa_ko").glob("*.json")]
    for file in files:
        for article in json.loads(file.read_text(encoding="utf-8"))["data"]:
            for paragraph in article["paragraphs"]:
                contexts.add(paragraph["context"])
                questions.update(qa["question"] for qa in paragraph["qas"])
    assert len(questions) > 10_000
    assert not questions & {example.question for example in examples}
    theirs = "\n".join(contexts)
    for context in {example.context for example in examples}:  # no run of 25 characters either
        assert [
            context[i : i + 25] for i in range(0, len(context) - 25, 5) if context[i : i + 25] in theirs
        ] == []
