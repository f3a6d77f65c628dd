"""The client, sync and async, against a server over a socket and against replies made here."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from komrc import AsyncClient, Client
from komrc.errors import InputError, KomrcError, ServerError
from komrc.types import Answer

QUESTION = "언제 만들었나?"
CONTEXT = "훈민정음은 1443년에 세종이 창제하였다. 해설서는 1446년에 나왔다! 집현전 학자들이 썼다."


def run(question: Any, context: Any, url: str, **options: Any) -> list[list[Answer]]:
    """The answers of the client; those of the asynchronous one are the same."""

    async def ask() -> list[list[Answer]]:
        async with AsyncClient(url) as client:
            return await client.answer_many(question, context, **options)

    with Client(url) as client:
        answers = client.answer_many(question, context, **options)
    assert asyncio.run(ask()) == answers
    return answers


def test_answers_are_pieces_of_the_context(program) -> None:
    (answers,) = run(QUESTION, CONTEXT, program.url, top_k=3)
    assert 1 < len(answers) <= 3
    for answer in answers:
        assert isinstance(answer, Answer) and 0 <= answer.score <= 1
        assert answer.text == CONTEXT[answer.start : answer.end]
    with Client(program.url) as client:
        assert client.answer(QUESTION, CONTEXT) == answers[:1]


def test_several_questions_or_contexts_keep_their_order(program) -> None:
    contexts = [CONTEXT, "1446년에 반포되었다."]
    by_context = run(QUESTION, contexts, program.url)
    assert by_context == [run(QUESTION, context, program.url)[0] for context in contexts]
    assert run([QUESTION, "누가?"], CONTEXT, program.url)[0] == by_context[0]


def test_progress_of_a_long_text(program) -> None:
    calls: list[tuple[int, int]] = []
    text = CONTEXT * 40
    streamed = run(QUESTION, text, program.url, on_progress=lambda done, total: calls.append((done, total)))
    assert streamed == run(QUESTION, text, program.url)
    assert calls[-1][0] == calls[-1][1] > 1


def test_all_of_a_long_text_is_read_on_request(program) -> None:
    text = CONTEXT * 300  # more than 10,000 characters
    calls: dict[bool, int] = {}

    for exhaustive in (False, True):

        def progress(_done: int, total: int, exhaustive: bool = exhaustive) -> None:
            calls[exhaustive] = total

        run(QUESTION, text, program.url, exhaustive=exhaustive, on_progress=progress)
    assert calls[False] < calls[True] / 2


def test_an_error_of_the_callback_is_not_the_servers(program) -> None:
    def fail(_done: int, _total: int) -> None:
        raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"), Client(program.url) as client:
        client.answer(QUESTION, "이 글은 다른 시험에 없다.", on_progress=fail)


@pytest.mark.parametrize("progress", [None, lambda _done, _total: None], ids=["whole", "streamed"])
def test_a_bad_question_is_an_input_error(program, progress: Any) -> None:
    for question, field in (("  ", "question"), (["누가?", ""], "question[1]"), ("\ud800", None)):
        with pytest.raises(InputError) as caught, Client(program.url) as client:
            client.answer_many(question, CONTEXT, on_progress=progress)
        assert caught.value.where == field


def test_health(program) -> None:
    async def state() -> str:
        async with AsyncClient(program.url) as client:
            return await client.health()

    with Client(program.url) as client:
        assert client.health() == asyncio.run(state()) == "ready"


def test_a_key(programs) -> None:
    server = programs(KOMRC_API_KEY="sesame")
    with Client(server.url) as client, pytest.raises(ServerError) as caught:
        client.answer(QUESTION, CONTEXT)
    assert caught.value.http_status == 401
    with Client(server.url, api_key="sesame") as client:
        assert client.answer(QUESTION, CONTEXT)


def test_no_server() -> None:
    with Client("http://127.0.0.1:1") as client, pytest.raises(ServerError, match="komrc serve") as caught:
        client.health()
    assert caught.value.code == "unreachable"


def test_a_path_below_a_proxy_and_the_values_sent() -> None:
    sent: list[httpx.Request] = []

    def reply(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        answer = {"text": "나", "start": 1, "end": 2, "score": 0.5, "untrimmed": {"start": 1, "end": 3}}
        return httpx.Response(200, json={"results": [{"answers": [answer]}]})

    with Client("http://host/qa/", transport=httpx.MockTransport(reply), api_key="k") as client:
        (answer,) = client.answer("가?", "가나다", allow_no_answer=False, max_answer_tokens=4)
    assert answer.text == "나" and answer.untrimmed is not None and answer.untrimmed.end == 3
    assert str(sent[0].url) == "http://host/qa/v1/answers"
    assert sent[0].headers["authorization"] == "Bearer k"
    assert json.loads(sent[0].content) == {
        "question": "가?",
        "context": "가나다",
        "top_k": 1,
        "distinct": False,
        "allow_no_answer": False,
        "max_answer_tokens": 4,
    }


def failure(code: str, status: int, **headers: str) -> Callable[[httpx.Request], httpx.Response]:
    value = {"code": code, "error": "Something is wrong", "field": "top_k"}
    return lambda _: httpx.Response(status, json=value, headers=headers)


def slow(request: httpx.Request) -> httpx.Response:
    raise httpx.ReadTimeout("", request=request)


@pytest.mark.parametrize(
    ("reply", "kind", "code", "status", "after"),
    [
        (failure("queue_full", 429, **{"retry-after": "7"}), ServerError, "queue_full", 429, 7),
        (failure("invalid_input", 422), InputError, "invalid_input", 422, None),
        (failure("loading", 503), ServerError, "loading", 503, None),
        (lambda _: httpx.Response(502, text="<html>"), ServerError, "http", 502, None),
        (lambda _: httpx.Response(200, text="<html>"), ServerError, "protocol", 500, None),
        (lambda _: httpx.Response(200, json=[]), ServerError, "protocol", 500, None),
        (slow, ServerError, "timeout", 500, None),
    ],
)
@pytest.mark.parametrize("progress", [None, lambda _done, _total: None], ids=["whole", "streamed"])
def test_failures(
    reply: Any, kind: type[KomrcError], code: str, status: int, after: int | None, progress: Any
) -> None:
    async def ask() -> None:
        async with AsyncClient(transport=httpx.MockTransport(reply)) as client:
            await client.answer(QUESTION, CONTEXT, on_progress=progress)

    with Client(transport=httpx.MockTransport(reply)) as client, pytest.raises(KomrcError) as caught:
        client.answer(QUESTION, CONTEXT, on_progress=progress)
    with pytest.raises(KomrcError) as awaited:
        asyncio.run(ask())
    for error in (caught.value, awaited.value):
        assert type(error) is kind
        assert (error.code, error.http_status) == (code, status)
        assert getattr(error, "retry_after", None) == after


def test_a_stream_that_ends_early_or_reports_a_failure() -> None:
    lines = [{"progress": {"done": 1, "total": 2}}]

    def reply(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, text="".join(json.dumps(line) + "\n" for line in lines))

    with Client(transport=httpx.MockTransport(reply)) as client:
        with pytest.raises(ServerError, match="ended before"):
            client.answer(QUESTION, CONTEXT, on_progress=lambda _done, _total: None)
        lines.append({"failure": {"code": "deadline", "error": "No answer was ready"}})
        with pytest.raises(ServerError, match="No answer was ready") as caught:
            client.answer(QUESTION, CONTEXT, on_progress=lambda _done, _total: None)
    assert caught.value.code == "deadline"


def test_repr_hides_the_key() -> None:
    assert repr(Client("http://host", api_key="secret")) == "Client('http://host')"


# --- documents ---


@pytest.fixture(scope="module")
def index_folder(tmp_path_factory):
    pytest.importorskip("tantivy", reason="the documents extra is not installed")
    from komrc.index import Index

    folder = tmp_path_factory.mktemp("index")
    rules, menu = folder / "휴가.md", folder / "식당.txt"
    rules.write_text(
        "# 휴가\n\n| 종류 | 날 |\n|---|---|\n| 연차 | 3일 전 |\n\n연차는 3일 전에 신청한다.\n", "utf-8"
    )
    menu.write_text("점심은 12시부터 1시까지이다. 연차와 다르다.\n", "utf-8")
    Index.build([rules, menu], folder / "my.index").close()
    return folder / "my.index"


def test_ask_and_search_give_what_the_reader_and_the_index_give(programs, index_folder) -> None:
    from dataclasses import replace

    from support.fake_server import make_reader

    from komrc.index import Index

    server = programs("--index", str(index_folder))
    question = "연차는 며칠 전에 신청하나?"

    async def both() -> tuple[Any, Any]:
        async with AsyncClient(server.url) as client:
            return await client.ask(question, top_k=3, passages=2), await client.search("점심", top_k=1)

    with Client(server.url) as client:
        answers, hits = client.ask(question, top_k=3, passages=2), client.search("점심", top_k=1)
        none = client.ask("qqqq")
    assert asyncio.run(both()) == (answers, hits)
    with Index.open(index_folder) as index:
        expected = make_reader().ask(question, index, top_k=3, passages=2)
        assert [replace(a, score=0.0) for a in answers] == [replace(a, score=0.0) for a in expected]
        assert [a.score for a in answers] == pytest.approx([a.score for a in expected], rel=1e-4)
        assert hits == index.search("점심", top_k=1)
    assert [(answer.text, answer.document, answer.passage) for answer in none] == [("", None, None)]


def test_ask_without_an_index_and_with_bad_input(program) -> None:
    with Client(program.url) as client:
        with pytest.raises(ServerError, match="--index") as caught:
            client.ask(QUESTION)
        assert (caught.value.code, caught.value.http_status) == ("no_index", 404)
        with pytest.raises(InputError):
            client.search("\ud800")
