"""An index whose writer is killed: nothing is lost or twice there after the same command."""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.faults import in_child, kill_points

from komrc import Index
from komrc.index import catalog, tantivy_store, updating

pytest.importorskip("tantivy")
pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="watches Linux's calls")

STATEMENTS = ("write", "done")


def elsewhere(action: Callable[[], Any]) -> Any:
    """The result of an action in a child. This process must not open an index: the engine's threads hold
    file locks, and a child that is forked meanwhile inherits such a lock and waits for it without end."""
    ended = in_child(action)
    if ended.error is not None:
        raise ended.error
    assert ended.code == 0
    return ended.value


def contents(folder: Path) -> dict[str, str]:
    """Text by document, from searching: every passage is found, once."""
    with Index.open(folder) as index:
        hits = index.search("공지", top_k=1000)
        places = [(hit.passage.document, hit.passage.start) for hit in hits]
        assert len(places) == len(set(places)) == index.info().passages
        return {hit.passage.document: index.document_text(hit.passage.document) for hit in hits}


def write_records(path: Path, numbers: range, version: str) -> None:
    lines = (json.dumps({"id": n, "title": "", "text": f"{n}호 공지 {version}"}) for n in numbers)
    path.write_text("\n".join(lines), encoding="utf-8")


def watched(store: type, name: str, when: list[int], *, after: bool) -> object:
    """A method that kills the process at the chosen call, before or after it has done its work."""
    import os
    import signal

    method = getattr(store, name)

    def watching(self: object, *args: object, **more: object) -> object:
        when[0] -= 1
        if when[0] == 0 and not after:
            os.kill(os.getpid(), signal.SIGKILL)
        result = method(self, *args, **more)
        if when[0] == 0 and after:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    return watching


POINTS = [
    (catalog.Catalog, "write"),
    (tantivy_store.TantivyStore, "_commit"),
    (catalog.Catalog, "done"),
]


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(("store", "name"), POINTS, ids=[name for _, name in POINTS])
@pytest.mark.parametrize("call", [1, 2, 4])
def test_killed_between_the_catalog_and_the_engine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store: type, name: str, call: int, after: bool
) -> None:
    monkeypatch.setattr(updating, "_DOCUMENTS", 5)
    source, output = tmp_path / "a.jsonl", tmp_path / "an.index"
    write_records(source, range(20), "처음")

    def build() -> None:
        setattr(store, name, watched(store, name, [call], after=after))
        Index.build([source], output).close()

    assert in_child(build).code == -9
    elsewhere(lambda: Index.build([source], output).close())
    expected = {f"a.jsonl#{n}": f"{n}호 공지 처음" for n in range(20)}
    assert elsewhere(lambda: contents(output)) == expected

    write_records(source, range(10, 30), "다음")

    def update() -> None:
        setattr(store, name, watched(store, name, [call], after=after))
        with Index.open(output) as index:
            index.update()

    def update_again() -> None:
        with Index.open(output) as index:
            for hit in index.search(
                "공지", top_k=1000
            ):  # a passage has its text, of one version or the other
                text = index.document_text(hit.passage.document)
                assert text[hit.passage.start : hit.passage.end] == hit.passage.text
            index.update()

    assert in_child(update).code == -9
    elsewhere(update_again)
    assert elsewhere(lambda: contents(output)) == {f"a.jsonl#{n}": f"{n}호 공지 다음" for n in range(10, 30)}


def test_killed_at_a_file_operation_of_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The steps that Python does: making the folder, writing and renaming index.json."""
    source, output = tmp_path / "a.jsonl", tmp_path / "out/an.index"
    write_records(source, range(3), "처음")

    def prepare() -> Path:
        import shutil

        shutil.rmtree(tmp_path / "out", ignore_errors=True)
        (tmp_path / "out").mkdir()
        return tmp_path / "out"

    def points(number: int) -> Iterator[int]:
        yield from sorted(random.Random(1).sample(range(1, number + 1), min(number, 8)))

    def build() -> None:
        Index.build([source], output).close()

    for _, point, name in kill_points(build, prepare, tmp_path / "log", points):
        elsewhere(build)
        assert len(elsewhere(lambda: contents(output))) == 3, (point, name)
