"""``Index``: what is found, and that it follows its files."""

from __future__ import annotations

import json
import multiprocessing
import os
import sqlite3
from pathlib import Path

import pytest

from komrc import Index, errors
from komrc.documents.document import Block, Document, Unread
from komrc.index import Hit

pytest.importorskip("tantivy")

LEAVE = "연차는 사흘 전에 부서장에게 신청한다. 반차는 하루 전에 신청한다."
PAY = "급여는 매달 25일에 지급한다. 휴일이면 그 전날에 지급한다."


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with two texts, one of them in a folder below, and a file of records."""
    root = tmp_path / "문서"
    (root / "규정").mkdir(parents=True)
    (root / "규정/휴가.txt").write_text(LEAVE, encoding="utf-8")
    (root / "급여.txt").write_text(PAY, encoding="utf-8")
    records = [
        {"id": n, "title": f"공지 {n}", "text": f"{n}호 공지: 회의실 {n}번을 고친다."} for n in range(5)
    ]
    write_records(root / "notices.jsonl", records)
    return root


def write_records(path: Path, records: list[dict[str, object]]) -> None:
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")


def change(path: Path, text: str) -> None:
    """Write a file so that its time of change differs, whatever the clock's step."""
    path.write_text(text, encoding="utf-8")
    os.utime(path, ns=(1, path.stat().st_mtime_ns + 10_000_000_000))


def found(index: Index, question: str) -> list[str]:
    return [hit.passage.document for hit in index.search(question)]


def documents(index: Index) -> int:
    return index.info().documents


def check(index: Index, hits: list[Hit]) -> None:
    for hit in hits:
        passage = hit.passage
        assert index.document_text(passage.document)[passage.start : passage.end] == passage.text
        assert hit.score > 0
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)


def test_build_search_and_read(folder: Path, tmp_path: Path) -> None:
    with Index.build([folder], tmp_path / "an.index") as index:
        assert index.changes is not None and index.changes.added == 7 and index.changes.unread == ()
        assert found(index, "연차는 며칠 전에 신청해야 하나?")[0] == "규정/휴가.txt"
        assert found(index, "회의실 3번")[0] == "notices.jsonl#3"
        hits = index.search("신청 지급 공지", top_k=20)
        check(index, hits)
        assert len(hits) == 7 and len(index.search("신청 지급 공지", top_k=3)) == 3
        assert index.search("전혀없는말") == [] and index.search("?!") == []
        info = index.info()
        assert (info.files, info.documents, info.passages) == (3, 7, 7)
        assert info.characters == sum(len(index.document_text(hit.passage.document)) for hit in hits)
        assert info.paths == (str(folder),)
    with Index.open(tmp_path / "an.index") as again:
        assert [hit.passage for hit in again.search("신청 지급 공지", top_k=20)] == [
            hit.passage for hit in hits
        ]


def test_memory_and_folder_find_the_same(folder: Path, tmp_path: Path) -> None:
    from komrc.documents import read_documents

    memory = Index.of_documents(d for d in read_documents([folder]) if isinstance(d, Document))
    with Index.build([folder], tmp_path / "an.index") as index:
        for question in ("연차 신청", "급여는 언제 지급하나", "공지 4호"):
            ours, theirs = index.search(question), memory.search(question)
            assert ours[0].passage.document == theirs[0].passage.document
            # Tantivy rounds the lengths of passages.
            assert ours[0].score == pytest.approx(theirs[0].score, rel=0.1)
            check(memory, theirs)
    assert memory.info().documents == 7
    with pytest.raises(errors.UsageError, match="in memory"):
        memory.update()


def test_an_index_of_one_long_text() -> None:
    text = "\n\n".join(
        f"{n}번 방의 열쇠는 {n * 7}번 상자에 있다. 다른 이야기가 이어진다." for n in range(3000)
    )
    index = Index.of_documents([Document("text", "", text, (), "")])
    (best, *_) = index.search("1234번 방의 열쇠는 어디에 있나?", top_k=5)
    assert (
        "1234번 방" in best.passage.text and text[best.passage.start : best.passage.end] == best.passage.text
    )


def test_an_empty_index_finds_nothing(tmp_path: Path) -> None:
    assert Index.of_documents([]).search("무엇") == []
    (tmp_path / "empty").mkdir()
    with Index.build([tmp_path / "empty"], tmp_path / "an.index") as index:
        assert index.search("무엇") == [] and documents(index) == 0


def test_update_reads_what_changed_and_removes_what_is_gone(folder: Path, tmp_path: Path) -> None:
    with Index.build([folder], tmp_path / "an.index") as index:
        unchanged = index.update()
        assert (unchanged.added, unchanged.replaced, unchanged.removed, unchanged.unchanged_files) == (
            0,
            0,
            0,
            3,
        )
        change(folder / "급여.txt", "급여는 매달 10일에 지급한다.")
        (folder / "규정/휴가.txt").unlink()
        (folder / "새것.txt").write_text("출장비는 영수증으로 청구한다.", encoding="utf-8")
        changes = index.update()
        assert (changes.added, changes.replaced, changes.removed, changes.unchanged_files) == (1, 1, 1, 1)
        assert found(index, "출장비 영수증")[0] == "새것.txt"
        assert "10일" in index.search("급여 지급")[0].passage.text
        assert "규정/휴가.txt" not in found(index, "연차 반차 신청")
        with pytest.raises(errors.InputError):
            index.document_text("규정/휴가.txt")
        assert documents(index) == 7


def test_of_a_file_of_records_only_changed_records_are_stored(folder: Path, tmp_path: Path) -> None:
    with Index.build([folder], tmp_path / "an.index") as index:
        before = {hit.passage.document: hit.passage.id for hit in index.search("공지", top_k=9)}
        records = [
            {"id": n, "title": f"공지 {n}", "text": f"{n}호 공지: 회의실 {n}번을 고친다."}
            for n in range(1, 6)
        ]
        records[0]["text"] = "1호 공지: 고쳤다."
        write_records(folder / "notices.jsonl", records)
        changes = index.update()
        assert (changes.added, changes.replaced, changes.removed) == (1, 1, 1)
        after = {hit.passage.document: hit.passage.id for hit in index.search("공지", top_k=9)}
        assert set(after) == {f"notices.jsonl#{n}" for n in range(1, 6)}
        kept = [f"notices.jsonl#{n}" for n in (2, 3, 4)]
        assert [after[name] for name in kept] == [before[name] for name in kept]


def test_a_file_that_was_touched_is_read_but_not_stored_again(folder: Path, tmp_path: Path) -> None:
    with Index.build([folder], tmp_path / "an.index") as index:
        change(folder / "급여.txt", PAY)
        assert index.update().unchanged_files == 2
        changes = index.update()
        assert (changes.replaced, changes.unchanged_files) == (0, 3)


def test_remove_lasts_until_the_path_is_given_again(folder: Path, tmp_path: Path) -> None:
    with Index.build([folder], tmp_path / "an.index") as index:
        assert index.remove(folder / "규정") == 1
        assert found(index, "연차 신청") == []
        index.update()
        assert found(index, "연차 신청") == [] and index.info().left_out == (str(folder / "규정"),)
        with pytest.raises(errors.InputError, match="no document"):
            index.remove(folder / "규정")
        index.update([folder / "규정"])
        assert documents(index) == 7
        index.remove(folder)
        assert documents(index) == 0 and index.info().paths == ()


def test_the_same_name_in_two_folders_is_two_documents(tmp_path: Path) -> None:
    for name, text in (("a", LEAVE), ("b", PAY)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.txt").write_text(text, encoding="utf-8")
    with Index.build([tmp_path / "a", tmp_path / "b"], tmp_path / "an.index") as index:
        assert documents(index) == 2
        assert found(index, "연차 신청")[0] == "x.txt"
        assert found(index, "급여 지급")[0] == (tmp_path / "b/x.txt").as_posix()
        again = index.update()
        assert (again.added, again.removed) == (0, 0) and documents(index) == 2


def test_what_cannot_be_read_is_reported_and_the_rest_is_indexed(folder: Path, tmp_path: Path) -> None:
    (folder / "broken.pdf").write_bytes(b"%PDF-1.7 and no more")
    reported: list[Unread] = []
    with Index.build([folder], tmp_path / "an.index", report=reported.append) as index:
        assert [Path(unread.source).name for unread in reported] == ["broken.pdf"]
        assert index.changes is not None and index.changes.unread == tuple(reported)
        assert documents(index) == 7
        (folder / "broken.pdf").unlink()
        assert index.update().unread == ()


def test_documents_of_a_folder_that_is_away_are_kept(folder: Path, tmp_path: Path) -> None:
    with Index.build([folder], tmp_path / "an.index") as index:
        folder.rename(tmp_path / "away")
        reported: list[Unread] = []
        assert index.update(report=reported.append).removed == 0
        assert [unread.source for unread in reported] == [str(folder)] and documents(index) == 7


def test_an_index_inside_its_folder_does_not_read_itself(folder: Path) -> None:
    with Index.build([folder], folder / "an.index") as index:
        changes = index.update()
        assert changes.unread == () and documents(index) == 7


def test_names_that_are_no_utf8(tmp_path: Path) -> None:
    folder = tmp_path / "f"
    folder.mkdir()
    try:
        (folder / os.fsdecode("휴가.txt".encode("cp949"))).write_text(LEAVE, encoding="utf-8")
    except OSError:
        pytest.skip("this file system has UTF-8 names only")
    with Index.build([folder], tmp_path / "an.index") as index:
        assert documents(index) == 1 and index.update().unchanged_files == 1
        check(index, index.search("연차"))
        assert index.remove(folder) == 1


# --- folders that are no index, damage ---------------------------------------------------------------------


def test_a_folder_that_is_no_index(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(errors.UsageError, match="does not exist"):
        Index.open(tmp_path / "nothing")
    with pytest.raises(errors.UsageError, match="is no index"):
        Index.open(folder)
    with pytest.raises(errors.UsageError, match="contains files and is no index"):
        Index.build([folder], folder)
    with pytest.raises(errors.UsageError, match="does not exist"):
        Index.build([tmp_path / "nothing"], tmp_path / "an.index")
    assert not (tmp_path / "an.index").exists()


@pytest.mark.parametrize(("version", "message"), [(0, "an older KoMRC"), (99, "a newer KoMRC")])
def test_another_format(folder: Path, tmp_path: Path, version: int, message: str) -> None:
    Index.build([folder], tmp_path / "an.index").close()
    path = tmp_path / "an.index/index.json"
    path.write_text(path.read_text().replace('"format": 1', f'"format": {version}'))
    with pytest.raises(errors.StorageError, match=message):
        Index.open(tmp_path / "an.index")


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"format": 1, "terms": 1, "paths": 3, "left_out": []}']
)
def test_a_damaged_description(folder: Path, tmp_path: Path, content: bytes) -> None:
    Index.build([folder], tmp_path / "an.index").close()
    (tmp_path / "an.index/index.json").write_bytes(content)
    with pytest.raises(errors.StorageError, match="damaged"):
        Index.open(tmp_path / "an.index")


def test_a_damaged_database(folder: Path, tmp_path: Path) -> None:
    Index.build([folder], tmp_path / "an.index").close()
    (tmp_path / "an.index/documents.sqlite").write_bytes(b"no database" * 1000)
    with pytest.raises(errors.StorageError, match="damaged"):
        Index.open(tmp_path / "an.index")


def test_a_damaged_engine_is_named_and_update_writes_it_again(folder: Path, tmp_path: Path) -> None:
    Index.build([folder], tmp_path / "an.index").close()
    for file in (tmp_path / "an.index/search").iterdir():
        file.write_bytes(b"x")
    with pytest.raises(errors.StorageError, match="--update"):
        Index.open(tmp_path / "an.index")
    with Index.build([folder], tmp_path / "an.index") as index:
        assert len(index.search("신청 지급 공지", top_k=20)) == 7


def test_one_writer_at_a_time(folder: Path, tmp_path: Path) -> None:
    from komrc.index.tantivy_store import TantivyStore

    with Index.build([folder], tmp_path / "an.index") as index:
        store = TantivyStore(tmp_path / "an.index", write=True)
        with pytest.raises(errors.StorageError, match="another process is writing"):
            index.update()
        assert found(index, "연차")  # readers don't mind
        store.close()
        index.update()


def test_a_read_only_folder_can_be_searched(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Index.build([folder], tmp_path / "an.index").close()
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write everywhere
    before = sorted(path.name for path in (tmp_path / "an.index").rglob("*"))
    with Index.open(tmp_path / "an.index") as index:
        assert found(index, "연차")[0] == "규정/휴가.txt"
        assert sorted(path.name for path in (tmp_path / "an.index").rglob("*")) == before


# --- several processes -------------------------------------------------------------------------------------


def _read_until_all_are_there(path: Path, count: int, results: multiprocessing.Queue[int]) -> None:
    with Index.open(path) as index:
        seen = 0
        while seen < count:
            hits = index.search("공지 회의실", top_k=1000)
            check(index, hits)
            if len(hits) < seen:  # an added document never disappears
                results.put(-1)
                return
            seen = len(hits)
        results.put(seen)


def test_a_reader_sees_what_a_writer_adds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from komrc.index import updating

    monkeypatch.setattr(updating, "_DOCUMENTS", 20)
    (tmp_path / "a.txt").write_text("회의실", encoding="utf-8")
    with Index.build([tmp_path / "a.txt"], tmp_path / "an.index") as index:
        context = multiprocessing.get_context("spawn")
        results: multiprocessing.Queue[int] = context.Queue()
        reader = context.Process(
            target=_read_until_all_are_there, args=(tmp_path / "an.index", 201, results), daemon=True
        )
        reader.start()
        records = [{"id": n, "title": "", "text": f"{n}호 공지: 회의실 {n}번을 고친다."} for n in range(200)]
        write_records(tmp_path / "b.jsonl", records)
        index.update([tmp_path / "b.jsonl"])
        assert results.get(timeout=120) == 201
        reader.join()


def test_the_database_is_sqlite_with_every_text(folder: Path, tmp_path: Path) -> None:
    """The texts can be taken out with any SQLite tool."""
    Index.build([folder], tmp_path / "an.index").close()
    with sqlite3.connect(tmp_path / "an.index/documents.sqlite") as db:
        assert (LEAVE.encode(),) in db.execute("SELECT text FROM documents").fetchall()


def test_blocks_and_pages_come_through(tmp_path: Path) -> None:
    first, second = "휴가 규정이다.", "급여 규정이다."
    blocks = (
        Block("paragraph", 0, len(first), 1),
        Block("paragraph", len(first) + 1, len(first) + 1 + len(second), 2),
    )
    index = Index.of_documents([Document("a.pdf", "규정", f"{first}\n{second}", blocks, "a.pdf")])
    (hit, *_) = index.search("급여")
    assert (hit.passage.page, hit.passage.line, hit.passage.text) == (2, 2, second)
