"""Examples from and to ``datasets.Dataset``, the class of Hugging Face's library ``datasets``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from komrc.data.checks import Needs, number_missing_ids
from komrc.data.read import refuse_problems
from komrc.data.squad import Scan
from komrc.errors import DataError, InputError, require
from komrc.types import Example

if TYPE_CHECKING:
    from datasets import Dataset

_WHERE = "dataset"
_LABELLED = Needs(numbered_ids=True)
_QUESTIONS_ONLY = Needs(answers=False, offsets=False, numbered_ids=True)


def from_dataset(
    dataset: Iterable[Mapping[str, Any]],
    column_mapping: Mapping[str, str] | None = None,
    *,
    skip_invalid: bool = False,
) -> list[Example]:
    """The rows of a dataset as Examples, every field checked.

    Args:
        dataset: one split of a ``datasets.Dataset`` or ``IterableDataset``, or any iterable of dicts. These
            columns are read: question and context; id (or guid, question_id; rows without one are numbered),
            title and is_impossible, each optional; and answers ({"text": [...], "answer_start": [...]} or a
            list of {"text", "answer_start"}), or answer and answer_start with one answer. Without a column of
            answers the Examples have none.
        column_mapping: column of the dataset -> one of the names above, for columns with other names.
        skip_invalid: leave out rows with a defect, and log how many and which, instead of raising.

    Raises DataError with every problem found, or where no row is usable; InputError for what is no dataset.
    """
    if isinstance(dataset, Mapping | str | bytes) or not isinstance(dataset, Iterable):
        splits = f"; it has the splits {', '.join(map(str, dataset))}" if isinstance(dataset, Mapping) else ""
        raise InputError(
            f"must be one split of a dataset, found {type(dataset).__name__}{splits}",
            where=_WHERE,
            fix='choose one, as in dataset["train"]' if splits else "give a datasets.Dataset or dicts",
        )
    scan: Scan | None = None
    for number, row in enumerate(dataset):
        where = f"row {number}"
        if not isinstance(row, Mapping):
            what = f"is {type(row).__name__}, not a dict of columns"
            raise DataError(what, where=f"{_WHERE}, {where}", fix="give a datasets.Dataset or dicts")
        values = _renamed(row, column_mapping or {})
        if scan is None:
            scan = Scan.of(_LABELLED if {"answers", "answer"} & values.keys() else _QUESTIONS_ONLY)
        scan.row({name: value for name, value in values.items() if value is not None}, where)
    if scan is None:
        raise DataError("contains no rows", where=_WHERE, fix="give a dataset with at least one row")
    refuse_problems(
        _WHERE,
        tuple(scan.check.problems),
        kept=len(scan.examples),
        left_out=tuple(scan.left_out),
        skip_invalid=skip_invalid,
        fix="correct them" + (", or pass skip_invalid=True" if scan.examples else ""),
    )
    return number_missing_ids(scan.examples)


def to_dataset(examples: Sequence[Example]) -> Dataset:
    """Examples as a ``datasets.Dataset`` with SQuAD's columns: id, title, context, question and, unless no
    example has reference answers, answers {"text": [...], "answer_start": [...]}.

    There is a column is_impossible where an example has no answer in its context. Raises
    MissingPackageError where the library ``datasets`` is not installed.
    """
    require("datasets", extra="datasets", purpose="to_dataset")
    from datasets import Dataset, Features, Value

    text = Value("string")
    features: dict[str, Any] = {"id": text, "title": text, "context": text, "question": text}
    impossible = any(example.is_impossible for example in examples)
    if impossible or any(example.answers for example in examples):
        features["answers"] = {"text": [text], "answer_start": [Value("int64")]}
    if impossible:
        features["is_impossible"] = Value("bool")
    rows = [
        {name: value for name, value in _row(example).items() if name in features} for example in examples
    ]
    return Dataset.from_list(rows, features=Features(features))


def _row(example: Example) -> dict[str, Any]:
    return {
        "id": example.id,
        "title": example.title,
        "context": example.context,
        "question": example.question,
        "answers": {
            "text": [answer.text for answer in example.answers],
            "answer_start": [answer.start for answer in example.answers],
        },
        "is_impossible": example.is_impossible,
    }


def _renamed(row: Mapping[str, Any], column_mapping: Mapping[str, str]) -> dict[str, Any]:
    """The row under KoMRC's names; a column that is mapped takes the place of one with that name."""
    missing = [column for column in column_mapping if column not in row]
    if missing:
        raise DataError(
            f"has no column {', '.join(missing)}",
            where=_WHERE,
            fix=f"correct column_mapping; the columns are {', '.join(map(str, row))}",
        )
    renamed = {name: value for name, value in row.items() if name not in column_mapping}
    return renamed | {target: row[column] for column, target in column_mapping.items()}
