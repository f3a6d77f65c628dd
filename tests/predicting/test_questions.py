"""Questions from files, folders and URLs; damaged and repeated ones; files that change."""

from __future__ import annotations

import csv
import gzip
import io
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support.shard_jobs import record, write_lines

from komrc.errors import DataError, UsageError
from komrc.predicting import questions as question_files
from komrc.predicting.questions import QuestionFiles, QuestionSet, open_questions

COUNT = 25


def squad(path: Path, numbers: range) -> Path:
    paragraphs = [
        {"context": record(n)["context"], "qas": [{"id": f"q{n}", "question": record(n)["question"]}]}
        for n in numbers
    ]
    path.write_text(json.dumps({"version": "1", "data": [{"title": "t", "paragraphs": paragraphs}]}))
    return path


def parquet(path: Path, values: list[Any]) -> Path:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    pq.write_table(pa.Table.from_pylist(values), path, row_group_size=7)
    return path


def fields(source: QuestionSet) -> list[dict[str, str]]:
    return [{"id": e.id, "question": e.question, "context": e.context} for e in source.examples()]


ALL = [record(n) for n in range(COUNT)]


@pytest.mark.parametrize("shard", [1, 4, 7, 10, 1000])
def test_every_form_gives_the_same_questions_in_blocks(tmp_path: Path, shard: int) -> None:
    given = [
        write_lines(tmp_path / "q.jsonl", ALL),
        parquet(tmp_path / "q.parquet", ALL),
        squad(tmp_path / "q.json", range(COUNT)),
    ]
    found = [open_questions([path], shard_size=shard) for path in given]
    for source in found:
        assert fields(source) == ALL
        assert [b.number for b in source.shards] == list(range(-(-COUNT // shard)))
        assert source.total == sum(b.count for b in source.shards) == COUNT
        assert source.repeated is None
        # Each shard alone, as an actor reads it, and the end behind any start, as a resumed run does.
        alone = [example for b in reversed(source.shards) for example in reversed(QuestionFiles().read(b))]
        assert alone == list(source.examples())[::-1]
        for skip in (0, 1, shard, COUNT - 1, COUNT):
            assert list(source.examples(skip)) == list(source.examples())[skip:]
    assert len({source.sha256 for source in found}) == 1


def test_the_hash_is_of_the_questions(tmp_path: Path) -> None:
    def sha256(values: list[Any], shard: int = 10) -> str:
        return open_questions([write_lines(tmp_path / "q.jsonl", values)], shard_size=shard).sha256

    assert sha256(ALL) == sha256(ALL, shard=3) != sha256(ALL[:-1])
    moved = {**ALL[0], "question": ALL[0]["question"] + "x"}, {**ALL[0], "id": ALL[0]["id"] + "x"}
    assert len({sha256([value]) for value in (ALL[0], *moved)}) == 3


def test_a_folder_is_its_files_by_name(tmp_path: Path) -> None:
    (tmp_path / "in/b").mkdir(parents=True)
    write_lines(tmp_path / "in/b/2.jsonl", ALL[7:9])
    write_lines(tmp_path / "in/a.ndjson", ALL[:4])
    parquet(tmp_path / "in/b/1.parquet", ALL[4:7])
    (tmp_path / "in/notes.txt").write_text("not data")
    write_lines(tmp_path / "in/_old.jsonl", ALL[:1])
    write_lines(tmp_path / "in/b/.hidden.jsonl", ALL[:1])
    more = write_lines(tmp_path / "more.jsonl", ALL[9:])
    source = open_questions([tmp_path / "in", f"file://{more}"], shard_size=3)
    assert fields(source) == ALL
    assert [b.count for b in source.shards] == [3, 1, 3, 2, 3, 3, 3, 3, 3, 1]


def test_files_behind_urls(tmp_path: Path) -> None:
    fsspec = pytest.importorskip("fsspec")
    memory = fsspec.filesystem("memory")
    memory.pipe("/bucket/in/1.jsonl", write_lines(tmp_path / "q.jsonl", ALL[:9]).read_bytes())
    memory.pipe("/bucket/in/2.parquet", parquet(tmp_path / "q.parquet", ALL[9:20]).read_bytes())
    memory.pipe("/bucket/in/3.json", squad(tmp_path / "q.json", range(20, COUNT)).read_bytes())
    try:
        assert fields(open_questions(["memory://bucket/in"], shard_size=4)) == ALL
        assert fields(open_questions(["memory://bucket/in/1.jsonl"], shard_size=4)) == ALL[:9]
        with pytest.raises(DataError, match="no data file"):
            open_questions(["memory://bucket/elsewhere"])
        with pytest.raises(DataError, match=r"memory://bucket/none\.jsonl"):
            open_questions(["memory://bucket/none.jsonl"])
    finally:
        memory.rm("/bucket", recursive=True)


def test_what_can_not_be_reached(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"nosuch://host/q\.jsonl"):
        open_questions(["nosuch://host/q.jsonl"])
    with pytest.raises(DataError, match=r"none\.jsonl"):
        open_questions([tmp_path / "none.jsonl"])
    with pytest.raises(DataError, match="no question"):
        open_questions([write_lines(tmp_path / "none.jsonl", [])])
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no data file"):
        open_questions([tmp_path / "empty"])
    (tmp_path / "q.parquet").write_bytes(b"PAR1 not really")
    with pytest.raises(DataError, match=r"q\.parquet: can't be read"):
        open_questions([tmp_path / "q.parquet"])
    with pytest.raises(DataError, match="no column context"):
        open_questions([parquet(tmp_path / "q.parquet", [{"id": "1", "question": "q"}])])
    with pytest.raises(DataError, match="row 2") as caught:
        open_questions([parquet(tmp_path / "q.parquet", [ALL[0], {**ALL[1], "question": None}])])
    assert '"question" is missing' in str(caught.value)


@pytest.mark.parametrize(
    ("line", "found"),
    [
        (b"{", "not JSON"),
        (b"\xff", "not JSON"),
        (b"[]", "list"),
        (b'{"id": 1.5, "question": "q", "context": "c"}', '"id" is the number 1.5'),
        (b'{"id": "1", "context": "c"}', '"question" is missing'),
        (b'{"id": "1", "question": " ", "context": "c"}', '"question" is empty'),
        (b'{"id": "1", "question": "q", "context": "\\ud800"}', "surrogate"),
    ],
)
def test_damaged_lines_are_named_before_anything_is_answered(tmp_path: Path, line: bytes, found: str) -> None:
    source = tmp_path / "q.jsonl"
    good = json.dumps(record(1)).encode()
    source.write_bytes(b"\xef\xbb\xbf" + good + b"\r\n\n" + line + b"\n" + good)
    with pytest.raises(DataError, match="line 3") as caught:
        open_questions([source])
    assert found in str(caught.value) and "1 of 3" in str(caught.value)


def test_many_damaged_lines_are_counted(tmp_path: Path) -> None:
    source = tmp_path / "q.jsonl"
    source.write_text("{\n" * 50)
    with pytest.raises(DataError, match="50 of 50") as caught:
        open_questions([source])
    assert len(caught.value.problems) == 20


def test_repeated_ids_are_found_across_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = write_lines(tmp_path / "1.jsonl", ALL)
    again = write_lines(tmp_path / "2.jsonl", [{**ALL[0], "id": "other"}, {**ALL[1], "id": "q17"}])
    assert open_questions([first, again]).repeated == "q17"
    # Two ids with the same hash are not the same id.
    monkeypatch.setattr(question_files, "_key", lambda name: name[-1:].encode() * 8)
    assert open_questions([first]).repeated is None
    assert open_questions([first, again]).repeated == "q17"


@pytest.mark.parametrize("change", [{"question": "another?"}, {"id": "q100"}, {"context": " "}])
def test_a_file_that_changes_meanwhile_is_noticed(tmp_path: Path, change: dict[str, str]) -> None:
    path = write_lines(tmp_path / "q.jsonl", ALL)
    source = open_questions([path], shard_size=10)
    write_lines(path, [*ALL[:12], {**ALL[12], **change}, *ALL[13:]])
    assert len(QuestionFiles().read(source.shards[0])) == 10
    with pytest.raises(DataError, match="changed while it was read"):
        QuestionFiles().read(source.shards[1])
    with pytest.raises(DataError, match="changed while it was read"):
        list(source.examples())


def test_skip_invalid_leaves_out_rows_of_tables(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    damaged = [ALL[0], {**ALL[1], "question": None}, *ALL[2:9], {"id": 9}]
    given = [write_lines(tmp_path / "q.jsonl", damaged), parquet(tmp_path / "q.parquet", damaged[:-1])]
    for path, left_out in zip(given, (2, 1), strict=True):
        with pytest.raises(DataError):
            open_questions([path])
        source = open_questions([path], shard_size=3, skip_invalid=True)
        assert fields(source) == [ALL[0], *ALL[2:9]]
        assert source.total == 8
        alone = [e for shard in source.shards for e in QuestionFiles(skip_invalid=True).read(shard)]
        assert alone == list(source.examples())
        assert f"left out {left_out} of" in caplog.text and '2 (id q1): "question" is missing' in caplog.text
    with pytest.raises(DataError):
        open_questions([write_lines(tmp_path / "q.jsonl", [{"id": 1}])], skip_invalid=True)


def test_whole_numbers_are_ids(tmp_path: Path) -> None:
    numbered = [{**value, "id": n} for n, value in enumerate(ALL)]
    for path in (write_lines(tmp_path / "q.jsonl", numbered), parquet(tmp_path / "q.parquet", numbered)):
        assert [e.id for e in open_questions([path]).examples()] == [str(n) for n in range(COUNT)]


@pytest.mark.parametrize("name", ["q.csv", "q.tsv", "q.csv.gz", "q.jsonl.gz"])
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_csv_gzip_and_utf_16_in_blocks(tmp_path: Path, name: str, encoding: str) -> None:
    if "jsonl" in name:
        text = "".join(f"{json.dumps(value, ensure_ascii=False)}\n" for value in ALL)
    else:
        buffer = io.StringIO()
        writer = csv.DictWriter(buffer, list(ALL[0]), delimiter="\t" if "tsv" in name else ",")
        writer.writeheader()
        writer.writerows({**value, "context": value["context"] + '\n"둘째 줄", 끝'} for value in ALL)
        text = buffer.getvalue()
    content = text.encode(encoding)
    path = tmp_path / name
    path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    source = open_questions([path], shard_size=7)
    assert [e.id for e in source.examples()] == [value["id"] for value in ALL]
    alone = [e for shard in reversed(source.shards) for e in reversed(QuestionFiles().read(shard))]
    assert alone == list(source.examples())[::-1]
    if "jsonl" not in name:
        assert alone[-1].context == ALL[0]["context"] + '\n"둘째 줄", 끝'


@pytest.mark.parametrize("content", ["%PDF-1.7", "PK\x03\x04", '{"id": "1", "text": "x"}\n'])
def test_what_is_no_table_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "q.jsonl").write_text(content)
    with pytest.raises(DataError, match=r"PDF|ZIP|komrc predict wrote"):
        open_questions([tmp_path / "q.jsonl"])


def test_standard_input_of_every_form(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    header = "id,question,context\n"
    forms = {
        "jsonl": write_lines(tmp_path / "q.jsonl", ALL).read_bytes(),
        "one line": (json.dumps(ALL[0]) + "\n").encode(),
        "json": squad(tmp_path / "q.json", range(COUNT)).read_bytes(),
        "list": json.dumps(ALL, indent=1).encode(),
        "csv": (header + f"q0,{ALL[0]['question']},{ALL[0]['context']}\n").encode(),
        "gzip": gzip.compress(write_lines(tmp_path / "q.jsonl", ALL).read_bytes()),
        "parquet": parquet(tmp_path / "q.parquet", ALL).read_bytes(),
    }
    for content in forms.values():
        monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(content)))
        with question_files.standard_input(["-"]) as data:
            assert fields(open_questions(data))[0] == {
                **ALL[0],
                "context": fields(open_questions(data))[0]["context"],
            }
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(b"nothing\n")))
    with pytest.raises(DataError, match="standard input"), question_files.standard_input(["-"]) as data:
        open_questions(data)
