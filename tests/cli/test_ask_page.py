"""komrc ask on an HTML page, over the embedded model."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from komrc.cli import main
from komrc.cli.ask_page import page_of

HTML = (
    "<!DOCTYPE html>\r\n<html><head><title>한강</title></head><body><nav>대문</nav><h1>한강</h1>\r\n"
    "<p><b>한강</b>(漢江)은 대한민국의 <a href='x'>강</a>이다. 길이는 <b>494&nbsp;km</b>이다.</p>"
    "<table><tr><th>발원지<td><a>검룡소</a><tr><th>하구<td>서해</table></body></html>"
)


@pytest.fixture
def page(tmp_path: Path) -> str:
    path = tmp_path / "page.html"
    path.write_bytes(b"\xef\xbb\xbf" + HTML.encode())
    return str(path)


def test_a_line_with_places_in_the_html(page: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ask", "한강의 길이는?", "--context", page]) == 0
    text, start, end, _ = capsys.readouterr().out.splitlines()[0].split("\t")
    assert text == "494 km"
    assert HTML[int(start) : int(end)] == "494&nbsp;km"


def test_json_has_the_html_and_the_plain_text(page: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ask", "한강의 발원지는 어디인가?", "--context", page, "--top-k", "3", "--json"]) == 0
    answers = json.loads(capsys.readouterr().out)["answers"]
    assert answers[0]["plain_text"] == "검룡소"
    assert all(HTML[answer["start"] : answer["end"]] == answer["text"] for answer in answers)


def test_the_sentence_on_a_terminal(
    page: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("komrc.cli.ask.sys", SimpleNamespace(stdout=SimpleNamespace(isatty=lambda: True)))
    assert main(["ask", "한강의 길이는?", "--context", page]) == 0
    out = capsys.readouterr().out
    start = HTML.index("494")
    assert f"{start}–{start + len('494&nbsp;km')}" in out
    assert "길이는 494" in " ".join(out.split())
    assert "&nbsp;" not in out


def test_which_files_are_pages() -> None:
    assert page_of("a/page.HTM", "<p>가") is not None
    assert page_of("a.xhtml", "<p>가") is not None
    assert page_of("a.txt", "<p>가") is None
    assert page_of("-", "<p>가") is None
