"""An index in OpenSearch, with the official client against ``support.fake_opensearch``."""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("opensearchpy")

from support.fake_opensearch import FakeOpenSearch

from komrc import Index
from komrc.cli import main
from komrc.documents.document import Document
from komrc.errors import KomrcError, StorageError, UsageError
from komrc.index import opensearch_client, opensearch_location
from komrc.index.bigrams import bigrams
from komrc.index.opensearch_client import Address, connected
from komrc.index.opensearch_store import OpenSearchStore
from komrc.index.store import Change
from komrc.index.updating import cut

LEAVE = "연차는 사흘 전에 부서장에게 신청한다. 반차는 하루 전에 신청한다."
PAY = "급여는 매달 25일에 지급한다. 휴일이면 그 전날에 지급한다."
QUESTIONS = ("연차는 며칠 전에 신청해야 하나?", "급여 지급", "회의실 3번", "신청 지급 공지", "전혀없는말")


@pytest.fixture
def cluster() -> Iterator[FakeOpenSearch]:
    with FakeOpenSearch() as cluster:
        yield cluster


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opensearch_client, "READING_PAUSES", (0.0,) * 2)
    monkeypatch.setattr(opensearch_location, "PAUSES", (0.0,) * 4)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two texts, a long one of several passages, and a file of records."""
    root = tmp_path / "문서"
    (root / "규정").mkdir(parents=True)
    (root / "규정/휴가.txt").write_text(LEAVE, encoding="utf-8")
    (root / "급여.txt").write_text(PAY, encoding="utf-8")
    rules = "\n\n".join(
        f"제{n}조 회의실 {n}번은 {n * 7 % 20}층에 있고, 신청은 총무과가 받는다." for n in range(40)
    )
    (root / "회의실.txt").write_text(rules, encoding="utf-8")
    records = [{"id": n, "title": f"공지 {n}", "text": f"{n}호 공지: 회의실 {n}번."} for n in range(5)]
    (root / "notices.jsonl").write_text(
        "".join(json.dumps(record) + "\n" for record in records), encoding="utf-8"
    )
    return root


def change(path: Path, text: str) -> None:
    """Write a file so that its time of change differs, whatever the clock's step."""
    path.write_text(text, encoding="utf-8")
    os.utime(path, ns=(1, path.stat().st_mtime_ns + 10_000_000_000))


def places(index: Index, question: str) -> list[tuple[str, int, int, float]]:
    """Where the hits are, those with equal scores in a fixed order."""
    hits = [(hit.passage, hit.score) for hit in index.search(question, top_k=50)]
    return sorted(((p.document, p.start, p.end, s) for p, s in hits), key=lambda p: (-round(p[3], 3), p))


def check(index: Index, expected: Index) -> None:
    """Both find the same passages with the same scores, and have the same texts."""
    for question in QUESTIONS:
        found, wanted = places(index, question), places(expected, question)
        assert [place[:3] for place in found] == [place[:3] for place in wanted]
        assert [place[3] for place in found] == pytest.approx([place[3] for place in wanted], rel=1e-4)
        for hit in index.search(question):
            text = index.document_text(hit.passage.document)
            assert text[hit.passage.start : hit.passage.end] == hit.passage.text


def test_finds_the_same_as_the_default_store(cluster: FakeOpenSearch, folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("tantivy")
    url = f"{cluster.url}/documents"
    with Index.build([folder], tmp_path / "an.index") as local, Index.build([folder], url) as index:
        assert index.changes == local.changes and index.folder is None
        check(index, local)
        here, there = index.info(), local.info()
        assert (here.files, here.documents, here.passages, here.characters, here.paths) == (
            *(there.files, there.documents, there.passages, there.characters, there.paths),
        )
        fields = [
            {name: getattr(hit.passage, name) for name in ("title", "heading", "page", "line", "header")}
            for hit in index.search("회의실 3번")
        ]
        assert fields == [
            {name: getattr(hit.passage, name) for name in ("title", "heading", "page", "line", "header")}
            for hit in local.search("회의실 3번")
        ]


def test_update_and_remove(cluster: FakeOpenSearch, folder: Path) -> None:
    with Index.build([folder], f"{cluster.url}/documents") as index:
        change(folder / "급여.txt", "급여는 이제 매달 10일에 지급한다.")
        (folder / "규정/휴가.txt").unlink()
        (folder / "새글.txt").write_text("주차장은 지하에 있다.", encoding="utf-8")
        changes = index.update()
        assert (changes.added, changes.replaced, changes.removed) == (1, 1, 1)
        assert changes.unchanged_files == 2
        assert index.search("급여 지급")[0].passage.text == "급여는 이제 매달 10일에 지급한다."
        assert [hit for hit in index.search("연차") if hit.passage.document == "규정/휴가.txt"] == []
        assert index.remove(folder / "notices.jsonl") == 5
        assert index.update().added == 0
        expected = Index.of_documents([])
        assert {hit.passage.document for hit in index.search("공지 회의실")} == {"회의실.txt"}
        assert places(expected, "공지") == []
    names = cluster.indices
    assert len(cluster.ids("documents-documents")) == 3
    assert len(cluster.ids("documents-passages")) == sum(
        row["_source"]["passages"] for row in names["documents-documents"].records.values()
    )
    assert not [id_ for id_ in cluster.ids("documents-state") if id_.startswith(("pending", "writer"))]


def test_requests_that_fail_are_repeated(cluster: FakeOpenSearch, folder: Path) -> None:
    rejected: set[str] = set()

    def first_time(line: str) -> bool:
        return line not in rejected and not rejected.add(line)  # type: ignore[func-returns-value]

    cluster.reject = first_time
    cluster.failures = ["lost", None, "cut", 429, 503, None] * 6
    with Index.build([folder], f"{cluster.url}/documents") as index, FakeOpenSearch() as calm:
        assert not cluster.failures
        cluster.failures = ["cut", 503]
        with Index.build([folder], f"{calm.url}/documents") as expected:
            check(index, expected)
        for name in ("documents-passages", "documents-documents", "documents-state"):
            assert cluster.ids(name) == calm.ids(name)


def test_a_build_that_is_cut_off_anywhere_continues(cluster: FakeOpenSearch, folder: Path) -> None:
    with Index.build([folder], f"{cluster.url}/whole"):
        requests = len(cluster.requests)
    for stop in range(1, requests, 2):
        name = f"cut{stop}"
        cluster.stop_after = stop
        with contextlib.suppress(StorageError):
            Index.build([folder], f"{cluster.url}/{name}").close()
        cluster.stop_after = None
        if f"{name}-state" in cluster.indices:
            cluster.indices[f"{name}-state"].records.pop("writer", None)  # its 30 seconds are over
        with Index.build([folder], f"{cluster.url}/{name}"):
            for part in ("passages", "documents", "state"):
                assert cluster.ids(f"{name}-{part}") == cluster.ids(f"whole-{part}"), stop


def test_an_update_that_is_cut_off_shows_whole_documents_only(cluster: FakeOpenSearch, folder: Path) -> None:
    texts = [(folder / "회의실.txt").read_text(encoding="utf-8"), "회의실은 이제 3층에만 있다. " * 30]
    url = f"{cluster.url}/documents"
    Index.build([folder], url).close()
    for stop in range(1, 30, 2):
        texts.reverse()
        change(folder / "회의실.txt", f"{texts[0]}\n\n{stop}판")
        cluster.stop_after = stop
        with contextlib.suppress(StorageError), Index.open(url) as index:
            index.update()
        cluster.stop_after = None
        cluster.indices["documents-state"].records.pop("writer", None)
        with Index.open(url) as index:
            for hit in index.search("회의실", top_k=50):
                text = index.document_text(hit.passage.document)
                assert text[hit.passage.start : hit.passage.end] == hit.passage.text
            index.update()
            record = index.info()
            assert len(cluster.ids("documents-passages")) == record.passages


def test_passages_without_their_document_are_not_found(cluster: FakeOpenSearch) -> None:
    documents = [Document(f"{n}.txt", f"{n}", f"연차 규정 {n}", (), f"/{n}.txt") for n in range(6)]
    opensearch_location.OpenSearchLocation(f"{cluster.url}/d").create()
    with connected(Address.parse(f"{cluster.url}/d")) as connection:
        store = OpenSearchStore(connection)
        store.write(Change(add=[cut(document) for document in documents]))
        best = store.search(bigrams("연차 규정"), 3)
        records = cluster.indices["d-documents"].records
        for hit in best:
            key = next(k for k, row in records.items() if row["_source"]["id"] == hit.passage.document)
            del records[key]
        others = store.search(bigrams("연차 규정"), 3)
        assert len(others) == 3
        assert not {hit.passage.document for hit in best} & {hit.passage.document for hit in others}


def test_half_a_surrogate_pair_and_long_ids(cluster: FakeOpenSearch) -> None:
    text = "반쪽 \ud83d 글자와 연차"
    document = Document("길" * 2000, "반쪽 \udc00", text, (), "/a.txt")
    opensearch_location.OpenSearchLocation(f"{cluster.url}/d").create()
    with connected(Address.parse(f"{cluster.url}/d")) as connection:
        store = OpenSearchStore(connection)
        store.write(Change(add=[cut(document)]))
        (hit,) = store.search(bigrams("연차"), 10)
        assert hit.passage.text == text == store.document_text(document.id)
        with pytest.raises(KeyError):
            store.document_text("another")
        assert store.search(bigrams("가나다라마바사" * 2000), 10) == []  # more terms than a query may have


# --- one writer ---------------------------------------------------------------------------------------------


def test_one_writer_at_a_time(cluster: FakeOpenSearch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opensearch_location, "RENEWED", 0.05)
    location = opensearch_location.OpenSearchLocation(f"{cluster.url}/d")
    location.create()
    with location.writing():
        with pytest.raises(StorageError, match="another process is writing"), location.writing():
            pass
    with location.writing():
        pass


def test_the_lock_of_a_writer_that_was_killed_is_taken_over(
    cluster: FakeOpenSearch, monkeypatch: pytest.MonkeyPatch
) -> None:
    location = opensearch_location.OpenSearchLocation(f"{cluster.url}/d")
    location.create()
    killed = location.writing()
    store: Any = killed.__enter__()
    monkeypatch.setattr(opensearch_location, "RENEWED", 0.05)
    monkeypatch.setattr(opensearch_location, "EXPIRED", 0.4)
    taken, end = threading.Event(), threading.Event()

    def next_writer() -> None:
        with location.writing():
            taken.set()
            end.wait(20)

    thread = threading.Thread(target=next_writer)
    thread.start()
    try:
        assert taken.wait(20)
        with pytest.raises(StorageError, match=r"the lock of the index|another process"):
            store.write(Change())
    finally:
        end.set()
        thread.join()
        killed.__exit__(None, None, None)


# --- errors -------------------------------------------------------------------------------------------------


def message(url: str) -> str:
    with pytest.raises(KomrcError) as caught:
        Index.open(url)
    return str(caught.value)


def test_errors_name_what_to_do(
    cluster: FakeOpenSearch, monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    url = f"{cluster.url}/d"
    assert "there is no such index" in message(url) and f"--output {url}" in message(url)
    with FakeOpenSearch() as closed:
        pass
    assert "can't be reached" in message(f"{closed.url}/d")
    cluster.version = {"number": "8.1.0"}
    assert "is another program 8.1.0" in message(url)
    cluster.version = {"number": "1.3.2", "distribution": "opensearch"}
    assert "OpenSearch 2 or later" in message(url)
    cluster.version = {"number": "3.1.0", "distribution": "opensearch"}
    cluster.failures = [503] * 3
    assert "overloaded" in message(url)
    cluster.read_only = True
    with pytest.raises(StorageError, match="disk may be full"):
        Index.build([folder], url)
    cluster.read_only = False
    monkeypatch.setattr(opensearch_client, "TIMEOUT", 0.05)
    with cluster.lock:
        assert "gave no reply within" in message(url)


def test_logins(monkeypatch: pytest.MonkeyPatch, folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    with FakeOpenSearch(user="reader:s3cret") as cluster:
        url = f"{cluster.url}/d"
        assert "refused the login" in message(url) and "KOMRC_OPENSEARCH_USER" in message(url)
        monkeypatch.setenv("KOMRC_OPENSEARCH_USER", "reader")
        monkeypatch.setenv("KOMRC_OPENSEARCH_PASSWORD", "wrong-s3cret")
        assert "s3cret" not in message(url)
        monkeypatch.setenv("KOMRC_OPENSEARCH_PASSWORD", "s3cret")
        with Index.build([folder], url) as index:
            assert index.search("연차")
        monkeypatch.delenv("KOMRC_OPENSEARCH_USER")
        cluster.user = "Bearer a-t0ken"
        monkeypatch.setenv("KOMRC_OPENSEARCH_TOKEN", "a-t0ken")
        Index.open(url).close()
    assert "s3cret" not in caplog.text and "t0ken" not in caplog.text
    text = message("opensearch://reader:s3cret@localhost:9200/d")
    assert "contains a login" in text and "s3cret" not in text


@pytest.mark.parametrize(
    "url",
    [
        "opensearch://localhost:9200",
        "opensearch://localhost:x/d",
        "opensearch://h/UPPER",
        "http://h/d",
        "opensearch:///d",
    ],
)
def test_wrong_urls(url: str) -> None:
    with pytest.raises(UsageError):
        Index.open(url)


def test_addresses() -> None:
    assert str(Address.parse("opensearch://host/a")) == "opensearch://host:9200/a"
    assert str(Address.parse("opensearch+https://host/a/")) == "opensearch+https://host:443/a"
    assert Address.parse("opensearch://[::1]:9201/a").host == "::1"


def test_commands(cluster: FakeOpenSearch, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    url = f"{cluster.url}/documents"
    assert main(["index", str(folder), "--output", url]) == 0
    assert json.loads(capsys.readouterr().out)["added"] == 8
    assert main(["search", "연차 신청", "--index", url, "--top-k", "1"]) == 0
    assert capsys.readouterr().out.split("\t")[1] == "규정/휴가.txt"
    assert main(["index", url, "--remove", str(folder / "규정")]) == 0
    assert json.loads(capsys.readouterr().out) == {"removed": 1}
    assert main(["index", url, "--update"]) == 0
    assert json.loads(capsys.readouterr().out)["unchanged_files"] == 3
    assert main(["index", url, "--info"]) == 0
    assert json.loads(capsys.readouterr().out)["documents"] == 7
    assert main(["search", "연차", "--index", f"{cluster.url}/other"]) == 2
    assert "there is no such index" in capsys.readouterr().err
