"""Building with actors on Ray: the same index as one process builds."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from support.fake_opensearch import FakeOpenSearch

from komrc import Index
from komrc.errors import UsageError

pytest.importorskip("tantivy")
pytest.importorskip("opensearchpy")

QUESTION = "회의실 3번째 문단"


@pytest.fixture(scope="module")
def ray() -> Iterator[None]:
    if find_spec("ray") is None:  # importing it here would be before its settings are made
        pytest.skip("Ray is not installed (the ray extra)")
    from support.local_ray import ray_here

    with ray_here():
        yield


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "문서"
    root.mkdir()
    for n in range(450):  # three units
        (root / f"{n}.txt").write_text(f"{n}번 문서: 회의실 {n % 9}번째 문단이다.", encoding="utf-8")
    (root / "records.jsonl").write_text(json.dumps({"id": 1, "text": "공지"}) + "\n", encoding="utf-8")
    return root


def found(index: Index) -> list[tuple[str, int, int, float]]:
    hits = [(hit.passage, hit.score) for hit in index.search(QUESTION, top_k=1000)]
    return sorted((p.document, p.start, p.end, round(score, 3)) for p, score in hits)


def test_actors_build_the_same_index(ray: None, folder: Path, tmp_path: Path) -> None:
    with FakeOpenSearch() as cluster, Index.build([folder], tmp_path / "one") as one:
        with Index.build([folder], tmp_path / "two", actors=2, on_ray=True) as two:
            assert found(two) == found(one) and two.info().passages == one.info().passages
            assert [hit.passage for hit in two.search(QUESTION, 9)] == [
                hit.passage for hit in one.search(QUESTION, 9)
            ]
        with Index.build([folder], f"{cluster.url}/d", actors=2, on_ray=True) as many:
            assert found(many) == found(one)
            assert many.changes == one.changes
        # What an actor raises reaches the user as it is.
        with pytest.raises(UsageError, match="no such index"):
            cluster.indices.clear()
            many.update(actors=2, on_ray=True)
