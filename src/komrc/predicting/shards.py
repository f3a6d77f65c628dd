"""Answers in a folder of shards, written by several actors. An interrupted run continues with the missing
shards.

The file of a shard has the answers to its questions. Its name follows from the shard's number, and it is
written once, by a rename. So any actor can write it, and a restart is harmless: a file that exists is
complete, and always the same. ``run.json`` identifies the run; ``manifest.json`` is written last, with size
and SHA-256 of every shard.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from komrc import storage
from komrc.errors import DataError, EngineError, StorageError, UsageError, check_whole_number
from komrc.predicting import fs, records, runs
from komrc.predicting.questions import QuestionFiles, QuestionSet, ShardSpec, check_unique_ids
from komrc.progress import track
from komrc.reader import Reader

RUN = "run.json"
FORMAT = 1  # of the folder
_SHARD = re.compile(r"part-\d{6,}\.(jsonl|parquet)")


@dataclass(frozen=True, slots=True)
class ShardJob:
    """What an actor needs to answer shards, on any host.

    Args:
        load: loads the reader; must be picklable.
        output: the folder, as an absolute path or URL.
        top_k: answers to a question.
        skip_invalid: the same as for ``open_questions``.

    Raises UsageError for a top_k that is not a whole number of at least 1.
    """

    load: Callable[[], Reader]
    output: str
    form: records.Form = "jsonl"
    top_k: int = 1
    skip_invalid: bool = False

    def __post_init__(self) -> None:
        check_whole_number(self.top_k, "top_k")

    def shard_name(self, number: int) -> str:
        """A shard's file name."""
        return f"part-{number:06}.{self.form}"


@dataclass(frozen=True, slots=True)
class ShardResult:
    """A shard whose file is written."""

    number: int
    bytes: int
    sha256: str


class ShardWorker:
    """Answers shards in one actor, with one reader. Keeps the last data file open."""

    def __init__(self, job: ShardJob) -> None:
        self.job = job
        self.reader = job.load()
        self.files = QuestionFiles(skip_invalid=job.skip_invalid)

    def __call__(self, shard: ShardSpec) -> ShardResult:
        """Answer the questions of a shard and write its file. Raises DataError, StorageError, EngineError."""
        job = self.job
        examples = self.files.read(shard)
        answered = zip(self.reader.stream(examples, top_k=job.top_k), examples, strict=True)
        rows = [records.record(prediction, example, job.top_k) for prediction, example in answered]
        data = records.encode(rows, job.form, top_k=job.top_k)
        fs.write_bytes(fs.join(job.output, job.shard_name(shard.number)), data)
        return ShardResult(shard.number, len(data), hashlib.sha256(data).hexdigest())


RunShards = Callable[[ShardJob, Sequence[ShardSpec]], Iterable[ShardResult]]  # in any order


def predict_folder(
    source: QuestionSet, job: ShardJob, actors: RunShards, *, run: Mapping[str, str], restart: bool = False
) -> int:
    """Answer all questions; returns how many an interrupted run had answered before.

    Args:
        actors: answers shards, such as ``workers.run``.
        run: what the answers depend on beside the questions, by name; a folder of another run is refused.
        restart: remove the files of such a run first.

    Raises DataError if an id occurs more than once; UsageError, StorageError, EngineError. Shards that were
    written before an error stay in the folder.
    """
    records.check_form(job.form)
    check_unique_ids(source, "give every question its own id")
    identity = {
        **run,
        "data": source.sha256,
        "shard_size": str(max(shard.count for shard in source.shards)),
        "top_k": str(job.top_k),
        "format": job.form,
    }
    with _locked(job.output):
        present = fs.list_names(job.output)
        if restart and RUN in present:
            _clear(job.output, present)
            present = set()
        _start_or_resume(job.output, present, identity, source)
        missing = [shard for shard in source.shards if job.shard_name(shard.number) not in present]
        done = source.total - sum(shard.count for shard in missing)
        files = {
            job.shard_name(shard.number): _size_and_hash(fs.join(job.output, job.shard_name(shard.number)))
            for shard in source.shards
            if job.shard_name(shard.number) in present
        }

        answered = actors(job, missing) if missing else ()
        for shard in track(answered, total=len(source.shards), what="shards of answers", done=len(files)):
            files[job.shard_name(shard.number)] = {"bytes": shard.bytes, "sha256": shard.sha256}
        if len(files) < len(source.shards):
            raise EngineError(
                f"{len(source.shards) - len(files)} of {len(source.shards)} shards were not written",
                where=job.output,
                fix="run the same command again: it writes only the missing shards",
            )
        fs.write_bytes(
            fs.join(job.output, storage.MANIFEST), storage.manifest_of(dict(sorted(files.items())))
        )
    return done


@contextlib.contextmanager
def _locked(output: str) -> Iterator[None]:
    """Lock a local folder, so that one run writes it at a time. At a URL, two runs would write the same
    bytes.
    """
    path = fs.as_local_path(output)
    if path is None:
        yield
        return
    try:
        path.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDONLY)
    except OSError as error:
        raise StorageError(f"can't be written ({error.strerror})", where=output) from error
    try:
        runs.lock_run(descriptor, output)
        yield
    finally:
        os.close(descriptor)


def _start_or_resume(
    output: str, present: set[str], identity: Mapping[str, str], source: QuestionSet
) -> None:
    label = fs.join(output, RUN)
    if RUN in present:
        runs.check_same_run(_identity(label), identity, output)
        return
    others = sorted(name for name in present if not name.startswith(storage.TEMPORARY))
    if others:
        raise UsageError(
            f"has files of something else, such as {others[0]}",
            where=output,
            fix="give a new folder",
        )
    value = {
        "format": FORMAT,
        "questions": source.total,
        "shards": len(source.shards),
        "identity": dict(identity),
    }
    fs.write_bytes(label, (json.dumps(value, ensure_ascii=False, indent=2) + "\n").encode())


def _identity(label: str) -> dict[str, str]:
    """The identity in ``run.json``; empty, so that no run matches, if the file can't be read."""
    try:
        with fs.open_read(label) as file:
            value = json.loads(file.read())
        return dict(value["identity"]) if value["format"] == FORMAT else {}
    except (DataError, ValueError, KeyError, TypeError):
        return {}


def _clear(output: str, present: set[str]) -> None:
    """Remove a run's files, ``run.json`` last, so that the run is still identified if this is interrupted."""
    ours = sorted(name for name in present if name == storage.MANIFEST or _SHARD.fullmatch(name))
    for name in [*ours, RUN]:
        fs.remove(fs.join(output, name))


def _size_and_hash(shard: str) -> dict[str, object]:
    digest, size = hashlib.sha256(), 0
    with fs.open_read(shard) as file:
        while part := file.read(1 << 20):
            digest.update(part)
            size += len(part)
    return {"bytes": size, "sha256": digest.hexdigest()}
