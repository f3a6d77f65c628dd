"""Predictions as `komrc predict` and the official scripts write them: a JSON object, JSON Lines, shards."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from komrc.data import strict_json, tables
from komrc.data.read import parse_data
from komrc.errors import DataError, Problem

_FORM = 'write {"question id": "answer text", ...}; `komrc predict` writes that form'
_OPEN_FORM = "give the .jsonl file that `komrc predict --index` writes"
_COLUMNS = ("id", "text")
_MANIFEST, _RUN, _SHARDS = "manifest.json", "run.json", ("part-*.jsonl", "part-*.parquet")


def read_predictions(path: str | Path) -> dict[str, str]:
    """Answers by question id: from a JSON object of texts, from the lines of a .jsonl or .parquet file with
    ``id`` and ``text``, or from a folder of such shards.

    Raises DataError for anything else, StorageError where a file can't be read.
    """
    path = Path(path)
    if path.is_dir():
        return {name: text for shard in _shards(path) for name, text in read_predictions(shard).items()}
    parsed = parse_data(strict_json.read_bytes(path), str(path), _COLUMNS)
    if isinstance(parsed, strict_json.Document):
        return _object(parsed.value, str(path))
    return dict(_rows(parsed, str(path)))


def read_nbest(path: str | Path) -> dict[str, Any]:
    """Candidates by question id: from a JSON object of lists, or from lines with ``id`` and ``nbest``.

    The candidates are not checked. Raises DataError, StorageError.
    """
    parsed = parse_data(strict_json.read_bytes(path), str(path), ("id", "nbest"))
    if isinstance(parsed, strict_json.Document):
        value: dict[str, Any] = parsed.value
        return value
    return dict(_lists(parsed.rows(0, None), "nbest", str(path)))


def read_passages(path: str | Path) -> dict[str, list[dict[str, Any]]]:
    """The passages that were found for each question, best first, by question id: from the lines of a .jsonl
    file with ``id`` and ``passages``, as `komrc predict --index` writes it.

    Raises DataError for anything else, StorageError where the file can't be read.
    """
    parsed = parse_data(strict_json.read_bytes(path), str(path), ("id", "passages"))
    if isinstance(parsed, strict_json.Document):
        rows: list[Any] = [parsed.value]  # one line
        lists = _lists(((0, "line 1", row) for row in rows), "passages", str(path))
    else:
        lists = _lists(parsed.rows(0, None), "passages", str(path))
    passages_of = dict(lists)
    for name, passages in passages_of.items():
        if not isinstance(passages, list) or not all(
            isinstance(passage, dict) and isinstance(passage.get("text"), str) for passage in passages
        ):
            raise DataError(
                f"the passages of question {name} are not objects with a text",
                where=str(path),
                fix=_OPEN_FORM,
            )
    return passages_of


def _lists(rows: Iterable[tuple[int, str, Any]], key: str, where: str) -> Iterator[tuple[str, Any]]:
    for _, line, row in rows:
        if not isinstance(row, dict) or "id" not in row or key not in row:
            fix = _OPEN_FORM if key == "passages" else 'write lines of {"id": "…", "nbest": [...]}'
            kind = "has no passages" if key == "passages" else "is not an n-best file"
            raise DataError(f"{kind} ({line})", where=where, fix=fix)
        yield str(row["id"]), row[key]


def _shards(folder: Path) -> list[Path]:
    shards = sorted(shard for pattern in _SHARDS for shard in folder.glob(pattern))
    if (folder / _RUN).exists() and not (folder / _MANIFEST).exists():
        raise DataError(
            "the answers in it are not complete",
            where=str(folder),
            fix="run the same `komrc predict` again: it does only what is missing",
        )
    if not shards:
        raise DataError(
            "is a folder without answers", where=str(folder), fix="give what `komrc predict` wrote"
        )
    return shards


def _object(value: Any, where: str) -> dict[str, str]:
    if isinstance(value, dict) and isinstance(value.get("data"), list):
        raise DataError(
            "contains questions, not predictions",
            where=where,
            fix="give the data file first, then the predictions",
        )
    if isinstance(value, dict) and "text" in value and isinstance(value.get("id"), str | int):
        return {str(value["id"]): str(value["text"])}  # one line
    if not isinstance(value, dict):
        raise DataError(
            f"contains a JSON {type(value).__name__}, not an object of answers", where=where, fix=_FORM
        )
    wrong = [key for key, text in value.items() if not isinstance(text, str)]
    if wrong:
        raise DataError(
            f"{len(wrong)} answers are not text, the first with the id {wrong[0]}",
            where=where,
            fix="give each question one text; n-best lists go to --nbest of `komrc report`",
        )
    return value


def _rows(table: tables.Table, where: str) -> Iterator[tuple[str, str]]:
    for _, line, row in table.rows(0, None):
        if isinstance(row, Problem):
            raise DataError("can't be read", where=where, fix=_FORM, problems=[row])
        name, text = row.get("id"), row.get("text")
        if "question" in row and text is None:
            raise DataError(
                "contains questions, not predictions",
                where=where,
                fix="give the data file first, then the predictions",
            )
        if isinstance(name, bool) or not isinstance(name, str | int) or not isinstance(text, str):
            raise DataError(f"{line} has no id and text", where=where, fix=_FORM)
        yield str(name), text
