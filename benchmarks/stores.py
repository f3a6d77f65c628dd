"""Engines that could store and search the passages of an index, on the same terms and questions.

    python -m benchmarks.stores engines --passages 10000 --engine tantivy fts5 bm25s lancedb milvus
    python -m benchmarks.stores index --passages 1000000

``engines``: the pre-release questions of KorQuAD, their passages and as many others (statutes, documentation)
as asked for; every engine gets the same terms, one process each. ``index``: a whole `Index` built from one
file of records, with the time, memory and size that it takes. Needs ../shared and, for ``engines``,
``pip install tantivy bm25s lancedb pymilvus milvus-lite``. One JSON line each on stdout.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import resource
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Any, Protocol

from komrc.index.bigrams import bigrams

DATA = Path(__file__).resolve().parents[2] / "shared/data"
QUESTIONS = 300
TOP = 10
SEED = 1
# In a process of its own: what prepares the records needs much memory.
BUILD = """
import sys, time
from pathlib import Path
from komrc.index import Index
began = time.perf_counter()
Index.build(sys.argv[1:2], sys.argv[2], progress=True)
peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
print(time.perf_counter() - began, time.process_time(), peak.split()[1])
"""


class Engine(Protocol):
    """What is compared: texts of terms in, numbers of the best texts out."""

    def build(self, texts: Iterable[str]) -> None: ...

    def search(self, terms: Sequence[str]) -> list[int]: ...


class Tantivy:
    def __init__(self, folder: Path) -> None:
        import tantivy

        builder = tantivy.SchemaBuilder()
        builder.add_text_field("terms", tokenizer_name="whitespace", index_option="freq")
        builder.add_unsigned_field("number", fast=True)
        self.index = tantivy.Index(builder.build(), path=str(folder))

    def build(self, texts: Iterable[str]) -> None:
        import tantivy

        writer = self.index.writer(heap_size=100_000_000, num_threads=1)
        for number, text in enumerate(texts):
            entry = tantivy.Document()
            entry.add_text("terms", text)
            entry.add_unsigned("number", number)
            writer.add_document(entry)
        writer.commit()
        writer.wait_merging_threads()
        self.index.reload()
        self.searcher = self.index.searcher()

    def search(self, terms: Sequence[str]) -> list[int]:
        import tantivy

        parts = [
            (tantivy.Occur.Should, tantivy.Query.term_query(self.index.schema, "terms", term, "freq"))
            for term in terms
        ]
        hits = self.searcher.search(tantivy.Query.boolean_query(parts), TOP, count=False).hits
        return [int(n or 0) for n in self.searcher.fast_field_values("number", [at for _, at in hits])]


class Fts5:
    def __init__(self, folder: Path) -> None:
        self.db = sqlite3.connect(folder / "fts5.sqlite")
        # Terms become words of letters, since FTS5's tokenizers cut at "^" and "+".
        self.db.execute(
            "CREATE VIRTUAL TABLE t USING fts5(terms, content='', "
            "tokenize=\"unicode61 remove_diacritics 0 tokenchars '^+_'\")"
        )

    def build(self, texts: Iterable[str]) -> None:
        self.db.executemany("INSERT INTO t (rowid, terms) VALUES (?, ?)", enumerate(texts))
        self.db.execute("INSERT INTO t (t) VALUES ('optimize')")
        self.db.commit()

    def search(self, terms: Sequence[str]) -> list[int]:
        query = " OR ".join(f'"{term}"' for term in terms)
        rows = self.db.execute(f"SELECT rowid FROM t WHERE t MATCH ? ORDER BY rank LIMIT {TOP}", (query,))
        return [row[0] for row in rows]


class Bm25s:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def build(self, texts: Iterable[str]) -> None:
        import bm25s

        index = bm25s.BM25(k1=1.2, b=0.75)
        index.index([text.split(" ") for text in texts], show_progress=False)
        index.save(str(self.folder))
        self.index = bm25s.BM25.load(str(self.folder), mmap=True)

    def search(self, terms: Sequence[str]) -> list[int]:
        known = [term for term in terms if term in self.index.vocab_dict]
        found = self.index.retrieve([known], k=TOP, show_progress=False, n_threads=1)
        return [int(n) for n in found.documents[0]]


class LanceDb:
    def __init__(self, folder: Path) -> None:
        import lancedb

        self.db = lancedb.connect(str(folder))

    def build(self, texts: Iterable[str]) -> None:
        rows = ({"number": number, "terms": text} for number, text in enumerate(texts))
        self.table: Any = None
        while batch := [row for _, row in zip(range(5000), rows, strict=False)]:
            if self.table is None:
                self.table = self.db.create_table("t", batch)
            else:
                self.table.add(batch)
        self.table.create_fts_index(
            "terms", base_tokenizer="whitespace", with_position=False, stem=False, remove_stop_words=False,
            ascii_folding=False, lower_case=False, replace=True,
        )  # fmt: skip

    def search(self, terms: Sequence[str]) -> list[int]:
        found = self.table.search(" ".join(terms), query_type="fts").select(["number"]).limit(TOP)
        return [row["number"] for row in found.to_list()]


class Milvus:
    def __init__(self, folder: Path) -> None:
        from pymilvus import MilvusClient

        self.client = MilvusClient(str(folder / "milvus.db"))

    def build(self, texts: Iterable[str]) -> None:
        from pymilvus import DataType, Function, FunctionType, MilvusClient

        schema = MilvusClient.create_schema()
        schema.add_field("number", DataType.INT64, is_primary=True)
        schema.add_field(
            "terms", DataType.VARCHAR, max_length=65535, enable_analyzer=True,
            analyzer_params={"tokenizer": "standard"},  # the small edition has no "whitespace"
        )  # fmt: skip
        schema.add_field("sparse", DataType.SPARSE_FLOAT_VECTOR)
        schema.add_function(
            Function(name="bm25", input_field_names=["terms"], output_field_names=["sparse"],
                     function_type=FunctionType.BM25)
        )  # fmt: skip
        index = self.client.prepare_index_params()
        index.add_index("sparse", index_type="SPARSE_INVERTED_INDEX", metric_type="BM25")
        self.client.create_collection("t", schema=schema, index_params=index)
        rows = ({"number": n, "terms": self._words(text.split())} for n, text in enumerate(texts))
        while batch := [row for _, row in zip(range(500), rows, strict=False)]:
            self.client.insert("t", batch)

    def search(self, terms: Sequence[str]) -> list[int]:
        found = self.client.search("t", data=[self._words(terms)], anns_field="sparse", limit=TOP)
        return [hit["number"] if "number" in hit else hit["id"] for hit in found[0]]

    @staticmethod
    def _words(terms: Sequence[str]) -> str:
        """Terms as words that its tokenizer does not cut."""
        return " ".join(f"t{zlib.crc32(term.encode()):x}" for term in terms)


ENGINES: dict[str, Any] = {
    "tantivy": Tantivy, "fts5": Fts5, "bm25s": Bm25s, "lancedb": LanceDb, "milvus": Milvus
}  # fmt: skip


def korquad() -> tuple[list[tuple[str, str]], list[tuple[str, int]]]:
    """Titles and texts of the pre-release passages, and a sample of their questions with the passage."""
    data = json.loads((DATA / "korquad/KorQuAD_v1.0_prerelease-2018-09.json").read_text(encoding="utf-8"))
    passages: list[tuple[str, str]] = []
    questions: list[tuple[str, int]] = []
    for article in data["data"]:
        for paragraph in article["paragraphs"]:
            questions += [(qa["question"], len(passages)) for qa in paragraph["qas"]]
            passages.append((article["title"], paragraph["context"]))
    return passages, random.Random(SEED).sample(questions, QUESTIONS)


def others() -> Iterator[tuple[str, str]]:
    """Other passages without end: after each round the halves of different passages are put together."""
    with gzip.open(DATA / "corpus/passages.jsonl.gz", "rt", encoding="utf-8") as file:
        records = [json.loads(line) for line in file]
    for number in count():
        shift, at = divmod(number, len(records))
        first, second = records[at], records[(at + 7919 * shift) % len(records)]
        half = second["text"][len(second["text"]) // 2 :]
        yield first["title"], first["text"] if not shift else first["text"][: len(first["text"]) // 2] + half


def measure_engine(name: str, passages: int) -> dict[str, Any]:
    """Build one engine and ask it the questions."""
    known, questions = korquad()
    chosen = [*known, *(pair for pair, _ in zip(others(), range(passages - len(known)), strict=False))]
    texts = [" ".join(bigrams(f"{title}\n{text}")) for title, text in chosen]
    asked = [(list(dict.fromkeys(bigrams(question))), home) for question, home in questions]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with tempfile.TemporaryDirectory() as name_of_folder:
        folder = Path(name_of_folder)
        engine: Engine = ENGINES[name](folder)
        began, cpu = time.perf_counter(), time.process_time()
        engine.build(texts)
        built, cpu = time.perf_counter() - began, time.process_time() - cpu
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        times, cpus, ranks = [], [], []
        for terms, home in asked:
            start, start_cpu = time.perf_counter(), time.process_time()
            found = engine.search(terms)
            times.append(time.perf_counter() - start)
            cpus.append(time.process_time() - start_cpu)
            ranks.append(found.index(home) if home in found else TOP)
    return {
        "engine": name, "passages": passages, "build_s": round(built, 1), "build_cpu_s": round(cpu, 1),
        "size_mib": round(size / 2**20, 1),
        "more_memory_mib": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024,
        **_times("search", times), **_times("search_cpu", cpus),
        "recall_1": 100 * sum(rank < 1 for rank in ranks) / len(ranks),
        "recall_10": 100 * sum(rank < TOP for rank in ranks) / len(ranks),
    }  # fmt: skip


def measure_index(passages: int) -> dict[str, Any]:
    """Build an Index from one file of records, and search it."""
    from komrc.index import Index

    _, questions = korquad()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with (folder / "records.jsonl").open("w", encoding="utf-8") as file:
            for number, (title, text) in zip(range(round(passages / 1.96)), others(), strict=False):
                record = {"id": str(number), "title": title, "text": text}
                file.write(json.dumps(record, ensure_ascii=False) + "\n")
            done = subprocess.run(
            [sys.executable, "-c", BUILD, str(folder / "records.jsonl"), str(folder / "an.index")],
            stdout=subprocess.PIPE, text=True, check=True,
        )  # fmt: skip
        built, cpu, memory = map(float, done.stdout.split())
        times, cpus = [], []
        with Index.open(folder / "an.index") as index:
            info = index.info()
            for question, _ in questions:
                start, start_cpu = time.perf_counter(), time.process_time()
                index.search(question, TOP)
                times.append(time.perf_counter() - start)
                cpus.append(time.process_time() - start_cpu)
    return {
        "passages": info.passages, "documents": info.documents, "characters": info.characters,
        "build_s": round(built, 1), "build_cpu_s": round(cpu, 1), "memory_mib": round(memory / 1024),
        "size_mib": round(info.size / 2**20, 1), **_times("search", times), **_times("search_cpu", cpus),
    }  # fmt: skip


def _times(name: str, seconds: Sequence[float]) -> dict[str, float]:
    cuts = statistics.quantiles(seconds, n=20)
    return {f"{name}_ms": round(1000 * cuts[9], 2), f"{name}_ms_p95": round(1000 * cuts[18], 2)}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("engines", "index"))
    parser.add_argument("--passages", type=int, default=10_000)
    parser.add_argument("--engine", nargs="+", choices=sorted(ENGINES), default=["tantivy"])
    args = parser.parse_args()
    if args.what == "index":
        print(json.dumps(measure_index(args.passages)), flush=True)
    elif len(args.engine) == 1:
        print(json.dumps(measure_engine(args.engine[0], args.passages)), flush=True)
    else:
        for engine in args.engine:
            command = [sys.executable, "-m", "benchmarks.stores", "engines", "--engine", engine]
            subprocess.run([*command, "--passages", str(args.passages)], check=False)


if __name__ == "__main__":
    main()
