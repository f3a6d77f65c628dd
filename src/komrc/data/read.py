"""A data file, whole: its questions, its problems and its counts."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from komrc.data import layouts, strict_json, tables
from komrc.data.checks import EVERYTHING, Needs, number_missing_ids
from komrc.data.squad import Scan
from komrc.errors import DataError, Problem
from komrc.types import Example

logger = logging.getLogger(__name__)

_NAMED = 20  # questions left out that the log names


@dataclass(frozen=True, slots=True)
class Counts:
    """What a file contains. ``questions == kept + left_out`` always.

    ``unreadable`` counts articles, paragraphs and lists so damaged that nobody can count their questions.
    A table has no articles; its paragraphs are runs of rows with the same context.
    """

    articles: int
    paragraphs: int
    questions: int
    kept: int
    left_out: int
    answers: int
    unreadable: int


@dataclass(frozen=True, slots=True)
class Loaded:
    """A data file: what can be used, and everything that is wrong with it.

    ``left_out`` names each question that is not in ``examples``: its id, or its place where it has none.
    ``sha256`` is that of the file's bytes. ``version_2``: some question has no answer.
    """

    examples: list[Example]
    problems: tuple[Problem, ...]
    counts: Counts
    left_out: tuple[str, ...]
    sha256: str
    version_2: bool


def load_squad(path: str | Path, *, skip_invalid: bool = False) -> list[Example]:
    """The questions of a data file in file order, every field checked. See :func:`read_data`."""
    return read_data(path, EVERYTHING, skip_invalid=skip_invalid).examples


def read_data(
    path: str | Path, needs: Needs, *, skip_invalid: bool = False, max_bytes: int | None = None
) -> Loaded:
    """Read a data file and check what ``needs`` names.

    Args:
        path: JSON in the layout of KorQuAD, SQuAD, KLUE-MRC, AI-Hub or Hugging Face; JSON Lines (.jsonl), CSV
            and TSV with the columns id, question, context and answers; Parquet with the same columns. Text is
            UTF-8, or UTF-16 with a byte order mark. Each may be compressed with gzip.
        skip_invalid: leave out questions with a defect, and log how many and which, instead of raising.
        max_bytes: a larger file is refused before it is read; by default what the variable
            KOMRC_MAX_DATA_BYTES, or 1 GiB.

    Raises:
        DataError: with every problem found; also with ``skip_invalid`` where nothing usable is left.
        StorageError: the file can't be read from the disk.
    """
    loaded = scan_data(path, needs, max_bytes=max_bytes)
    refuse_problems(
        str(path),
        loaded.problems,
        kept=loaded.counts.kept,
        left_out=loaded.left_out,
        skip_invalid=skip_invalid,
        fix="correct them (`komrc data fix` corrects what has one meaning)"
        + (", or leave the questions concerned out with --skip-invalid" if loaded.examples else ""),
    )
    return loaded


def refuse_problems(
    where: str,
    problems: Sequence[Problem],
    *,
    kept: int,
    left_out: Sequence[str],
    skip_invalid: bool,
    fix: str,
) -> None:
    """Raise DataError with all problems, if there are any.

    With ``skip_invalid``, and where some question is usable, name the questions left out in the log instead.
    """
    if not problems:
        return
    questions = kept + len(left_out)
    if skip_invalid and kept:
        log_left_out(where, left_out, questions)
        return
    count = f"{len(problems):,} problem{'s' if len(problems) > 1 else ''}"
    raise DataError(
        f"{count}; {kept} of {questions} questions are usable", where=where, fix=fix, problems=problems
    )


def log_left_out(path: str, left_out: Sequence[str], questions: int) -> None:
    """Name the questions that --skip-invalid left out."""
    named = ", ".join(left_out[:_NAMED]) or "none"
    more = f" and {len(left_out) - _NAMED} more" if len(left_out) > _NAMED else ""
    logger.warning(
        "%s: left out %d of %d questions: %s%s (komrc data lint lists every problem)",
        path,
        len(left_out),
        questions,
        named,
        more,
    )


def scan_data(path: str | Path, needs: Needs = EVERYTHING, *, max_bytes: int | None = None) -> Loaded:
    """Like :func:`read_data`, but defects of single questions are returned, not raised."""
    raw = strict_json.read_bytes(path, max_bytes=max_bytes)
    parsed = parse_data(raw, str(path), needs.columns(), max_bytes=max_bytes)
    if isinstance(parsed, strict_json.Document):
        layouts.refuse_other(parsed.value, str(path))
        scan = Scan.of(needs, parsed.problems)
        scan.document(parsed.value)
    else:
        scan = _scan_table(parsed, str(path), needs)
    examples = number_missing_ids(scan.examples) if needs.numbered_ids else scan.examples
    return Loaded(
        examples=examples,
        problems=tuple(scan.check.problems),
        counts=Counts(
            articles=scan.articles,
            paragraphs=scan.paragraphs,
            questions=len(examples) + len(scan.left_out),
            kept=len(examples),
            left_out=len(scan.left_out),
            answers=sum(len(example.answers) for example in examples),
            unreadable=scan.unreadable,
        ),
        left_out=tuple(scan.left_out),
        sha256=hashlib.sha256(raw).hexdigest(),
        version_2=any(example.is_impossible for example in examples),
    )


def parse_data(
    raw: bytes, name: str, columns: Sequence[str], *, max_bytes: int | None = None
) -> strict_json.Document | tables.Table:
    """The parsed JSON document of a file, or its table with at least these columns. Raises DataError."""
    raw = strict_json.unpack(raw, name, max_bytes=max_bytes)
    if tables.suffix_of(name) in tables.PARQUET:
        return tables.Parquet(name, lambda: _bytes(raw), columns)
    text = strict_json.decode(raw, name)
    if tables.is_table(name):
        return tables.table(name, lambda: _bytes(text.encode()), columns)
    try:
        value, problems = strict_json.parse(text, name)
    except strict_json.SeveralValuesError:
        if not _is_object(text.lstrip().split("\n", 1)[0]):
            raise
        return tables.JsonLines(lambda: _bytes(text.encode()))  # as Hugging Face writes under .json
    return strict_json.Document(value, hashlib.sha256(raw).hexdigest(), problems)


def _bytes(raw: bytes) -> contextlib.AbstractContextManager[BinaryIO]:
    return io.BytesIO(raw)


def _is_object(line: str) -> bool:
    try:
        value: Any = json.loads(line)
    except ValueError:
        return False
    return isinstance(value, dict)


def _scan_table(table: tables.Table, name: str, needs: Needs) -> Scan:
    scan = Scan.of(needs)
    for _, where, row in table.rows(0, None):
        if isinstance(row, Problem):
            scan.refused(row)
        else:
            refuse_prediction_row(row, name)
            scan.row(row, where)
    if not scan.examples and not scan.left_out:
        raise DataError("contains no question", where=name, fix=table.form)
    return scan


def refuse_prediction_row(row: dict[str, Any], name: str) -> None:
    """Raises DataError, one for the whole file, where a table contains answers instead of questions."""
    if layouts.is_prediction_row(row):
        raise DataError(
            "contains answers that komrc predict wrote, not questions",
            where=name,
            fix="give the questions; write outputs outside of the data folder",
        )
