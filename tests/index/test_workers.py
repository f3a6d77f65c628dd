"""Building with several processes: the same index as one process builds."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from support.fake_opensearch import FakeOpenSearch

from komrc import Index
from komrc.errors import EngineError
from komrc.index import workers
from komrc.index.index import Index as IndexClass
from komrc.index.workers import Work

pytest.importorskip("tantivy")


@pytest.fixture(autouse=True)
def small_units(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "_UNIT_FILES", 3)
    monkeypatch.setattr(workers, "_LARGE", 5_000)


@pytest.fixture
def folders(tmp_path: Path) -> list[Path]:
    """Two folders with a file of the same name, a broken one, records, and a large file."""
    for name in ("가", "나"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "같은이름.txt").write_text(f"{name} 폴더의 연차 규정이다.", encoding="utf-8")
        for n in range(6):
            text = "\n\n".join(f"{name}{n}의 {m}번째 문단은 회의실 {m}에 관한 것이다." for m in range(30))
            (folder / f"{n}.txt").write_text(text, encoding="utf-8")
    (tmp_path / "가/깨짐.pdf").write_bytes(b"%PDF-1.7 broken")
    records = [{"id": n, "title": f"공지 {n}", "text": f"{n}호 공지 \ud83d 연차"} for n in range(200)]
    (tmp_path / "나/notices.jsonl").write_text(
        "".join(json.dumps(record) + "\n" for record in records), encoding="utf-8"
    )
    return [tmp_path / "가", tmp_path / "나"]


def contents(index: IndexClass) -> list[object]:
    """All that can be seen of an index, beside the numbers of its passages."""
    values: list[object] = []
    for question in ("연차 규정", "회의실 3번째 문단", "공지 17"):
        hits = index.search(question, top_k=1000)
        places = [
            (round(hit.score, 3), hit.passage.document, hit.passage.start, hit.passage.text) for hit in hits
        ]
        values += sorted(places, reverse=True)
        values += [index.document_text(document) for document in sorted({place[1] for place in places})]
    info = index.info()
    return [*values, info.files, info.documents, info.passages, info.characters]


def in_this_process(work: Work, units: Sequence[str], *, actors: int) -> Iterator[str]:
    return map(work, units)


def test_processes_build_the_same_index(folders: list[Path], tmp_path: Path) -> None:
    with (
        Index.build(folders, tmp_path / "one") as one,
        Index.build(folders, tmp_path / "two", actors=2) as two,
    ):
        assert one.changes is not None and two.changes is not None
        assert one.changes.unread and one.changes == two.changes
        assert contents(one) == contents(two)
        ids = [[hit.passage.id for hit in index.search("회의실", top_k=500)] for index in (one, two)]
        assert ids[0] == ids[1]


def test_several_writers_build_the_same_index(
    folders: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("opensearchpy")
    monkeypatch.setattr(workers, "processes", in_this_process)
    with FakeOpenSearch() as cluster, Index.build(folders, tmp_path / "one") as one:
        with Index.build(folders, f"{cluster.url}/d", actors=4) as index:
            assert one.changes is not None and index.changes is not None
            assert contents(index) == contents(one)
            assert index.changes.added == one.changes.added
            assert sorted(map(str, index.changes.unread)) == sorted(map(str, one.changes.unread))
            again = index.update(actors=4)
            assert (again.added, again.replaced, again.removed) == (0, 0, 0)


def killed(_unit: str) -> str:
    os._exit(9)


def test_a_process_that_is_killed_is_reported() -> None:
    with pytest.raises(EngineError, match="was killed"):
        list(workers.processes(killed, ["a", "b"], actors=1))
