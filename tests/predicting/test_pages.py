"""Predictions on whole pages: one file, resumable, from the command line too."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.fake_engine import FakeEngine

from komrc.cli import main
from komrc.config import ReaderConfig
from komrc.engines import Batch, Logits
from komrc.errors import EngineError, UsageError
from komrc.models.hub import embedded_model
from komrc.page_reader import PageReader
from komrc.predicting.one_file import predict_file
from komrc.predicting.pages import PageQuestions
from komrc.reader import Reader
from komrc.tokenization import load_tokenizer

CONTEXT = "<h1>강 {n}</h1><p>길이는 <b>{n}94km</b>이다.</p><ul><li>북한강 {n}</li><li>남한강 {n}</li></ul>"


@pytest.fixture
def pages(tmp_path: Path) -> Path:
    data = []
    for n in range(1, 9):
        context = CONTEXT.format(n=n)
        answer = {"text": f"{n}94km", "answer_start": context.index(f"{n}94km")}
        qas = [{"id": f"{n}-{k}", "question": f"{n}번 강의 길이는?", "answer": answer} for k in range(2)]
        data.append({"title": f"강 {n}", "url": "", "context": context, "qas": qas})
    path = tmp_path / "pages.json"
    path.write_text(json.dumps({"version": "", "data": data}, ensure_ascii=False), encoding="utf-8")
    return path


class Dies(FakeEngine):
    """Fails at its fifth run, so that pages before it are written."""

    left = 5

    def run(self, batch: Batch) -> Logits:
        self.left -= 1
        if self.left == 0:
            raise EngineError("out of memory")
        return super().run(batch)


def predict(pages: Path, output: Path, engine: FakeEngine) -> int:
    reader = Reader(load_tokenizer(None), engine, ReaderConfig.of(html_markers=True))
    source = PageQuestions.open([pages])
    return predict_file(reader, source, output, run={"model": "m"}, pages=PageReader(reader))


def test_an_interrupted_run_on_pages_is_resumed(pages: Path, tmp_path: Path) -> None:
    predict(pages, tmp_path / "whole.jsonl", FakeEngine())
    with pytest.raises(EngineError):
        predict(pages, tmp_path / "cut.jsonl", Dies())
    assert predict(pages, tmp_path / "cut.jsonl", FakeEngine()) == 8
    assert (tmp_path / "cut.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
    rows = [json.loads(line) for line in (tmp_path / "whole.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [row["id"] for row in rows] == [f"{n}-{k}" for n in range(1, 9) for k in range(2)]
    for row in rows:
        context = CONTEXT.format(n=row["id"][0])
        assert row["text"] == context[row["start"] : row["end"]]


def test_predict_and_evaluate_on_the_command_line(
    pages: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "predictions.json"
    assert main(["predict", "--korquad2", "--data", str(pages), "--output", str(output)]) == 0
    predictions = json.loads(output.read_text(encoding="utf-8"))
    assert predictions["3-0"] == "394km"
    assert main(["predict", "--korquad2", "--exhaustive", "--data", str(pages), "--output", str(output)]) == 0
    capsys.readouterr()
    assert main(["evaluate", str(pages), str(output), "--korquad2"]) == 0
    scores = json.loads(capsys.readouterr().out)
    assert scores["exact_match"] > 80
    assert main(["evaluate", str(pages), "--korquad2", "--model", str(embedded_model())]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out) == scores
    assert "100.0 % of the answers" in printed.err


@pytest.mark.parametrize(
    "more",
    [
        ["--output", "folder"],
        ["--output", "a.json", "--nbest-output", "n.json"],
        ["--output", "a.jsonl", "--top-k", "2"],
        ["--output", "a.json", "--exhaustive", "--passages", "3"],
    ],
)
def test_what_pages_do_not_allow(pages: Path, more: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", "--korquad2", "--data", str(pages), *more]) == UsageError("").exit_code
    assert "--korquad2" in capsys.readouterr().err or "--exhaustive" in more
