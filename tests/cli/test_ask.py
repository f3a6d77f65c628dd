"""komrc ask over the embedded model."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import pytest

from komrc.cli import main

TEXT = "훈민정음은 1443년 세종이 창제하여\r\n1446년에 반포하였다. 한글이라고도 부른다."
QUESTION = "훈민정음은 언제 반포되었나?"


@pytest.fixture
def context(tmp_path: Path) -> str:
    path = tmp_path / "text.txt"
    path.write_bytes(b"\xef\xbb\xbf" + TEXT.encode())
    return str(path)


def test_a_line_an_answer(context: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ask", QUESTION, "--context", context, "--top-k", "2"]) == 0
    out, _ = capsys.readouterr()
    rows = [line.split("\t") for line in out.splitlines()]
    assert len(rows) == 2
    text, start, end, score = rows[0]
    assert "1446" in text
    assert " ".join(TEXT[int(start) : int(end)].split()) == text
    assert 0 < float(rows[1][3]) <= float(score) <= 1


def test_distinct_answers_share_no_character(context: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ask", QUESTION, "--context", context, "--top-k", "4", "--distinct"]) == 0
    rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    spans = sorted((int(start), int(end)) for _, start, end, _ in rows)
    assert len(spans) == 4 and "1446" in rows[0][0]
    assert all(end <= start for (_, end), (start, _) in pairwise(spans))


def test_the_case_of_a_price_that_is_struck_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "page.html"
    page.write_text(
        "가격표입니다. 사과는 <s>3,000원</s> 2,500원에 판매합니다. 배는 <s>5,000원</s> 4,200원입니다."
    )
    assert main(["ask", "사과의 판매 가격은?", "--context", str(page)]) == 0
    assert capsys.readouterr().out.startswith("2,500원\t")


def test_json_from_standard_input(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(TEXT.encode())))
    assert main(["ask", QUESTION, "--context", "-", "--json"]) == 0
    value = json.loads(capsys.readouterr().out)
    assert value["question"] == QUESTION
    (answer,) = value["answers"]
    assert answer["text"] == TEXT[answer["start"] : answer["end"]]


def test_on_a_terminal_the_sentence_is_shown(
    context: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert main(["ask", QUESTION, "--context", context]) == 0
    out = capsys.readouterr().out
    assert "%" in out
    assert "반포하였다." in out
    assert "부른다" not in out  # the next sentence


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["ask", " ", "--context", "FILE"], 2, "question"),
        (["ask", "왜?", "--context", "nowhere.txt"], 2, "nowhere.txt"),
        (["ask", "왜?", "--context", "BINARY"], 2, "UTF-8"),
        (["ask", "왜?", "--context", "EMPTY"], 2, "context"),
        (["ask", "왜?", "--context", "FILE", "--model", "no/such/folder/here"], 4, "no/such"),
    ],
)
def test_errors_are_one_message(
    arguments: list[str],
    code: int,
    said: str,
    context: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "binary").write_bytes("한글".encode("cp949"))
    (tmp_path / "empty").write_bytes(b" \n")
    names = {"FILE": context, "BINARY": str(tmp_path / "binary"), "EMPTY": str(tmp_path / "empty")}
    assert main([names.get(argument, argument) for argument in arguments]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("komrc: error: ") and said in err and "Traceback" not in err


def test_utf_16_with_its_mark_is_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "text.txt").write_bytes(TEXT.encode("utf-16"))
    assert main(["ask", QUESTION, "--context", str(tmp_path / "text.txt")]) == 0
    text, start, end, _ = capsys.readouterr().out.split("\t")
    assert TEXT[int(start) : int(end)] == text and "1446" in text


@pytest.mark.parametrize(
    ("data", "name"), [(b"%PDF-1.7\n", "PDF"), (b"\x1f\x8b\x08\x00", "gzip"), (b"PK\x03\x04word/", "DOCX")]
)
def test_a_file_that_is_no_text_is_named(
    data: bytes, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "text").write_bytes(data)
    assert main(["ask", QUESTION, "--context", str(tmp_path / "text")]) == 2
    assert name in capsys.readouterr().err


def test_top_k_must_be_positive(context: str) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["ask", QUESTION, "--context", context, "--top-k", "0"])
    assert caught.value.code == 2


def test_a_long_question_is_cut_and_that_is_said(context: str, caplog: pytest.LogCaptureFixture) -> None:
    assert main(["ask", QUESTION * 60, "--context", context]) == 0
    assert [record.message for record in caplog.records if "cut" in record.message] == [
        "1 question(s) longer than 64 tokens were cut to that length"
    ]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_behind_standard_output_is_one_message(context: str) -> None:
    command = [sys.executable, "-m", "komrc", "ask", QUESTION, "--context", context]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 6
    assert done.stderr.count("\n") == 1 and "No space left" in done.stderr


def test_usage_names_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main([])
    assert caught.value.code == 2
    assert "usage: komrc [-h] [--version] COMMAND" in capsys.readouterr().err


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> str:
    pytest.importorskip("tantivy")
    folder = tmp_path_factory.mktemp("documents")
    (folder / "휴가.md").write_text(
        "# 휴가 규정\n\n연차는 사용일 3일 전까지 신청하여야 한다.\n\n병가를 내려면 진단서를 내야 한다.\n"
    )
    (folder / "식당.txt").write_text("구내식당은 2층에 있다.\n점심은 12시부터 1시까지이다.\n")
    output = tmp_path_factory.mktemp("index") / "my.index"
    assert main(["index", str(folder), "--output", str(output)]) == 0
    return str(output)


def test_an_index_gives_the_place_of_the_answer(index: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ask", "점심은 몇 시부터인가?", "--index", index, "--top-k", "1"]) == 0
    (row,) = capsys.readouterr().out.splitlines()
    text, start, end, score, document, page, line = row.split("\t")
    assert text.startswith("12시") and document == "식당.txt"
    assert (page, line) == ("", "2")
    assert int(end) - int(start) == len(text) and 0 < float(score) <= 1


def test_an_index_in_json_has_the_sentence(index: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ask", "구내식당은 몇 층에 있나?", "--index", index, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["no_answer"] is False
    assert 1 <= len(result["answers"]) <= 3
    best = result["answers"][0]
    assert (best["text"], best["document"], best["line"]) == ("2층", "식당.txt", 1)
    assert best["sentence"] == "구내식당은 2층에 있다."


def test_documents_without_the_answer(index: str, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["ask", "구내식당의 영양사는 누구인가?", "--index", index, "--top-k", "1"]
    assert main(command) == 0
    out, err = capsys.readouterr()
    assert out.startswith("\t0\t0\t")
    assert "문서에 답이 없습니다" in err and "가장 그럴듯한 곳" in err
    assert main([*command, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["no_answer"] is True and result["best_guess"]["document"]
    assert main([*command, "--always-answer"]) == 0
    assert not capsys.readouterr().out.startswith("\t")


def test_an_answer_for_a_terminal(
    index: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("TERM", "dumb")  # no colours
    assert main(["ask", "구내식당은 몇 층에 있나?", "--index", index]) == 0
    out = capsys.readouterr().out
    assert out.startswith("2층") and "식당.txt 1행" in out
    assert "구내식당은 2층에 있다." in out
    assert main(["ask", "구내식당의 영양사는 누구인가?", "--index", index]) == 0
    assert capsys.readouterr().out.startswith("문서에 답이 없습니다")


@pytest.mark.parametrize(
    "options",
    [
        ["--exhaustive", "--index", "i"],
        ["--distinct", "--index", "i"],
        ["--passages", "3", "--context", "c"],
    ],
)
def test_options_of_the_other_source_are_refused(
    options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["ask", QUESTION, *options]) == 2
    assert "has no effect" in capsys.readouterr().err


def test_a_folder_that_is_no_index(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ask", QUESTION, "--index", str(tmp_path / "none")]) == 2
    assert "none" in capsys.readouterr().err
