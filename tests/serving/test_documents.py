"""The routes of an index: asking, searching, reading a document, adding files."""

from __future__ import annotations

import contextlib
import http.client
import json
import logging
import shutil
import threading
import time

import pytest
from support.fake_server import make_reader

pytest.importorskip("tantivy", reason="the documents extra is not installed")

from komrc.index import Index
from komrc.index.tantivy_store import TantivyStore

FILES = {
    "규정/휴가.md": "# 휴가 규정\n\n## 연차\n\n😀 연차는 사용일 3일 전까지 신청하여야 한다.\n\n"
    "## 병가\n\n병가는 진단서를 내야 한다.\n",
    "식당.txt": "점심은 12시부터 1시까지이다. 식당은 2층에 있다.\n",
    "알림.txt": "연차는 3일 전까지 신청합니다. 문의는 총무팀에 하십시오.\n",
}
QUESTION = "연차는 며칠 전까지 신청하나?"
BYTES = {"content-type": "application/octet-stream"}


@pytest.fixture
def web(client, folder):
    return client(index=str(folder))


@pytest.fixture
def open_web(client, folder):
    """A server that accepts files."""
    return client(index=str(folder), allow_upload=True, max_upload_bytes=100_000, max_uploads=3)


def upload(web, name, content, **headers):
    return web.post("/v1/documents", params={"name": name}, content=content, headers={**BYTES, **headers})


def documents(web):
    return web.get("/v1/index").json()["documents"]


# --- asking and searching ---


@pytest.mark.parametrize("no_answer", [False, None])
def test_ask_gives_what_the_reader_gives(client, folder, no_answer):
    web = client(make_reader(no_answer=True), index=str(folder))
    body = {"question": QUESTION, "top_k": 20, "allow_no_answer": no_answer}
    reply = web.post("/v1/ask", json=body)
    assert reply.status_code == 200, reply.text
    answers = reply.json()["answers"]
    with Index.open(folder) as index:
        expected = make_reader(no_answer=True).ask(QUESTION, index, top_k=20, allow_no_answer=no_answer)
        texts = {name: index.document_text(name) for name in FILES}
    assert len(answers) == len(expected) > 1
    assert reply.json()["no_answer"] == (expected[0].text == "")
    assert (no_answer is None) == any(answer["document"] is None for answer in answers)
    for answer, wanted in zip(answers, expected, strict=True):
        for name in ("text", "document", "start", "end", "page", "line", "sentence", "sentence_start"):
            assert answer[name] == getattr(wanted, name)
        assert answer["score"] == pytest.approx(wanted.score, rel=1e-4)
        if answer["document"] is None:
            assert (answer["text"], answer["passage"], answer["in_passage"]) == ("", None, None)
            continue
        text, passage, inner = texts[answer["document"]], answer["passage"], answer["in_passage"]
        assert text[answer["start"] : answer["end"]] == answer["text"]
        assert text[passage["start"] : passage["end"]] == passage["text"]
        assert passage["text"][inner["start"] : inner["end"]] == answer["text"] == inner["text"]
        units = passage["text"].encode("utf-16-le")[2 * inner["start_utf16"] : 2 * inner["end_utf16"]]
        assert units.decode("utf-16-le") == answer["text"]


def test_no_passage_is_not_in_the_documents(web):
    reply = web.post("/v1/ask", json={"question": "xyzzy"}).json()
    assert (reply["no_answer"], reply["passages"]) == (True, 0)
    assert [(answer["text"], answer["score"]) for answer in reply["answers"]] == [("", 1.0)]


def test_search_finds_the_passage_with_its_place(web, folder):
    hits = web.post("/v1/search", json={"query": "병가 진단서", "top_k": 2}).json()["hits"]
    passage = hits[0]["passage"]
    assert passage["document"] == "규정/휴가.md"
    assert "병가는 진단서를" in passage["text"]
    assert hits == sorted(hits, key=lambda hit: -hit["score"])
    with Index.open(folder) as index:
        assert [hit["score"] for hit in hits] == pytest.approx(
            [hit.score for hit in index.search("병가 진단서", top_k=2)]
        )


@pytest.mark.parametrize(
    ("route", "body", "field"),
    [
        ("/v1/ask", {"question": " "}, "question"),
        ("/v1/ask", {"question": "가" * 2_001}, "question"),
        ("/v1/ask", {"question": "가", "top_k": 21}, "top_k"),
        ("/v1/ask", {"question": "가", "passages": 51}, "passages"),
        ("/v1/ask", {"question": "가", "passages": 0}, "passages"),
        ("/v1/ask", {"question": "\ud800"}, "question"),
        ("/v1/ask", {"question": "가", "pasages": 3}, None),
        ("/v1/search", {"query": ""}, "query"),
        ("/v1/search", {"query": "가", "top_k": 51}, "top_k"),
    ],
)
def test_limits_are_named(web, route, body, field):
    reply = web.post(route, content=json.dumps(body))  # in ASCII, with half a surrogate pair as an escape
    assert (reply.status_code, reply.json()["code"]) == (422, "invalid_input")
    assert reply.json().get("field") == field


def test_without_an_index(client):
    web = client()
    replies = [
        web.post("/v1/ask", json={"question": "가"}),
        web.post("/v1/search", json={"query": "가"}),
        web.get("/v1/documents/text", params={"document": "a.txt"}),
    ]
    for reply in replies:
        assert (reply.status_code, reply.json()["code"]) == (404, "no_index")
        assert "--index" in reply.json()["error"]
    assert web.get("/v1/index").json()["available"] is False
    assert upload(web, "a.txt", "가".encode()).status_code == 403


def test_questions_wait_in_the_shared_queue_and_are_refused_when_it_is_full(client, folder):
    web = client(make_reader(seconds=0.5), index=str(folder), max_queue=10, max_batch_tokens=1)
    statuses = []

    def ask():
        statuses.append(web.post("/v1/ask", json={"question": QUESTION}).status_code)

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(set(statuses)) == [200, 429]


def test_a_question_that_takes_too_long_frees_the_engine(client, folder):
    reader = make_reader(seconds=0.4)
    web = client(reader, index=str(folder), request_timeout=0.5, max_batch_tokens=1)
    reply = web.post("/v1/ask", json={"question": QUESTION})
    assert (reply.status_code, reply.json()["code"]) == (504, "deadline")
    assert len(reader.engine.batches) <= 2  # of four passages
    assert web.post("/v1/search", json={"query": QUESTION}).status_code == 200


def test_a_failure_of_the_engine_is_this_requests(client, folder):
    fail_on = make_reader().tokenizer.encode_many(["병"])[0].ids[0]
    web = client(make_reader(fail_on=int(fail_on)), index=str(folder))
    reply = web.post("/v1/ask", json={"question": "병가는?"})
    assert (reply.status_code, reply.json()["code"]) == (500, "engine")
    assert web.post("/v1/ask", json={"question": "식당은 몇 층?", "passages": 1}).status_code == 200


# --- documents ---


def test_the_text_around_a_place(web, folder):
    with Index.open(folder) as index:
        text = index.document_text("규정/휴가.md")
    start = text.index("진단서")
    part = web.get(
        "/v1/documents/text",
        params={"document": "규정/휴가.md", "start": start, "end": start + 3, "around": 5},
    ).json()
    assert part["text"] == text[part["start"] : part["end"]] == text[start - 5 : start + 8]
    assert part["line"] == 1 + text.count("\n", 0, start - 5)
    assert part["characters"] == len(text)
    whole = web.get("/v1/documents/text", params={"document": "규정/휴가.md"}).json()
    assert whole["text"] == text
    beyond = web.get(
        "/v1/documents/text", params={"document": "규정/휴가.md", "start": 10**6, "around": 0}
    ).json()
    assert (beyond["text"], beyond["start"]) == ("", len(text))


def test_only_documents_of_the_index_are_shown(web, folder):
    (folder.parent / "문서" / "later.txt").write_text("색인에 없다.", encoding="utf-8")
    paths = [
        "../my.index/index.json",
        "/etc/passwd",
        "문서/식당.txt",
        str(folder.parent / "문서" / "식당.txt"),
    ]
    for document in [*paths, "later.txt", "식당", "a\x00b", b"\xed\xa0\x80", "가" * 5000]:
        reply = web.get("/v1/documents/text", params={"document": document})
        assert (reply.status_code, reply.json()["code"]) == (404, "unknown_document")


def test_a_part_is_bounded(web):
    reply = web.get("/v1/documents/text", params={"document": "식당.txt", "around": 20_001})
    assert (reply.status_code, reply.json()["field"]) == (422, "around")


# --- an index that changes ---


def test_changes_of_another_process_are_seen(web, folder):
    (folder.parent / "문서" / "새.txt").write_text("주차장은 지하 3층이다.", encoding="utf-8")
    with Index.open(folder) as index:
        index.update()
    hits = web.post("/v1/search", json={"query": "주차장"}).json()["hits"]
    assert [hit["passage"]["document"] for hit in hits] == ["새.txt"]
    assert documents(web) == 4


def test_an_index_that_was_built_anew_is_opened_again(web, folder, caplog):
    shutil.rmtree(folder)
    with caplog.at_level(logging.ERROR, "komrc.serving"):
        reply = web.post("/v1/ask", json={"question": QUESTION})
    assert (reply.status_code, reply.json()["code"]) == (503, "index")
    assert str(folder) not in reply.text and str(folder) in caplog.text
    (folder.parent / "문서" / "알림.txt").unlink()
    Index.build([folder.parent / "문서"], folder).close()
    assert documents(web) == 2
    found = {
        hit["passage"]["document"] for hit in web.post("/v1/search", json={"query": "연차"}).json()["hits"]
    }
    assert found == {"규정/휴가.md"}


# --- adding files ---


def test_a_file_is_added_and_found(open_web, folder):
    reply = upload(open_web, "주차 안내.txt", "주차장은 지하 3층이다.".encode("cp949"))
    assert reply.json() == {
        **{"name": "주차 안내.txt", "documents": 1, "unread": []},
        **{"added": 1, "replaced": 0, "removed": 0},
    }
    answer = open_web.post("/v1/ask", json={"question": "주차장은 몇 층?"}).json()["answers"][0]
    assert answer["document"] == "uploads/주차 안내.txt"
    assert answer["passage"]["title"] == "주차 안내"
    assert documents(open_web) == 4
    same = upload(open_web, "주차 안내.txt", "주차장은 지하 3층이다.".encode("cp949")).json()
    assert (same["documents"], same["added"], same["replaced"]) == (1, 0, 0)
    again = upload(open_web, "주차 안내.txt", "주차장은 지하 4층이다.".encode()).json()
    assert (again["added"], again["replaced"]) == (0, 1)
    text = open_web.get("/v1/documents/text", params={"document": "uploads/주차 안내.txt"}).json()["text"]
    assert text.strip() == "주차장은 지하 4층이다."
    with Index.open(folder) as index:  # an update keeps what was uploaded
        assert index.update().removed == 0
        assert index.info().documents == 4


def test_without_the_flag_files_are_refused(web):
    reply = upload(web, "a.txt", "가".encode())
    assert (reply.status_code, reply.json()["code"]) == (403, "upload")
    assert "--allow-upload" in reply.json()["error"]
    assert web.get("/v1/index").json()["upload"] is None


@pytest.mark.parametrize(
    "name",
    [
        "../../밖.txt",
        "/etc/밖.txt",
        "..\\..\\밖.txt",
        "C:\\밖.txt",
        "밖.txt/",
        "\u0000밖\u202e.txt",
        "밖.txt",
    ],
)
def test_a_name_is_only_a_label(open_web, folder, name):
    before = {path for path in folder.parent.rglob("*") if folder not in path.parents}
    reply = upload(open_web, name, "밖에 있는 글.".encode())
    assert reply.json()["name"] == "밖.txt"
    assert {path for path in folder.parent.rglob("*") if folder not in path.parents} == before
    stored = [path for path in (folder / "uploads").rglob("*") if path.is_file()]
    assert [path.name for path in stored] == ["밖.txt"]
    assert all(len(path.relative_to(folder).parts) == 3 for path in stored)


@pytest.mark.parametrize("name", ["", "..", ".", "/", "\u0000", "가" * 256])
def test_names_that_can_be_no_label(open_web, name):
    reply = upload(open_web, name, "글".encode())
    assert (reply.status_code, reply.json()["field"]) == (422, "name")
    assert documents(open_web) == 3


def test_files_that_can_not_be_read_are_named_and_not_kept(open_web, folder):
    for name, content in [
        ("a.pdf", b"%PDF-1.7 broken"),
        ("b.zip", b"PK\x03\x04" + b"0" * 50),
        ("c.txt", b""),
    ]:
        reply = upload(open_web, name, content)
        assert reply.status_code == 200, reply.text
        (unread,) = reply.json()["unread"]
        assert unread["name"] == name and unread["reason"]
        assert str(folder.parent) not in reply.text
    assert documents(open_web) == 3
    assert not [path for path in (folder / "uploads").rglob("*") if path.is_file()]


def test_a_bad_new_version_leaves_the_earlier_one(open_web):
    upload(open_web, "가.txt", "주차장은 지하 3층이다.".encode())
    reply = upload(open_web, "가.txt", b"").json()
    assert (reply["added"], reply["removed"], len(reply["unread"])) == (0, 0, 1)
    assert documents(open_web) == 4
    assert open_web.post("/v1/search", json={"query": "주차장"}).json()["hits"]


def test_records_of_a_file_that_have_no_text_are_named(open_web):
    lines = b'{"id": "1", "text": "\xea\xb0\x80\xeb\x82\x98"}\n{"id": "2", "text": ""}\n'
    reply = upload(open_web, "자료.jsonl", lines).json()
    assert (reply["added"], len(reply["unread"])) == (1, 1)


def test_size_and_number_of_files_are_bounded(open_web):
    large = upload(open_web, "large.txt", b"a" * 100_001)
    assert (large.status_code, large.json()["code"]) == (413, "too_large")
    assert "--max-upload-bytes" in large.json()["error"]
    for number in range(3):
        assert upload(open_web, f"{number}.txt", f"글 {number}".encode()).json()["added"] == 1
    full = upload(open_web, "3.txt", "글 3".encode())
    assert (full.status_code, full.json()["code"]) == (507, "uploads_full")
    assert upload(open_web, "0.txt", "다른 글".encode()).json()["replaced"] == 1


def test_a_file_needs_its_content_type(open_web):
    reply = open_web.post("/v1/documents", params={"name": "a.txt"}, json={"a": 1})
    assert (reply.status_code, reply.json()["code"]) == (415, "content_type")


def test_another_writer_is_waited_for_and_then_named(client, folder):
    web = client(index=str(folder), allow_upload=True, request_timeout=0.5)
    writer = TantivyStore(folder, write=True)
    try:
        reply = upload(web, "a.txt", "글".encode())
        assert (reply.status_code, reply.json()["code"]) == (503, "index_busy")
    finally:
        writer.close()
    assert upload(web, "a.txt", "글".encode()).json()["added"] == 1


def test_an_empty_index_is_made_for_uploads(client, tmp_path):
    web = client(index=str(tmp_path / "new.index"), allow_upload=True)
    assert documents(web) == 0
    assert upload(web, "a.txt", "주차장은 지하 3층이다.".encode()).json()["added"] == 1
    assert web.post("/v1/search", json={"query": "주차장"}).json()["hits"]


def test_metrics_count_searches_and_files(open_web):
    open_web.post("/v1/search", json={"query": "연차"})
    upload(open_web, "a.txt", "글".encode())
    upload(open_web, "b.pdf", b"no")
    text = open_web.get("/metrics").text
    assert "komrc_search_seconds_count 1.0" in text
    assert 'komrc_uploads_total{result="indexed"} 1.0' in text
    assert 'komrc_uploads_total{result="unread"} 1.0' in text
    assert 'route="/v1/search"' in text


# --- over a socket ---


def send(program, pieces, **headers):
    """The status of an upload whose body comes in pieces; each piece is bytes or a number of seconds."""
    connection = http.client.HTTPConnection(program.host, program.port, timeout=60)

    def body():
        for piece in pieces:
            if isinstance(piece, bytes):
                yield piece
            else:
                time.sleep(piece)

    with contextlib.suppress(ConnectionError):  # the server may have answered and closed
        connection.request(
            "POST", "/v1/documents?name=a.txt", body(), {**BYTES, **headers}, encode_chunked=True
        )
    reply = connection.getresponse()
    return reply.status, json.loads(reply.read())


def test_a_large_file_may_arrive_slowly_but_not_stop(programs, folder):
    server = programs("--index", str(folder), "--allow-upload", "--body-timeout", "3")
    part = "주차장은 지하 3층이다. ".encode() * 30_000  # just under a megabyte
    status, body = send(server, [part, part, 1.5, part, part, 1.5, part, part])
    assert (status, body["documents"]) == (200, 1), body
    status, body = send(server, [b"a", 4.0, b"b"])
    assert (status, body["code"]) == (408, "body_timeout")


def test_a_file_that_is_refused_is_not_read(programs, folder):
    server = programs("--index", str(folder), "--allow-upload", "--max-upload-bytes", "1000")
    assert send(server, [b"a" * 600] * 3)[1]["code"] == "too_large"
    closed = programs("--index", str(folder))
    assert send(closed, [b"a" * 600] * 3)[1]["code"] == "upload"


def test_a_foreign_page_can_not_add_files(open_web):
    reply = upload(open_web, "a.txt", "글".encode(), origin="http://evil.example")
    assert (reply.status_code, reply.json()["code"]) == (403, "origin")
    assert documents(open_web) == 3
