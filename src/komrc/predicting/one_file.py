"""All answers in one file, in bounded memory. An interrupted run can be resumed.

Answers are appended to ``OUTPUT.part``, one line each; a resumed run continues after the last complete
line. When all answers are written, the output is put in place by a rename. ``OUTPUT.part.json`` identifies
the run, so that answers of two models never mix.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from komrc import storage
from komrc.asking import PASSAGES, Searchable, answers_from
from komrc.data.tables import LINES
from komrc.errors import StorageError, UsageError, check_whole_number
from komrc.page_reader import PageReader
from komrc.predicting import fs, records, runs
from komrc.predicting.pages import PageQuestions, page_records
from komrc.predicting.questions import QuestionSet, check_unique_ids
from komrc.progress import Advance, showing
from komrc.reader import Reader
from komrc.types import Example


def predict_file(
    reader: Reader,
    source: QuestionSet | PageQuestions,
    output: Path,
    *,
    nbest_output: Path | None = None,
    top_k: int = 1,
    run: Mapping[str, str],
    restart: bool = False,
    index: Searchable | None = None,
    passages: int = PASSAGES,
    pages: PageReader | None = None,
) -> int:
    """Answer all questions; returns how many an interrupted run had answered before.

    Args:
        output: ``{id: text}`` as the official script reads it, or, where the name ends in .jsonl, a line for
            each question: id, text, start, end, score and, for a top_k above 1, answers.
        nbest_output: all ranked candidates, in the same two forms.
        run: what the answers depend on beside the questions, by name; a partial file of another run is
        refused.
        restart: delete such a partial file first.
        index: answers come from its documents, and the questions' own contexts are not read.
        passages: how many passages of the index are searched for a question.
        pages: reads the questions' contexts, which are HTML pages; the answers are HTML, too.

    Raises UsageError, StorageError, InputError, EngineError. Answers that were written before an error stay
    in the partial file.
    """
    check_whole_number(top_k, "top_k")
    if top_k > 1 and not _is_lines(output):
        raise UsageError(
            f"{output.name} has only one answer a question",
            where="top_k",
            fix="give an output whose name ends in .jsonl",
        )
    if nbest_output is not None and nbest_output.resolve() == output.resolve():
        raise UsageError("both outputs have the same name", where=str(output))
    one_answer_an_id = not _is_lines(output) or (nbest_output is not None and not _is_lines(nbest_output))
    if one_answer_an_id and isinstance(source, QuestionSet):
        check_unique_ids(source, "give an output whose name ends in .jsonl")
    identity = {
        **run,
        "data": source.sha256,
        "top_k": str(top_k),
        "nbest": str(nbest_output is not None),
    }
    with _Partial.open(output, identity, restart=restart) as partial:
        done = partial.done
        examples = source.examples(done)
        with showing(total=source.total, what="answering", done=done) as advance:
            if pages is not None:
                answered = _counted(page_records(pages, examples), advance)
            elif index is None:
                nbest = nbest_output is not None
                answered = _read(reader, examples, top_k=top_k, nbest=nbest, advance=advance)
            else:
                answered = _asked(reader, index, examples, top_k=top_k, passages=passages, advance=advance)
            for record in answered:
                partial.append(record)
        partial.commit(output, nbest_output)
    return done


def _read(
    reader: Reader, examples: Iterator[Example], *, top_k: int, nbest: bool, advance: Advance
) -> Iterator[dict[str, Any]]:
    """The records of answers from the questions' own contexts."""
    waiting: deque[Example] = deque()

    def remaining() -> Iterator[Example]:
        for example in examples:
            waiting.append(example)
            yield example

    for prediction in reader.stream(remaining(), top_k=top_k, advance=advance):
        yield records.record(prediction, waiting.popleft(), top_k, nbest=nbest)


def _counted(answered: Iterator[dict[str, Any]], advance: Advance) -> Iterator[dict[str, Any]]:
    for number, entry in enumerate(answered, 1):
        yield entry
        advance(number)


def _asked(
    reader: Reader,
    index: Searchable,
    examples: Iterator[Example],
    *,
    top_k: int,
    passages: int,
    advance: Advance,
) -> Iterator[dict[str, Any]]:
    """The records of answers from the documents of an index."""
    for number, example in enumerate(examples, 1):
        hits = index.search(example.question, top_k=passages)
        answers = answers_from(reader, example.question, hits, top_k=top_k)
        yield records.document_record(example.id, answers, hits, top_k)
        advance(number)


def partial_files(output: Path) -> tuple[Path, Path]:
    """The files of an incomplete run: the answers so far, and the identity of the run."""
    path = output.with_name(f"{output.name}.part")
    return path, _label_of(path)


def _is_lines(path: Path) -> bool:
    return fs.suffix(path.name) in LINES


class _Partial:
    """The answers so far, as lines of JSON. Only one process may open it at a time."""

    def __init__(self, path: Path, file: BinaryIO, done: int) -> None:
        self.path = path
        self.file = file
        self.done = done

    @classmethod
    @contextlib.contextmanager
    def open(cls, output: Path, identity: Mapping[str, str], *, restart: bool) -> Iterator[_Partial]:
        path, _ = partial_files(output)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("a+b", buffering=0) as file:
                runs.lock_run(file.fileno(), str(path))
                done = cls._done(path, file, identity, restart=restart)
                yield cls(path, file, done)
        except OSError as error:
            raise StorageError(
                f"can't be written ({error.strerror or error})",
                where=str(path),
                fix="fix this, then run the same command again; it resumes",
            ) from error

    @staticmethod
    def _done(path: Path, file: BinaryIO, identity: Mapping[str, str], *, restart: bool) -> int:
        """The number of answers in the file; an incomplete last line is cut off."""
        label = _label_of(path)
        before = _read_label(label)
        if restart or file.seek(0, os.SEEK_END) == 0:
            file.truncate(0)
            storage.write_json(label, dict(identity))
            return 0
        runs.check_same_run(before, identity, str(path))
        file.seek(0)
        done = whole = at = 0
        while chunk := file.read(1 << 20):
            done += chunk.count(b"\n")
            if (last := chunk.rfind(b"\n")) >= 0:
                whole = at + last + 1
            at += len(chunk)
        file.truncate(whole)
        return done

    def append(self, record: Mapping[str, Any]) -> None:
        """Append one line in one write: after a kill only the last line of the file can be incomplete."""
        view = memoryview(records.line(record))
        while view:
            view = view[self.file.write(view) :]

    def commit(self, output: Path, nbest_output: Path | None) -> None:
        """Write the outputs from the lines, then remove the partial file."""
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
                    file.write(records.line(line(record)))
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
    """The identity of the run; empty, so that no run matches, if there is none."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}
