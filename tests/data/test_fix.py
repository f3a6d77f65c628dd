"""Mending: what has one meaning is corrected, everything else stays as it is."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path
from typing import Any

import pytest

from komrc.cli import main
from komrc.data import load_squad, scan_data
from komrc.data.offsets import right_place
from komrc.types import Gold

CONTEXT = "😀 나래도서관은 1997년에 세워졌다.\n관장은 윤가람이고,\n부관장도 윤가람이다."
FIRST = CONTEXT.index("윤가람")
SECOND = CONTEXT.rindex("윤가람")


def utf16(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2


@pytest.mark.parametrize("place", [FIRST, SECOND])
@pytest.mark.parametrize(
    "count",
    [
        utf16,
        lambda before: len(before.encode()),
        lambda before: len(before.replace("\n", "\r\n")),
        lambda before: len(before) - 1,
        lambda before: len(before) + 1,
        lambda before: len(unicodedata.normalize("NFD", before)),
    ],
)
def test_an_offset_counted_in_another_way(place: int, count: Any) -> None:
    assert right_place("윤가람", count(CONTEXT[:place]), CONTEXT) == Gold("윤가람", place)


def test_other_contexts() -> None:
    windows = CONTEXT.replace("\n", "\r\n")
    assert right_place("윤가람", SECOND, windows) == Gold("윤가람", windows.rindex("윤가람"))
    wide = CONTEXT.replace(" ", "   ")
    assert right_place("윤가람", SECOND, wide) == Gold("윤가람", wide.rindex("윤가람"))
    decomposed = unicodedata.normalize("NFD", CONTEXT)
    name = unicodedata.normalize("NFD", "윤가람")
    assert right_place("윤가람", SECOND, decomposed) == Gold(name, decomposed.rindex(name))
    indented = f"   {CONTEXT}"
    assert right_place("윤가람", SECOND, indented) == Gold("윤가람", SECOND + 3)


def test_a_text_that_occurs_once_is_meant_there() -> None:
    place = CONTEXT.index("1997년")
    for start in (None, 0, 999, -1):
        assert right_place("1997년", start, CONTEXT) == Gold("1997년", place)
    assert right_place(" 1997년에\n세워졌다 ", None, CONTEXT) == Gold("1997년에 세워졌다", place)


@pytest.mark.parametrize(
    ("text", "start", "context"),
    [
        ("윤가람", None, CONTEXT),
        ("윤가람", 0, CONTEXT),  # two places, none of them explained
        ("가", 1, "가나가"),  # one off in both directions
        ("없다", 3, CONTEXT),
        (" ", 3, CONTEXT),
    ],
)
def test_nothing_is_guessed(text: str, start: int | None, context: str) -> None:
    assert right_place(text, start, context) is None


def write(path: Path, value: object) -> str:
    path.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")
    return str(path)


def squad(*questions: dict[str, Any]) -> dict[str, Any]:
    return {
        "data": [{"title": None, "paragraphs": [{"context": CONTEXT, "note": 1, "qas": list(questions)}]}]
    }


def answers(start: Any, text: str = "윤가람") -> list[dict[str, Any]]:
    return [{"text": text, "answer_start": start}]


def test_the_command_mends_and_lists(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    doc = squad(
        {"id": "1", "question": "?", "answers": answers(FIRST), "more": "kept"},
        {"question": "?", "answers": answers(utf16(CONTEXT[:FIRST]))},
        {"id": 3.0, "question": "?", "answers": answers(float(SECOND)), "is_impossible": "false"},
        {"id": "3", "question": "?", "answers": answers(str(SECOND)), "plausible_answers": None},
        {"id": "left", "question": "?", "answers": answers(0)},
    )
    given = write(tmp_path / "given.json", doc)
    before = Path(given).read_bytes()
    new = tmp_path / "new.json"
    assert main(["data", "fix", given, "--output", str(new)]) == 3
    out = capsys.readouterr().out
    assert "9 values corrected, 1 problems left" in out
    assert "corrected: 1 × repeated id" in out
    assert "$.data[0].paragraphs[0].qas[1].answers[0]" in out
    assert "(id left)" in out
    assert Path(given).read_bytes() == before
    found = scan_data(new)
    assert [(e.id, e.answers[0].start) for e in found.examples] == [
        ("1", FIRST),
        ("2", FIRST),
        ("3", SECOND),
        ("3-2", SECOND),
    ]
    assert found.left_out == ("left",)
    kept = json.loads(new.read_text(encoding="utf-8"))["data"][0]["paragraphs"][0]
    assert kept["note"] == 1 and kept["qas"][0]["more"] == "kept"


def test_a_sound_file_stays_as_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    doc = {"version": "1", **squad({"id": "1", "question": "?", "answers": answers(FIRST)})}
    doc["data"][0]["title"] = "t"
    new = tmp_path / "new.json"
    assert main(["data", "fix", write(tmp_path / "given.json", doc), "--output", str(new)]) == 0
    assert "0 values corrected, 0 problems left" in capsys.readouterr().out
    assert json.loads(new.read_text(encoding="utf-8")) == doc


def test_tables_become_json_lines(tmp_path: Path) -> None:
    row = {"question": "?", "context": CONTEXT, "answers": {"text": ["윤가람"], "answer_start": [FIRST + 1]}}
    given = tmp_path / "given.jsonl"
    given.write_text(f"{json.dumps(row)}\n" * 2, encoding="utf-8")
    new = tmp_path / "new.jsonl"
    assert main(["data", "fix", str(given), "--output", str(new)]) == 0
    assert [(e.id, e.answers) for e in load_squad(new)] == [
        ("1", (Gold("윤가람", FIRST),)),
        ("2", (Gold("윤가람", FIRST),)),
    ]


@pytest.mark.parametrize("output", ["given.json", "there.json", "new.csv", "new"])
def test_no_file_is_overwritten_and_the_form_is_kept(tmp_path: Path, output: str) -> None:
    given = write(tmp_path / "given.json", squad({"question": "?", "answers": answers(FIRST)}))
    (tmp_path / "there.json").write_text("mine")
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    assert main(["data", "fix", given, "--output", str(tmp_path / output)]) == 2
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_ambiguous_json_is_not_mended(tmp_path: Path) -> None:
    given = tmp_path / "given.json"
    given.write_text('{"data": [], "data": [{"paragraphs": []}]}')
    assert main(["data", "fix", str(given), "--output", str(tmp_path / "new.json")]) == 3
    assert not (tmp_path / "new.json").exists()
