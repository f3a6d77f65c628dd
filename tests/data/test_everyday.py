"""data/everyday: its offsets, its parts, its balance."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from komrc.data import TRAINING, read_data

FOLDER = Path(__file__).resolve().parents[2] / "data/everyday"
PARTS = ("train", "dev", "test")
KINDS = 18
Passage = dict[str, Any]


@pytest.fixture(scope="module")
def passages() -> dict[str, list[Passage]]:
    """Of each part: kind, context, qas."""
    parts: dict[str, list[Passage]] = {}
    for part in PARTS:
        data = json.loads((FOLDER / f"{part}.json").read_text(encoding="utf-8"))
        parts[part] = [
            {"kind": article["kind"], **paragraph}
            for article in data["data"]
            for paragraph in article["paragraphs"]
        ]
    return parts


def questions(passages: list[Passage]) -> list[Passage]:
    return [question for passage in passages for question in passage["qas"]]


@pytest.mark.parametrize("part", PARTS)
def test_every_answer_is_at_its_offset(part: str) -> None:
    loaded = read_data(FOLDER / f"{part}.json", TRAINING)
    for example in loaded.examples:
        assert example.is_impossible == (not example.answers)
        for answer in example.answers:
            assert answer.text == answer.text.strip() != ""
            assert example.context[answer.start : answer.end] == answer.text


def test_sizes_and_the_share_without_an_answer(passages: dict[str, list[Passage]]) -> None:
    everything = [p for part in passages.values() for p in part]
    assert len(everything) >= 1200
    assert len(questions(everything)) >= 7000
    for part in passages.values():
        none = sum(q["is_impossible"] for q in questions(part))
        assert 0.23 < none / len(questions(part)) < 0.28


def test_kinds_are_even_in_every_part(passages: dict[str, list[Passage]]) -> None:
    sizes = {part: Counter(p["kind"] for p in rows) for part, rows in passages.items()}
    for part, counts in sizes.items():
        assert len(counts) == KINDS, part
        assert max(counts.values()) <= 1.5 * min(counts.values()), part
    for rows in passages.values():
        for kind in {p["kind"] for p in rows}:
            own = questions([p for p in rows if p["kind"] == kind])
            assert 0.15 < sum(q["is_impossible"] for q in own) / len(own) < 0.35


def test_lengths(passages: dict[str, list[Passage]]) -> None:
    everything = [p for part in passages.values() for p in part]
    lengths = sorted(len(p["context"]) for p in everything)
    assert lengths[0] >= 140 and lengths[-1] <= 2100
    assert lengths[len(lengths) // 4] < 400 < lengths[len(lengths) // 2] < 700
    answers = sorted(len(a["text"]) for q in questions(everything) for a in q["answers"])
    assert answers[len(answers) // 2] <= 12 and answers[-1] <= 120


def test_nothing_is_there_twice(passages: dict[str, list[Passage]]) -> None:
    everything = [p for part in passages.values() for p in part]
    contexts = Counter("".join(p["context"].split()) for p in everything)
    assert max(contexts.values()) == 1
    ids = Counter(q["id"] for q in questions(everything))
    assert max(ids.values()) == 1
    for passage in everything:
        asked = Counter(q["question"] for q in passage["qas"])
        assert max(asked.values()) == 1


def test_no_passage_of_a_part_is_nearly_one_of_another(passages: dict[str, list[Passage]]) -> None:
    """Of the runs of 8 characters in a passage, few are in any single passage of another part."""

    def runs(text: str) -> set[str]:
        text = "".join(text.split())
        return {text[i : i + 8] for i in range(len(text) - 7)}

    owners: dict[str, list[tuple[str, int]]] = {}
    for part, rows in passages.items():
        for number, passage in enumerate(rows):
            for run in runs(passage["context"]):
                owners.setdefault(run, []).append((part, number))
    for part, rows in passages.items():
        for number, passage in enumerate(rows):
            own = runs(passage["context"])
            shared = Counter(
                owner for run in own for owner in owners[run] if owner[0] != part and owner != (part, number)
            )
            if shared:
                (owner, count) = shared.most_common(1)[0]
                assert count <= 0.2 * len(own), (part, number, owner)
