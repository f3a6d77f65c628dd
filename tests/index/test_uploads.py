"""Files that are kept in the index's own folder."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("tantivy", reason="the documents extra is not installed")

from komrc.documents.limits import Limits
from komrc.errors import InputError
from komrc.index import Index, uploads
from komrc.index.store import BusyError
from komrc.index.tantivy_store import TantivyStore

PARKING = "주차장은 지하 3층이다.".encode()


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "문서").mkdir()
    (tmp_path / "문서" / "a.txt").write_text("연차는 3일 전에 신청한다.", encoding="utf-8")
    Index.build([tmp_path / "문서"], tmp_path / "my.index").close()
    return tmp_path / "my.index"


def found(folder, query):
    with Index.open(folder) as index:
        return [hit.passage.document for hit in index.search(query)]


@given(st.text(max_size=300))
def test_every_label_has_a_place_below_the_index(tmp_path_factory, name):
    try:
        label = uploads.label_of(name)
    except InputError:
        return
    folder = tmp_path_factory.getbasetemp() / "my.index"
    place = uploads._place(folder, label)
    assert place.resolve() == place
    assert place.parent.parent == folder / "uploads"
    assert 0 < len(place.name.encode("utf-8", "surrogatepass")) <= 255
    assert uploads.label_of(label) == label


def test_names_that_differ_have_different_places(tmp_path):
    labels = ["a?.txt", "a*.txt", "a_.txt", "가" * 100 + ".txt", "가" * 101 + ".txt"]
    assert len({uploads._place(tmp_path, label) for label in labels}) == len(labels)


def test_a_name_may_be_decomposed(tmp_path):
    assert uploads.label_of("\u1112\u1172\u1100\u1161.txt") == "휴가.txt"


def test_an_update_keeps_uploads_and_a_deleted_file_is_removed(folder):
    uploads.add(folder, "주차.txt", PARKING, Limits())
    assert uploads.count(folder) == 1 and uploads.has(folder, "주차.txt")
    with Index.open(folder) as index:
        assert index.update().removed == 0
    assert found(folder, "주차장") == ["uploads/주차.txt"]
    next((folder / "uploads").rglob("주차.txt")).unlink()
    with Index.open(folder) as index:
        assert index.update().removed == 1
    assert found(folder, "주차장") == []


def test_a_file_can_be_removed_by_its_path(folder):
    uploads.add(folder, "주차.txt", PARKING, Limits())
    with Index.open(folder) as index:
        assert index.remove(next((folder / "uploads").rglob("주차.txt"))) == 1
    assert found(folder, "주차장") == []


def test_an_index_that_was_moved_keeps_its_uploads(folder):
    uploads.add(folder, "주차.txt", PARKING, Limits())
    moved = folder.with_name("moved.index")
    folder.rename(moved)
    with Index.open(moved) as index:
        assert index.update().removed == 0
    assert found(moved, "주차장") == ["uploads/주차.txt"]
    uploads.add(moved, "주차.txt", "주차장은 지하 4층이다.".encode(), Limits())
    assert found(moved, "주차장") == ["uploads/주차.txt"]
    with Index.open(moved) as index:
        assert index.document_text("uploads/주차.txt").strip() == "주차장은 지하 4층이다."


def test_records_that_a_new_version_does_not_have_are_removed(folder):
    uploads.add(folder, "r.jsonl", b'{"id": "1", "text": "one"}\n{"id": "2", "text": "two"}\n', Limits())
    uploaded = uploads.add(folder, "r.jsonl", b'{"id": "2", "text": "two"}\n', Limits())
    assert (uploaded.documents, uploaded.changes.removed) == (1, 1)
    assert found(folder, "one") == []


def test_another_writer_is_an_error_of_its_own_and_leaves_no_file(folder):
    writer = TantivyStore(folder, write=True)
    try:
        with pytest.raises(BusyError):
            uploads.add(folder, "주차.txt", PARKING, Limits())
    finally:
        writer.close()
    assert not (folder / "uploads").exists()
