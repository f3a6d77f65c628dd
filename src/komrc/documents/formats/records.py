"""Files with many documents: JSON in the layout of KorQuAD, JSON Lines and Parquet."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from komrc.data import read_json, tables
from komrc.data.layouts import ID_KEYS, TITLE_KEYS
from komrc.data.strict_json import SeveralValuesError
from komrc.documents.builder import Extracted, clean, too_long
from komrc.documents.formats import html, txt
from komrc.documents.limits import Limits
from komrc.errors import DataError, Problem, StorageError, require

TEXT_KEYS = ("text", "context", "contents", "content", "body")
_ROWS_FORM = 'give each document an object such as {"id": "…", "title": "…", "text": "…"}'


def read(path: Path, limits: Limits) -> Iterator[Extracted | DataError]:
    """The document of each record; a DataError for each record that has none."""
    try:
        if tables.is_table(path.name):
            yield from _table(path, limits)
        else:
            try:
                value = read_json(path, max_bytes=limits.file_bytes).value
            except SeveralValuesError:  # JSON Lines with the ending .json
                yield from _rows(_lines(path), limits)
            else:
                yield from _json(value, limits)
    except (DataError, StorageError) as error:
        raise DataError(error.what, fix=error.fix) from error  # its place is the file, which Unread names


def _table(path: Path, limits: Limits) -> Iterator[Extracted | DataError]:
    with tables.plain(path.name, lambda: path.open("rb")) as open_file:
        yield from _rows(tables.table(path.name, open_file, ()).rows(0, None), limits)


def _lines(path: Path) -> Iterator[tables.Row]:
    with tables.plain(f"{path.stem}.jsonl", lambda: path.open("rb")) as open_file:
        yield from tables.JsonLines(open_file).rows(0, None)


def _rows(rows: Iterator[tables.Row], limits: Limits) -> Iterator[Extracted | DataError]:
    reader = _Records(limits)
    for number, (_, where, row) in enumerate(rows, 1):
        if isinstance(row, Problem):
            yield DataError(f"is {row.what}", where=where, fix=_ROWS_FORM)
        else:
            yield from reader.article(row, str(number), where)


def _json(value: Any, limits: Limits) -> Iterator[Extracted | DataError]:
    """The contexts of a file in the layout of KorQuAD, or the documents of a list of records."""
    reader = _Records(limits)
    articles = value.get("data", [value]) if isinstance(value, dict) else value
    if not isinstance(articles, list):
        raise DataError("has no documents", fix=_ROWS_FORM)
    for number, article in enumerate(articles):
        yield from reader.article(article, str(number), f"$.data[{number}]")


class _Records:
    """Records to documents. A context that several questions repeat is one document; ids are not repeated."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._contexts: set[int] = set()
        self._ids: set[str] = set()

    def article(self, article: Any, number: str, where: str) -> Iterator[Extracted | DataError]:
        """The documents of an article's paragraphs, or of a record."""
        if not isinstance(article, dict):
            yield DataError("is no object", where=where, fix=_ROWS_FORM)
        elif isinstance(article.get("paragraphs"), list):
            title = _text(article, TITLE_KEYS)
            for at, paragraph in enumerate(article["paragraphs"]):
                place = f"{where}.paragraphs[{at}]"
                if isinstance(paragraph, dict):
                    named = {"title": title} | {key: paragraph[key] for key in TEXT_KEYS if key in paragraph}
                    yield from self.record(named, f"{number}-{at}", place)
                else:
                    yield DataError("is no object", where=place, fix=_ROWS_FORM)
        else:
            yield from self.record(article, number, where)

    def record(self, row: dict[str, Any], number: str, where: str) -> Iterator[Extracted | DataError]:
        """The document of one record, none if an earlier record has the same context."""
        title = _text(row, TITLE_KEYS)
        is_question = "question" in row or "qas" in row
        if isinstance(page := row.get("raw_html"), str) and is_question:  # KorQuAD 2
            require("lxml", extra="documents", purpose="reading HTML", where=where)
            try:
                yield html.extract(page, self._limits, title=title, record=self._id(row, number, False))
            except DataError as error:
                yield DataError(error.what, where=where, fix=error.fix)
            return
        text = _text(row, TEXT_KEYS)
        if not text.strip():
            yield DataError("has no text", where=where, fix=_ROWS_FORM)
            return
        if len(text) > self._limits.characters:
            yield DataError(f"{too_long(self._limits).what}", where=where, fix="split it")
            return
        if is_question:
            fingerprint = hash((title, text))
            if fingerprint in self._contexts:
                return
            self._contexts.add(fingerprint)
        yield txt.extract(clean(text), title=title, record=self._id(row, number, is_question))

    def _id(self, row: dict[str, Any], number: str, is_question: bool) -> str:
        """The record's own id (not that of a question), else its number."""
        own = next((row[key] for key in ID_KEYS if isinstance(row.get(key), str | int)), None)
        name = number if own is None or is_question else clean(str(own))
        unique, count = name, 1
        while unique in self._ids:
            count += 1
            unique = f"{name}~{count}"
        self._ids.add(unique)
        return unique


def _text(row: dict[str, Any], keys: tuple[str, ...]) -> str:
    return next((row[key] for key in keys if isinstance(row.get(key), str) and row[key].strip()), "")
