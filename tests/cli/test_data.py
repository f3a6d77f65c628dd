"""``komrc data lint`` and ``komrc data get`` from the command line."""

from __future__ import annotations

import hashlib
import json
import os
import pty
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from komrc.cli import data as command
from komrc.cli import main
from komrc.data import load_squad
from komrc.download import RemoteFile
from komrc.report.dataset_stats import describe, reach
from komrc.tokenization import load_tokenizer
from komrc.types import Example, Gold

CONTEXT = "서울은 대한민국의 수도이다. 인구는 9백만 명이다."
PIECES = ["서울", "##은", "대한", "##민국", "##의", "수도", "##이다", ".", "인구는", "9백만", "명", "##이다"]


def qa(name: str, answer: str) -> dict[str, object]:
    return {
        "id": name,
        "question": f"{name}는?",
        "answers": [{"text": answer, "answer_start": CONTEXT.index(answer)}],
    }


def write(path: Path, qas: list[dict[str, object]]) -> str:
    doc = {
        "version": "KorQuAD_v1.0_x",
        "data": [{"title": "t", "paragraphs": [{"context": CONTEXT, "qas": qas}]}],
    }
    path.write_text(json.dumps(doc, ensure_ascii=False), encoding="utf-8")
    return str(path)


@pytest.fixture
def sound(tmp_path: Path) -> str:
    """Four answers: two at token boundaries, one that cuts a token, one that is a whole word."""
    return write(
        tmp_path / "sound.json", [qa("a", "서울"), qa("b", "대한민국"), qa("c", "인구"), qa("d", "9백만")]
    )


@pytest.fixture
def damaged(tmp_path: Path) -> str:
    wrong = qa("b", "대한민국") | {"question": " "}
    return write(tmp_path / "damaged.json", [qa("a", "서울"), wrong])


@pytest.fixture
def tokenizer(tmp_path: Path) -> str:
    folder = tmp_path / "tokenizer"
    folder.mkdir()
    pieces = dict.fromkeys(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *PIECES])
    (folder / "vocab.txt").write_text("\n".join(pieces) + "\n", encoding="utf-8")
    return str(folder)


def test_lint_of_a_sound_file(sound: str, tokenizer: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "lint", sound, "--tokenizer", tokenizer]) == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert lines[0] == f"{sound}: nothing wrong"
    assert "questions: 4" in lines
    assert "  on whole words: 1 (25.0 %)" in lines
    assert "  answers at token boundaries: 3 (75.0 %)" in lines
    assert "  best possible EM / F1: 75.0 / 95.0" in lines
    assert err == ""


def test_lint_lists_findings(damaged: str, tokenizer: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "lint", damaged, "--tokenizer", tokenizer]) == 3
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{damaged}: 1 problem"
    assert lines[1] == (
        "  $.data[0].paragraphs[0].qas[1].question (id b): is empty; write the question, or remove the entry"
    )
    assert {"questions: 2", "  usable: 1", "  left out: 1"} <= set(lines)


def test_lint_as_json(damaged: str, tokenizer: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "lint", damaged, "--tokenizer", tokenizer, "--json"]) == 3
    found = json.loads(capsys.readouterr().out)
    assert found["problems"] == [
        {
            "path": "$.data[0].paragraphs[0].qas[1].question",
            "what": "is empty",
            "fix": "write the question, or remove the entry",
            "id": "b",
        }
    ]
    assert found["left_out"] == ["b"]
    assert found["counts"]["questions"] == found["counts"]["kept"] + found["counts"]["left_out"] == 2
    assert found["reach"]["em"] == 100.0
    assert found["sha256"] == hashlib.sha256(Path(damaged).read_bytes()).hexdigest()


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b'{"data": []}'])
@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_lint_of_what_is_no_data_file(
    content: bytes, flags: list[str], tmp_path: Path, tokenizer: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "data.json"
    path.write_bytes(content)
    assert main(["data", "lint", str(path), "--tokenizer", tokenizer, *flags]) == 3
    out = capsys.readouterr().out
    if flags:
        assert len(json.loads(out)["problems"]) == 1
    else:
        assert out.startswith(f"{path}: 1 problem\n  $")


def test_lint_without_a_tokenizer_to_load(
    sound: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    assert main(["data", "lint", sound, "--tokenizer", str(tmp_path / "empty")]) == 4
    assert str(tmp_path / "empty") in capsys.readouterr().err


def test_lint_shows_tables_on_a_terminal(damaged: str, tokenizer: str) -> None:
    leader, follower = pty.openpty()
    child = subprocess.Popen(
        [sys.executable, "-m", "komrc", "data", "lint", damaged, "--tokenizer", tokenizer],
        stdout=follower,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "COLUMNS": "150", "TERM": "xterm", "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    os.close(follower)
    shown = b""
    try:
        while chunk := os.read(leader, 65536):
            shown += chunk
    except OSError:  # the terminal's other end is closed
        pass
    os.close(leader)
    assert child.wait() == 3
    text = shown.decode()
    assert "┃" in text or "│" in text
    assert "1 problem" in text
    assert "write the question" in text


# --- statistics --------------------------------------------------------------------------------------------


def test_whole_words() -> None:
    context = "가나 다라(마) 바\n사"

    def example(text: str) -> Example:
        return Example(text, "?", context, (Gold(text, context.index(text)),))

    def count(*texts: str) -> int:
        return describe([example(text) for text in texts]).whole_words

    assert count("가나", "다라(마)", "바", "사", "가나 다라(마)") == 5
    assert count("가", "나", "다라", "마", "다라(마") == 0


def test_statistics_of_nothing() -> None:
    found = describe([])
    assert (found.context, found.question, found.answer, found.whole_words) == (None, None, None, 0)


def test_unanswerable_questions_do_not_count_for_the_reach(tokenizer: str) -> None:
    backend = load_tokenizer(tokenizer)
    asked = Example("a", "?", CONTEXT, (Gold("서울", 0),))
    none = Example("b", "?", CONTEXT, (), True)
    assert reach([none], backend) is None
    found = reach([asked, none], backend)
    assert found is not None
    assert (found.questions, found.answers, found.exact, found.em) == (1, 1, 1, 100.0)


def test_a_question_is_reached_by_its_best_answer(tokenizer: str) -> None:
    backend = load_tokenizer(tokenizer)
    golds = (Gold("인구", CONTEXT.index("인구")), Gold("인구는", CONTEXT.index("인구")))
    found = reach([Example("a", "?", CONTEXT, golds)], backend)
    assert found is not None
    assert (found.questions, found.answers, found.exact, found.em, found.f1) == (1, 2, 1, 100.0, 100.0)


def test_the_reach_of_multilingual_bert(korquad_dev: Path, shared: Path) -> None:
    found = reach(load_squad(korquad_dev), load_tokenizer(shared / "tokenizers/bert-multilingual"))
    assert found is not None
    assert (round(found.em, 1), round(found.f1, 1)) == (84.3, 98.2)  # measured independently, in 2026


# --- pages -------------------------------------------------------------------------------------------------


def write_pages(path: Path, *starts: int) -> Path:
    context = "<html><body><p><b>한강</b>은 강이다.</p></body></html>"
    qas = [
        {"id": i, "question": "무엇?", "answer": {"text": "<b>한강</b>", "answer_start": start}}
        for i, start in enumerate(starts)
    ]
    document = {"version": "v", "data": [{"title": "t", "url": "u", "context": context, "qas": qas}]}
    path.write_text(json.dumps(document, ensure_ascii=False), encoding="utf-8")
    return path


def test_lint_of_pages(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "lint", str(write_pages(tmp_path / "a.json", 15, 15))]) == 0
    out = capsys.readouterr().out
    assert "a.json: nothing wrong" in out
    assert "answers with tags: 2 (100.0 %)" in out
    write_pages(tmp_path / "b.json", 15, 3)
    assert main(["data", "lint", str(tmp_path), "--json"]) == 3
    found = json.loads(capsys.readouterr().out)
    assert [problem["path"] for problem in found["problems"]] == [
        "b.json $.data[0].qas[0].id",
        "b.json $.data[0].qas[1].id",
        "b.json $.data[0].qas[1].answer.answer_start",
    ]
    assert found["counts"]["questions"] == 4
    assert found["counts"]["kept"] == 2
    assert found["left_out"] == ["0", "1"]


def test_lint_of_pages_that_are_cut_off(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_pages(tmp_path / "a.json", 15)
    whole = path.read_text(encoding="utf-8")
    path.write_text(whole[:-2] + ", " + whole[whole.index("[") + 1 : -30], encoding="utf-8")
    assert main(["data", "lint", str(path)]) == 3
    out = capsys.readouterr().out
    assert "is cut off in $.data[1]" in out
    assert "pages: 1" in out


# --- get ---------------------------------------------------------------------------------------------------

FILES = {"KorQuAD_v1.0_train.json": b'{"train"}' * 1000, "KorQuAD_v1.0_dev.json": b'{"dev"}' * 1000}


def blob(body: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(body) + body).hexdigest()


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = FILES.get(self.path.removeprefix("/mirror/"))
        self.send_response(404 if body is None else 200)
        self.send_header("Content-Length", str(len(body or b"")))
        self.end_headers()
        self.wfile.write(body or b"")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def mirror(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    for name in ("http_proxy", "all_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    remotes = tuple(RemoteFile(name, blob(body), len(body)) for name, body in FILES.items())
    monkeypatch.setattr(command, "KORQUAD_V1", remotes)
    web = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=web.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    url = f"http://127.0.0.1:{web.server_port}/mirror"
    monkeypatch.setenv("KOMRC_KORQUAD_URL", url)
    yield url
    web.shutdown()
    thread.join()
    web.server_close()


def test_get(mirror: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "korquad"
    assert main(["data", "get", "korquad-v1", "--output", str(folder)]) == 0
    out, err = capsys.readouterr()
    assert out.split() == [str(folder / name) for name in FILES]
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == FILES
    assert mirror in err
    assert "CC BY-ND 2.0 KR" in err
    assert "9,000 bytes" in err
    assert main(["data", "get", "korquad-v1", "--output", str(folder)]) == 0
    assert "is there already" in capsys.readouterr().err


def test_get_from_nowhere(
    mirror: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KOMRC_KORQUAD_URL", mirror.removesuffix("mirror") + "elsewhere")
    assert main(["data", "get", "korquad-v1", "--output", str(tmp_path)]) == 5
    out, err = capsys.readouterr()
    assert out == ""
    assert "404" in err
    monkeypatch.setenv("KOMRC_KORQUAD_URL", "korquad.github.io")
    assert main(["data", "get", "korquad-v1", "--output", str(tmp_path)]) == 2


ZIPS = {f"{part}/KorQuAD_2.1_{part}_00.zip": part.encode() * 70_000 for part in ("train", "dev")}


def test_get_whole_pages(
    mirror: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    remotes = {
        name.partition("/")[0]: (RemoteFile(name.partition("/")[2], blob(body), len(body)),)
        for name, body in ZIPS.items()
    }
    monkeypatch.setattr(command, "KORQUAD_V2_1", remotes)
    monkeypatch.setattr(sys.modules[__name__], "FILES", ZIPS)
    assert main(["data", "get", "korquad-v2.1", "--output", str(tmp_path)]) == 0
    out, err = capsys.readouterr()
    folder = tmp_path / "korquad-v2.1"
    assert out.split() == [str(folder / name) for name in ZIPS]
    assert {name: (folder / name).read_bytes() for name in ZIPS} == ZIPS
    assert "KorQuAD 2.1" in err
    assert "CC BY-ND 2.0 KR" in err
    assert main(["data", "get", "korquad-v2.1", "--output", str(tmp_path)]) == 0
    assert capsys.readouterr().err.count("is there already") == 2
    (folder / "dev/KorQuAD_2.1_dev_00.zip").write_bytes(b"another file")
    assert main(["data", "get", "korquad-v2.1", "--output", str(tmp_path)]) == 6


def test_the_published_files_of_korquad_2_1() -> None:
    from komrc.data.korquad2_files import KORQUAD_V2_1

    assert {part: len(remotes) for part, remotes in KORQUAD_V2_1.items()} == {"train": 13, "dev": 2}
    remotes = [remote for part in KORQUAD_V2_1.values() for remote in part]
    assert len({remote.git_blob for remote in remotes}) == 15
    assert all(re.fullmatch("[0-9a-f]{40}", remote.git_blob) for remote in remotes)
    assert all(remote.size < 100 * 2**20 for remote in remotes)  # the limit of the host for one file


def test_another_data_set_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["data", "get", "korquad-v2"])
    assert stopped.value.code == 2
    assert "korquad-v1" in capsys.readouterr().err


@pytest.mark.parametrize("action", [[], ["lint"], ["get"]])
def test_help_shows_examples(action: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["data", *action, "--help"])
    assert stopped.value.code == 0
    assert "examples:\n  komrc data " in capsys.readouterr().out


def test_lint_names_the_options_that_answers_need(
    tmp_path: Path, tokenizer: str, capsys: pytest.CaptureFixture[str]
) -> None:
    none = {"id": "b", "question": "?", "answers": [], "is_impossible": True}
    path = write(tmp_path / "data.json", [qa("a", "서울"), none])
    assert main(["data", "lint", path, "--tokenizer", tokenizer]) == 0
    assert "--version_2_with_negative" in capsys.readouterr().out
    assert main(["data", "lint", path, "--tokenizer", tokenizer, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["unreachable"]["unanswerable"] == len(found["warnings"]) == 1


def test_lint_shows_some_problems_of_each_kind(
    tmp_path: Path, tokenizer: str, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = [qa(str(n), "서울") | {"question": ""} for n in range(100)]
    path = write(tmp_path / "data.json", [*wrong, qa("x", "서울") | {"id": None}])
    assert main(["data", "lint", path, "--tokenizer", tokenizer]) == 3
    out = capsys.readouterr().out
    assert out.count("(id ") == 20
    assert "$.data[0].paragraphs[0].qas[100].id" in out
    assert "100 × question: is empty" in out and "80 more" in out
