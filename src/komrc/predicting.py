"""Answers to every question of a file, in bounded memory, and resumable after a kill.

Answers are appended, a line each, to ``OUTPUT.part``; a run that finds one goes on behind its last whole
line. Only when all are there does the output take its place, by a rename. ``OUTPUT.part.json`` says of which
run the partial file is, so that answers of two models never mix.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

from komrc import storage
from komrc.datasets import read_squad
from komrc.errors import DataError, Problem, StorageError, UsageError
from komrc.progress import track
from komrc.reader import Prediction, Reader
from komrc.types import Answer, Example

_PROBLEMS_SHOWN = 20
_FORM = 'write one JSON object a line: {"id": "…", "question": "…", "context": "…"}'


@dataclass(frozen=True, slots=True)
class Source:
    """The questions of a file, checked. ``examples()`` goes through them from the first on."""

    total: int
    sha256: str
    examples: Callable[[], Iterator[Example]]


def open_source(path: Path, *, skip_invalid: bool = False) -> Source:
    """The questions of a KorQuAD-format JSON file, or of a JSON Lines file (its name ends in .jsonl).

    A JSON Lines file is checked whole, then read again while it is answered, a line at a time. With
    ``skip_invalid`` damaged questions of a JSON file are left out, and the log names them. Raises DataError
    with the problems found.
    """
    if not _is_lines(path):
        loaded = read_squad(path, skip_invalid=skip_invalid, require_answers=False)
        return Source(len(loaded.examples), loaded.sha256, lambda: iter(loaded.examples))
    problems: list[Problem] = []
    total = wrong = 0
    digest = hashlib.sha256()
    for number, line in _lines(path):
        digest.update(line)
        if not line.strip():
            continue
        total += 1
        found = _parse(line, number)
        if isinstance(found, Problem):
            wrong += 1
            problems += [found] if wrong <= _PROBLEMS_SHOWN else []
    if wrong or not total:
        raise DataError(
            f"{wrong} of {total} lines can't be used" if total else "holds no question",
            where=str(path),
            fix=_FORM,
            problems=problems,
        )
    return Source(total, digest.hexdigest(), lambda: _read_lines(path))


def _is_lines(path: Path) -> bool:
    return path.suffix.lower() in (".jsonl", ".ndjson")


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    try:
        with path.open("rb") as file:
            yield from enumerate(file, 1)
    except OSError as error:
        raise DataError(f"can't be read ({error.strerror or error})", where=str(path)) from error


def _read_lines(path: Path) -> Iterator[Example]:
    for number, line in _lines(path):
        if line.strip():
            found = _parse(line, number)
            if isinstance(found, Problem):
                raise DataError("changed while it was read", where=str(path), problems=[found])
            yield found


def _parse(line: bytes, number: int) -> Example | Problem:
    where = f"line {number}"
    try:
        value = json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8"))
    except (ValueError, RecursionError) as error:
        return Problem(where, f"not JSON in UTF-8 ({error})", _FORM)
    if not isinstance(value, dict):
        return Problem(where, f"a JSON {type(value).__name__}, not an object", _FORM)
    for name in ("id", "question", "context"):
        text = value.get(name)
        if not isinstance(text, str):
            what = f'"{name}" is missing' if text is None else f'"{name}" is {type(text).__name__}, not text'
            return Problem(where, what, _FORM)
        if not text.strip():
            return Problem(where, f'"{name}" is empty', "give it at least one character")
        try:
            text.encode("utf-8")
        except UnicodeEncodeError:
            return Problem(where, f'"{name}" holds half of a surrogate pair', "write it as UTF-8 again")
    return Example(value["id"], value["question"], value["context"])


def predict_file(
    reader: Reader,
    source: Source,
    output: Path,
    *,
    nbest_output: Path | None = None,
    top_k: int = 1,
    run: Mapping[str, str],
    restart: bool = False,
) -> int:
    """Answer all questions; returns how many were already answered by a run that was cut short.

    Args:
        output: ``{id: text}`` as the official script reads it, or, where the name ends in .jsonl, a line for
            each question: id, text, start, end, score and, for a top_k above 1, answers.
        nbest_output: all ranked candidates, in the same two forms.
        run: what the answers depend on beside the source, by name; a partial file of another run is refused.
        restart: throw such a partial file away.

    Raises UsageError, StorageError, InputError, EngineError. What was answered before an error stays in
    the partial file.
    """
    if top_k > 1 and not _is_lines(output):
        raise UsageError(
            f"{output.name} has room for one answer a question",
            where="top_k",
            fix="give an output whose name ends in .jsonl",
        )
    if nbest_output is not None and nbest_output.resolve() == output.resolve():
        raise UsageError("both outputs have the same name", where=str(output))
    if not _is_lines(output) or (nbest_output is not None and not _is_lines(nbest_output)):
        _refuse_repeated_ids(source)
    identity = {
        **run,
        "data": source.sha256,
        "top_k": str(top_k),
        "nbest": str(nbest_output is not None),
    }
    with _Partial.open(output, identity, restart=restart) as partial:
        waiting: deque[Example] = deque()

        def remaining() -> Iterator[Example]:
            for example in islice(source.examples(), partial.done, None):
                waiting.append(example)
                yield example

        done = partial.done
        predictions = reader.stream(remaining(), top_k=top_k)
        for prediction in track(predictions, total=source.total, what="answering", done=done):
            record = _record(prediction, waiting.popleft(), top_k, nbest=nbest_output is not None)
            partial.append(record)
        partial.commit(output, nbest_output)
    return done


def _refuse_repeated_ids(source: Source) -> None:
    seen: set[str] = set()
    for example in source.examples():
        if example.id in seen:
            raise DataError(
                f"the id {example.id} stands more than once, and a JSON object holds one answer for each",
                fix="give an output whose name ends in .jsonl",
            )
        seen.add(example.id)


def _record(prediction: Prediction, example: Example, top_k: int, *, nbest: bool) -> dict[str, Any]:
    answers = [_answer(answer) for answer in prediction.answers]
    first = answers[0] if answers else {"text": "", "start": 0, "end": 0, "score": 0.0}
    record: dict[str, Any] = {"id": prediction.id, **first}
    if top_k > 1:
        record["answers"] = answers
    if nbest:
        record["nbest"] = [
            {
                "text": example.context[c.start : c.end],
                "probability": c.score,
                "start_logit": c.start_logit,
                "end_logit": c.end_logit,
                "start": c.start,
                "end": c.end,
            }
            for c in prediction.candidates
        ]
    return record


def _answer(answer: Answer) -> dict[str, Any]:
    value: dict[str, Any] = {
        "text": answer.text,
        "start": answer.start,
        "end": answer.end,
        "score": answer.score,
    }
    if answer.untrimmed is not None:
        value["untrimmed"] = [answer.untrimmed.start, answer.untrimmed.end]
    return value


class _Partial:
    """The answers so far: whole lines of JSON. Only one process may hold it."""

    def __init__(self, path: Path, file: BinaryIO, done: int) -> None:
        self.path = path
        self.file = file
        self.done = done

    @classmethod
    @contextlib.contextmanager
    def open(cls, output: Path, identity: Mapping[str, str], *, restart: bool) -> Iterator[_Partial]:
        path = output.with_name(f"{output.name}.part")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("a+b", buffering=0) as file:
                _lock(file, path)
                done = cls._done(path, file, identity, restart=restart)
                yield cls(path, file, done)
        except OSError as error:
            raise StorageError(
                f"can't be written ({error.strerror or error})",
                where=str(path),
                fix="mend that, then run the same command again: it goes on where it stopped",
            ) from error

    @staticmethod
    def _done(path: Path, file: BinaryIO, identity: Mapping[str, str], *, restart: bool) -> int:
        """How many answers the file holds; a torn last line is cut off."""
        label = _label_of(path)
        before = _read_label(label)
        if restart or file.seek(0, os.SEEK_END) == 0:
            file.truncate(0)
            storage.write_json(label, dict(identity))
            return 0
        other = sorted(name for name in identity if before.get(name) != identity[name])
        if other:
            raise UsageError(
                f"holds answers of a run with another {' and another '.join(other)}",
                where=str(path),
                fix="give that run's options to go on with it, another output, or --restart to drop it",
            )
        file.seek(0)
        done = whole = at = 0
        while block := file.read(1 << 20):
            done += block.count(b"\n")
            if (last := block.rfind(b"\n")) >= 0:
                whole = at + last + 1
            at += len(block)
        file.truncate(whole)
        return done

    def append(self, record: Mapping[str, Any]) -> None:
        """One line, in one write: a kill leaves it whole, absent, or torn at the end of the file."""
        line = json.dumps(record, ensure_ascii=False, allow_nan=False).encode("utf-8") + b"\n"
        view = memoryview(line)
        while view:
            view = view[self.file.write(view) :]

    def commit(self, output: Path, nbest_output: Path | None) -> None:
        """Make the outputs of the lines, then remove the partial file."""
        if nbest_output is None and _is_lines(output):
            storage.put_in_place(self.path, output)
        else:
            if nbest_output is not None:
                with storage.replacing_file(nbest_output) as file:
                    self._write(file, nbest_output, lambda r: r["nbest"], lambda r: _only(r, "id", "nbest"))
            with storage.replacing_file(output) as file:
                self._write(file, output, lambda r: r["text"], lambda r: _without(r, "nbest"))
            self.path.unlink()
        _label_of(self.path).unlink(missing_ok=True)

    def _write(
        self,
        file: BinaryIO,
        target: Path,
        value: Callable[[dict[str, Any]], Any],
        line: Callable[[dict[str, Any]], Any],
    ) -> None:
        with self.path.open("rb") as lines:
            if _is_lines(target):
                for record in map(json.loads, lines):
                    file.write(json.dumps(line(record), ensure_ascii=False).encode("utf-8") + b"\n")
                return
            separator = b"{\n"
            for record in map(json.loads, lines):
                key, entry = (json.dumps(part, ensure_ascii=False) for part in (record["id"], value(record)))
                file.write(separator + f"  {key}: {entry}".encode())
                separator = b",\n"
            file.write(b"\n}\n")


def _only(record: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: record[name] for name in names}


def _without(record: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in record.items() if name not in names}


def _label_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")


def _read_label(path: Path) -> dict[str, str]:
    """Empty, and so unlike any run, where there is none."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def _lock(file: BinaryIO, path: Path) -> None:
    try:
        import fcntl
    except ImportError:  # not on Windows
        return
    try:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise UsageError(
            "another run is writing it",
            where=str(path),
            fix="wait for it, or give another --output",
        ) from error
