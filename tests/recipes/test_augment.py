"""Questions asked otherwise of shorter passages: what an answer's characters are stays the same."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

from komrc.models import hub

SCRIPT = Path(__file__).resolve().parents[2] / "recipes/komrc-small/augment.py"


def augmented(data: Path, output: Path) -> None:
    subprocess.run([sys.executable, SCRIPT, "--data", data, "--output", output], check=True)


def questions(file: Path) -> list[tuple[str, dict]]:
    articles = json.loads(file.read_text(encoding="utf-8"))["data"]
    return [(p["context"], qa) for a in articles for p in a["paragraphs"] for qa in p["qas"]]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    made = tmp_path_factory.mktemp("augment") / "varied.json"
    source = hub.sample_data("train")
    augmented(source, made)
    return source, made


def test_every_question_comes_back_with_the_same_answer_in_its_place(files: tuple[Path, Path]) -> None:
    asked, varied = ({qa["id"]: (c, qa) for c, qa in questions(file)} for file in files)
    assert list(varied) == [f"{name}-varied" for name in asked]
    for name, (context, qa) in asked.items():
        shorter, other = varied[f"{name}-varied"]
        (answer,) = other["answers"]
        assert answer["text"] == qa["answers"][0]["text"]
        start = answer["answer_start"]
        assert shorter[start : start + len(answer["text"])] == answer["text"]
        # It is the same occurrence: what stands before it in its sentence does so there, too.
        before = context[max(0, qa["answers"][0]["answer_start"] - 3) : qa["answers"][0]["answer_start"]]
        assert shorter[:start].strip() == "" or shorter[:start].endswith((before, before.lstrip(), " "))


def test_passages_are_cut_some_have_foreign_sentences_and_questions_change(files: tuple[Path, Path]) -> None:
    asked, varied = (questions(file) for file in files)
    pieces = [new[0] in old[0] for old, new in zip(asked, varied, strict=True)]
    assert 0.5 < sum(pieces) / len(pieces) < 0.8  # DISTRACTED says how many are not
    changed = [old[1]["question"] != new[1]["question"] for old, new in zip(asked, varied, strict=True)]
    assert 0.2 < sum(changed) / len(changed) < 0.9


def test_the_same_data_gives_the_same_bytes(files: tuple[Path, Path], tmp_path: Path) -> None:
    source, made = files
    augmented(source, tmp_path / made.name)
    assert (tmp_path / made.name).read_bytes() == made.read_bytes()


@pytest.mark.parametrize(
    ("question", "possible"),
    [
        (
            "훈민정음을 만든 사람은 누구인가?",
            {"누구인가", "누구야", "누구예요", "누구인가요", "누구일까", "누구입니까"},
        ),
        (
            "훈민정음은 언제 반포되었는가?",
            {"되었는가", "되었나", "되었나요", "되었습니까", "되었어", "되었지"},
        ),
        ("가장 큰 섬의 이름은?", {"이름은", "이름은 무엇인가", "이름은 무엇인가요", "이름은 뭐야"}),
        ("왜 그랬을까?", {"그랬을까"}),
    ],
)
def test_endings_that_mean_the_same(
    question: str, possible: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    from augment import asked_otherwise

    drawn = {asked_otherwise(question, Random(seed)).rstrip("?") for seed in range(400)}
    ends = {
        next((end for end in sorted(possible, key=len, reverse=True) if q.endswith(end)), q) for q in drawn
    }
    assert ends == possible
    assert ("언제 반포되었나" in drawn) == (
        "언제" in question
    )  # cut short before the interrogative word only
