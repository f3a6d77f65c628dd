"""``/v1/answers`` on HTML: the page's text is read, the places are those of the HTML."""

from __future__ import annotations

import json

import pytest
from support.fake_server import make_reader

from komrc.errors import MissingPackageError
from komrc.html import HtmlView, html_answer

HTML = (
    "<html><head><title>글자</title></head><body><nav>대문</nav>"
    "<p>훈민정음은 <b>1443년</b>에 세종이&nbsp;창제하였다. 해설서는 1446년에 나왔다!</p>"
    "<table><tr><td>집현전 \N{GRINNING FACE}<td>학자들이 썼다.</table></body></html>"
)
QUESTION = "언제 창제하였는가?"


def ask(web, **body):
    return web.post("/v1/answers", json={"question": QUESTION, "context": HTML, "format": "html", **body})


def test_places_in_the_html(client):
    reply = ask(client(), top_k=5)
    assert reply.status_code == 200
    (result,) = reply.json()["results"]
    view = HtmlView(HTML)
    wanted = [html_answer(view, answer) for answer in make_reader().read(QUESTION, view.plain, top_k=5)]
    assert [(a["text"], a["start"], a["end"], a["plain_text"]) for a in result["answers"]] == [
        (a.text, a.start, a.end, a.plain_text) for a in wanted
    ]
    units = HTML.encode("utf-16-le")
    for answer in result["answers"]:
        assert HTML[answer["start"] : answer["end"]] == answer["text"]
        assert (
            units[2 * answer["start_utf16"] : 2 * answer["end_utf16"]].decode("utf-16-le") == answer["text"]
        )
        sentence = answer["sentence"]
        if sentence:
            assert HTML[sentence["start"] : sentence["end"]] == sentence["text"]
            assert sentence["start"] <= answer["start"] <= answer["end"] <= sentence["end"]
    assert "대문" not in json.dumps(result, ensure_ascii=False)


def test_text_is_still_read_as_text(client):
    answers = client().post("/v1/answers", json={"question": QUESTION, "context": HTML}).json()["results"]
    for answer in answers[0]["answers"]:
        assert HTML[answer["start"] : answer["end"]] == answer["text"]
        assert answer["plain_text"] is None


def test_several_pages_and_a_stream(client):
    web = client()
    other = "<p>세종이 1443년에 만들었다.</p>"
    whole = ask(web, context=[HTML, other]).json()["results"]
    assert [result["context_index"] for result in whole] == [0, 1]
    for result, html in zip(whole, (HTML, other), strict=True):
        for answer in result["answers"]:
            assert html[answer["start"] : answer["end"]] == answer["text"]
    lines = web.post(
        "/v1/answers",
        json={"question": QUESTION, "context": [HTML, other], "format": "html"},
        headers={"accept": "application/x-ndjson"},
    ).text.splitlines()
    streamed = json.loads(lines[-1])["result"]["results"]
    assert [r["answers"] for r in streamed] == [r["answers"] for r in whole]


@pytest.mark.parametrize("html", ["<nav>대문</nav>", "<script>x</script>", "<!-- x -->"])
def test_pages_without_text(client, html):
    reply = ask(client(), context=["<p>가</p>", html])
    assert (reply.status_code, reply.json()["field"]) == (422, "context[1]")
    assert "no text" in reply.json()["error"]


def test_long_pages_are_refused_before_they_are_parsed(client):
    reply = ask(client(max_context_chars=50))
    assert (reply.status_code, reply.json()["field"]) == (422, "context")


def test_another_format_is_refused(client):
    assert ask(client(), format="markdown").status_code == 422


def test_without_the_parser_the_error_names_the_extra(client, monkeypatch):
    def missing(*_, **__):
        raise MissingPackageError("reading HTML needs turbohtml", fix="run pip install 'komrc[html]'")

    monkeypatch.setattr("komrc.html.tree.require", missing)
    reply = ask(client())
    assert (reply.status_code, reply.json()["field"]) == (422, "format")
    assert "komrc[html]" in reply.json()["error"]
