"""All answers in one file: forms, and runs that are cut short."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from support.fake_engine import FakeEngine
from support.searches import FixedSearch

from komrc.config import ReaderConfig
from komrc.data import ASKING
from komrc.engines import Batch, Logits
from komrc.errors import DataError, EngineError, StorageError, UsageError
from komrc.predicting.one_file import predict_file
from komrc.predicting.questions import open_questions
from komrc.reader import Reader
from komrc.tokenization import load_tokenizer

RUN = {"model": "m"}
COUNT = 90


def reader(engine: FakeEngine | None = None) -> Reader:
    return Reader(load_tokenizer(None), engine or FakeEngine(), ReaderConfig())


def record(n: int) -> dict[str, str]:
    return {"id": f"q{n}", "question": f"질문 {n}은?", "context": f"{n}번 문서에 담긴 짧은 글이다."}


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    return lines(tmp_path / "q.jsonl", [record(n) for n in range(COUNT)])


def lines(path: Path, values: list[Any]) -> Path:
    path.write_text(
        "".join(json.dumps(value, ensure_ascii=False) + "\n" for value in values), encoding="utf-8"
    )
    return path


def read_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


class Dies(FakeEngine):
    """Fails at its n-th run, so that chunks before it are written."""

    def __init__(self, run: int) -> None:
        super().__init__()
        self.left = run

    def run(self, batch: Batch) -> Logits:
        self.left -= 1
        if self.left < 0:
            raise EngineError("out of memory")
        return super().run(batch)


def answer_all(source: Path, output: Path, **options: Any) -> int:
    run: Mapping[str, str] = options.pop("run", RUN)
    return predict_file(options.pop("reader", reader()), open_questions([source]), output, run=run, **options)


def test_lines_in_and_out(questions: Path, tmp_path: Path) -> None:
    output = tmp_path / "new/answers.jsonl"
    assert answer_all(questions, output) == 0
    found = read_lines(output)
    assert [line["id"] for line in found] == [f"q{n}" for n in range(COUNT)]
    for n, line in enumerate(found):
        assert list(line) == ["id", "text", "start", "end", "score"]
        assert line["text"] == record(n)["context"][line["start"] : line["end"]]
    assert [path.name for path in output.parent.iterdir()] == ["answers.jsonl"]


def test_all_forms_hold_the_same_answers(questions: Path, tmp_path: Path) -> None:
    answer_all(questions, tmp_path / "a.jsonl")
    answer_all(questions, tmp_path / "a.json", nbest_output=tmp_path / "n.json")
    answer_all(questions, tmp_path / "b.jsonl", nbest_output=tmp_path / "n.jsonl", top_k=2)
    texts = {line["id"]: line["text"] for line in read_lines(tmp_path / "a.jsonl")}
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == texts
    nbest = json.loads((tmp_path / "n.json").read_text(encoding="utf-8"))
    assert {name: rows[0]["text"] for name, rows in nbest.items()} == texts
    first = nbest["q0"][0]
    assert list(first) == ["text", "probability", "start_logit", "end_logit", "start", "end"]
    assert first["text"] == record(0)["context"][first["start"] : first["end"]]
    assert {line["id"]: line["nbest"] for line in read_lines(tmp_path / "n.jsonl")} == nbest
    for line in read_lines(tmp_path / "b.jsonl"):
        assert list(line) == ["id", "text", "start", "end", "score", "answers"]
        assert [answer["text"] for answer in line["answers"]] == [
            row["text"] for row in nbest[line["id"]][:2]
        ]
    assert not list(tmp_path.glob("*.part*"))


def test_korquad_file_without_answers(tmp_path: Path) -> None:
    qas = [{"id": "1", "question": "무엇인가?"}, {"id": "2", "question": "누구인가?"}]
    data = {"version": "1", "data": [{"title": "t", "paragraphs": [{"context": "글이다.", "qas": qas}]}]}
    source = tmp_path / "q.json"
    source.write_text(json.dumps(data), encoding="utf-8")
    answer_all(source, tmp_path / "a.json")
    assert list(json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))) == ["1", "2"]


@pytest.mark.parametrize("form", ["a.jsonl", "a.json"])
@pytest.mark.parametrize("torn", [b"", b'{"id": "q1', b'{"id": "\xec\x9d'])
def test_a_run_cut_short_goes_on(questions: Path, tmp_path: Path, form: str, torn: bytes) -> None:
    whole, output = tmp_path / f"whole-{form}", tmp_path / form
    answer_all(questions, whole)
    with pytest.raises(EngineError):
        answer_all(questions, output, reader=reader(Dies(2)))
    assert not output.exists()
    part = tmp_path / f"{form}.part"
    written = len(read_lines(part))
    assert 0 < written < COUNT
    with part.open("ab") as file:
        file.write(torn)
    assert answer_all(questions, output) == written
    assert output.read_bytes() == whole.read_bytes()
    assert not list(tmp_path.glob("*.part*"))


KILLED = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
import test_one_file as t

class Kills(t.Dies):
    def run(self, batch):
        if self.left == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().run(batch)

t.answer_all(Path(sys.argv[1]), Path(sys.argv[2]), reader=t.reader(Kills(3)))
"""


def test_a_killed_process_loses_and_repeats_nothing(questions: Path, tmp_path: Path) -> None:
    output = tmp_path / "a.jsonl"
    command = [sys.executable, "-c", KILLED, str(questions), str(output), str(Path(__file__).parent)]
    search = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    assert subprocess.run(command, check=False, env=search).returncode == -signal.SIGKILL
    assert answer_all(questions, output) > 0
    assert [line["id"] for line in read_lines(output)] == [f"q{n}" for n in range(COUNT)]


def test_an_old_output_stays_until_the_new_one_is_whole(questions: Path, tmp_path: Path) -> None:
    output = tmp_path / "a.json"
    output.write_text("old")
    with pytest.raises(EngineError):
        answer_all(questions, output, reader=reader(Dies(2)))
    assert output.read_text() == "old"


def test_answers_of_two_runs_never_mix(questions: Path, tmp_path: Path) -> None:
    output = tmp_path / "a.jsonl"
    with pytest.raises(EngineError):
        answer_all(questions, output, reader=reader(Dies(2)))
    part = (tmp_path / "a.jsonl.part").read_bytes()
    with pytest.raises(UsageError, match="another model"):
        answer_all(questions, output, run={"model": "other"})
    with pytest.raises(UsageError, match="another top_k"):
        answer_all(questions, output, top_k=2)
    other = lines(tmp_path / "other.jsonl", [record(7)])
    with pytest.raises(UsageError, match="another data"):
        answer_all(other, output)
    assert (tmp_path / "a.jsonl.part").read_bytes() == part
    assert answer_all(other, output, restart=True) == 0
    assert [line["id"] for line in read_lines(output)] == ["q7"]


def test_a_second_run_on_the_same_output_is_refused(questions: Path, tmp_path: Path) -> None:
    output = tmp_path / "a.jsonl"

    class Second(FakeEngine):
        def run(self, batch: Batch) -> Logits:
            with pytest.raises(UsageError, match="another run"):
                answer_all(questions, output)
            return super().run(batch)

    answer_all(questions, output, reader=reader(Second()))


def test_what_an_output_has_no_room_for(questions: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="only one answer"):
        answer_all(questions, tmp_path / "a.json", top_k=2)
    with pytest.raises(UsageError, match="same name"):
        answer_all(questions, tmp_path / "a.json", nbest_output=tmp_path / "a.json")
    twice = lines(tmp_path / "twice.jsonl", [record(1), record(1)])
    with pytest.raises(DataError, match="more than once"):
        answer_all(twice, tmp_path / "a.json")
    (tmp_path / "folder.jsonl.part").mkdir()
    with pytest.raises(StorageError):
        answer_all(questions, tmp_path / "folder.jsonl")


def ask_all(source: Path, output: Path, **options: Any) -> int:
    search = FixedSearch({"가": "등대의 높이는 31미터이다.", "나": "바다는 넓다."})
    source_questions = open_questions([source], needs=ASKING)
    return predict_file(
        options.pop("reader", reader()), source_questions, output, run=RUN, index=search, **options
    )


def test_an_index_answers_questions_without_contexts(tmp_path: Path) -> None:
    source = lines(tmp_path / "q.jsonl", [{"id": f"q{n}", "question": f"{n}번은?"} for n in range(5)])
    assert ask_all(source, tmp_path / "a.jsonl", top_k=2) == 0
    records = read_lines(tmp_path / "a.jsonl")
    assert [record["id"] for record in records] == [f"q{n}" for n in range(5)]
    for record in records:
        assert record["text"] == record["answers"][0]["text"]
        assert [passage["document"] for passage in record["passages"]] == ["가", "나"]
        assert record["passages"][0]["text"] == "등대의 높이는 31미터이다."
    ask_all(source, tmp_path / "a.json")
    assert json.loads((tmp_path / "a.json").read_text()) == {r["id"]: r["text"] for r in records}


def test_a_run_with_an_index_resumes(tmp_path: Path) -> None:
    source = lines(tmp_path / "q.jsonl", [{"id": f"q{n}", "question": f"{n}번은?"} for n in range(5)])
    with pytest.raises(EngineError):
        ask_all(source, tmp_path / "a.jsonl", reader=reader(Dies(3)))
    assert len(read_lines(tmp_path / "a.jsonl.part")) == 3
    assert ask_all(source, tmp_path / "a.jsonl") == 3
    ask_all(source, tmp_path / "whole.jsonl")
    assert read_lines(tmp_path / "a.jsonl") == read_lines(tmp_path / "whole.jsonl")
