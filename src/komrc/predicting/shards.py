"""Answers in a folder of shards, by several actors; a run that was cut short does only what is missing.

A shard holds the answers to one block of the source and is written once, by a rename, under a name that
follows from the block. So it does not matter which actor makes it, or how often it was begun: a shard that
stands there is whole, and always the same. ``run.json`` says of which run the folder is; ``manifest.json``
is written last, with size and SHA-256 of every shard.
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
from komrc.predicting import places, records, runs
from komrc.predicting.source import Block, Files, Source, refuse_repeated_ids
from komrc.progress import track
from komrc.reader import Reader

RUN = "run.json"
FORMAT = 1  # of the folder
_SHARD = re.compile(r"part-\d{6,}\.(jsonl|parquet)")


@dataclass(frozen=True, slots=True)
class Job:
    """What an actor must know, wherever it runs.

    Args:
        load: makes its reader; must be picklable.
        output: the folder, by path from the root on or URL.
        top_k: answers to a question.
        skip_invalid: as the source was opened.

    Raises UsageError for a top_k that is no whole number from 1 on.
    """

    load: Callable[[], Reader]
    output: str
    form: records.Form = "jsonl"
    top_k: int = 1
    skip_invalid: bool = False

    def __post_init__(self) -> None:
        check_whole_number(self.top_k, "top_k")

    def shard(self, number: int) -> str:
        """A shard's file name."""
        return f"part-{number:06}.{self.form}"


@dataclass(frozen=True, slots=True)
class Written:
    """A shard that stands in the folder."""

    number: int
    bytes: int
    sha256: str


class Answerer:
    """What an actor holds: one reader, and the data file that it read last."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.reader = job.load()
        self.files = Files(skip_invalid=job.skip_invalid)

    def __call__(self, block: Block) -> Written:
        """Answer a block and write its shard. Raises DataError, StorageError, EngineError."""
        job = self.job
        examples = self.files.read(block)
        answered = zip(self.reader.stream(examples, top_k=job.top_k), examples, strict=True)
        rows = [records.record(prediction, example, job.top_k) for prediction, example in answered]
        data = records.encode(rows, job.form, top_k=job.top_k)
        places.write_bytes(places.join(job.output, job.shard(block.number)), data)
        return Written(block.number, len(data), hashlib.sha256(data).hexdigest())


Actors = Callable[[Job, Sequence[Block]], Iterable[Written]]  # in any order


def predict_folder(
    source: Source, job: Job, actors: Actors, *, run: Mapping[str, str], restart: bool = False
) -> int:
    """Answer all questions; returns how many were already answered by a run that was cut short.

    Args:
        actors: answers blocks, such as ``processes.run``.
        run: what the answers depend on beside the source, by name; a folder of another run is refused.
        restart: remove what such a run left there.

    Raises DataError where an id stands more than once; UsageError, StorageError, EngineError. What was
    answered before an error stays in the folder.
    """
    records.check_form(job.form)
    refuse_repeated_ids(source, "give every question an id of its own")
    identity = {
        **run,
        "data": source.sha256,
        "shard_size": str(max(block.count for block in source.blocks)),
        "top_k": str(job.top_k),
        "format": job.form,
    }
    with _held(job.output):
        there = places.names(job.output)
        if restart and RUN in there:
            _clear(job.output, there)
            there = set()
        _begin(job.output, there, identity, source)
        missing = [block for block in source.blocks if job.shard(block.number) not in there]
        done = source.total - sum(block.count for block in missing)
        files = {
            job.shard(block.number): _described(places.join(job.output, job.shard(block.number)))
            for block in source.blocks
            if job.shard(block.number) in there
        }

        answered = actors(job, missing) if missing else ()
        for shard in track(answered, total=len(source.blocks), what="shards of answers", done=len(files)):
            files[job.shard(shard.number)] = {"bytes": shard.bytes, "sha256": shard.sha256}
        if len(files) < len(source.blocks):
            raise EngineError(
                f"{len(source.blocks) - len(files)} of {len(source.blocks)} shards were not made",
                where=job.output,
                fix="run the same command again: it does only what is missing",
            )
        places.write_bytes(
            places.join(job.output, storage.MANIFEST), storage.manifest_of(dict(sorted(files.items())))
        )
    return done


@contextlib.contextmanager
def _held(output: str) -> Iterator[None]:
    """One run at a time, where the folder is local. Elsewhere two would write the same bytes."""
    path = places.local(output)
    if path is None:
        yield
        return
    try:
        path.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDONLY)
    except OSError as error:
        raise StorageError(f"can't be written ({error.strerror})", where=output) from error
    try:
        runs.hold(descriptor, output)
        yield
    finally:
        os.close(descriptor)


def _begin(output: str, there: set[str], identity: Mapping[str, str], source: Source) -> None:
    label = places.join(output, RUN)
    if RUN in there:
        runs.refuse_other(_identity(label), identity, output)
        return
    others = sorted(name for name in there if not name.startswith(storage.TEMPORARY))
    if others:
        raise UsageError(
            f"holds files of others, such as {others[0]}",
            where=output,
            fix="give a new folder",
        )
    value = {
        "format": FORMAT,
        "questions": source.total,
        "shards": len(source.blocks),
        "identity": dict(identity),
    }
    places.write_bytes(label, (json.dumps(value, ensure_ascii=False, indent=2) + "\n").encode())


def _identity(label: str) -> dict[str, str]:
    """Empty, and so unlike any run, where it can't be told."""
    try:
        with places.reading(label) as file:
            value = json.loads(file.read())
        return dict(value["identity"]) if value["format"] == FORMAT else {}
    except (DataError, ValueError, KeyError, TypeError):
        return {}


def _clear(output: str, there: set[str]) -> None:
    """Remove a run's files, ``run.json`` last, so that a kill leaves a folder that is still known."""
    ours = sorted(name for name in there if name == storage.MANIFEST or _SHARD.fullmatch(name))
    for name in [*ours, RUN]:
        places.remove(places.join(output, name))


def _described(shard: str) -> dict[str, object]:
    digest, size = hashlib.sha256(), 0
    with places.reading(shard) as file:
        while part := file.read(1 << 20):
            digest.update(part)
            size += len(part)
    return {"bytes": size, "sha256": digest.hexdigest()}
