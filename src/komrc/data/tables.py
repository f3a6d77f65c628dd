"""Questions a line or row: JSON Lines, CSV, TSV and Parquet, whole or in parts."""

from __future__ import annotations

import ast
import codecs
import contextlib
import csv
import gzip
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, Protocol

from komrc import text_files
from komrc.data import layouts
from komrc.errors import DataError, Problem, require

LINES = (".jsonl", ".ndjson")
SEPARATED = (".csv", ".tsv")
PARQUET = (".parquet",)
GZIP = ".gz"
SUFFIXES = tuple(suffix + more for suffix in (".json", *LINES, *SEPARATED, *PARQUET) for more in ("", GZIP))

_LINES_FORM = 'write one JSON object a line: {"id": "…", "question": "…", "context": "…"}'
_COLUMNS_FORM = "give it the columns id, question and context, each of text"
_DELIMITERS = (",", "\t", ";")
_LONGEST_CELL = 1 << 30  # characters

Open = Callable[[], contextlib.AbstractContextManager[BinaryIO]]
Row = tuple[int, str, "dict[str, Any] | Problem"]
"""Where the row ends (bytes, or rows of Parquet), its name for messages, its values."""


class Table(Protocol):
    """Rows of a file."""

    unit: str  # what its questions are, as "lines"
    form: str  # what to do about a damaged one

    def rows(self, first: int, last: int | None) -> Iterator[Row]:
        """The rows from ``first`` to ``last``, in the unit of where rows end. Raises DataError."""
        ...


def suffix_of(name: str) -> str:
    """The ending of a data file's name in lower case, without that of gzip."""
    return PurePosixPath(name.lower().removesuffix(GZIP)).suffix


def form_of(open_file: Open) -> str:
    """The ending that a name for these bytes should have: .parquet, .jsonl, .json, .tsv or .csv."""
    with open_file() as file:
        head = file.read(text_files.HEAD)
        if text_files.is_parquet(head):
            return ".parquet"
        if packed := text_files.is_gzip(head):
            file.seek(0)
            with contextlib.suppress(OSError, EOFError), gzip.GzipFile(fileobj=file) as unpacked:
                head = unpacked.read(text_files.HEAD)
    text = head.decode(text_files.marked_encoding(head) or "utf-8-sig", "replace").lstrip()
    line = text.partition("\n")[0]
    if text.startswith(("{", "[")):
        whole_objects = line.rstrip().endswith("}") and "\n" in text
        suffix = ".jsonl" if text.startswith("{") and whole_objects else ".json"
    else:
        suffix = ".tsv" if "\t" in line else ".csv"
    return suffix + (GZIP if packed else "")


def is_table(name: str) -> bool:
    """Whether a file's name ends as that of a table, and not of JSON."""
    return suffix_of(name) in (*LINES, *SEPARATED, *PARQUET)


def table(name: str, open_file: Open, columns: Sequence[str]) -> Table:
    """The table of a file whose name :func:`is_table` accepts.

    Args:
        open_file: opens the file as plain bytes: unpacked, and in UTF-8 unless it is Parquet.
        columns: those it must have.
    """
    suffix = suffix_of(name)
    if suffix in SEPARATED:
        return Separated(name, open_file, columns)
    return Parquet(name, open_file, columns) if suffix in PARQUET else JsonLines(open_file)


@contextlib.contextmanager
def plain(name: str, open_file: Open) -> Iterator[Open]:
    """A way to open the file as plain bytes; a gzip or UTF-16 file is copied to a temporary one first.

    Raises DataError for a file of another kind than its name.
    """
    with open_file() as file:
        head = file.read(text_files.HEAD)
    expected = text_files.is_parquet(head) and suffix_of(name) in PARQUET
    if text_files.is_gzip(head):
        with tempfile.TemporaryDirectory(prefix="komrc-") as folder:
            path = Path(folder, "unpacked")
            try:
                with open_file() as file, gzip.GzipFile(fileobj=file) as packed, path.open("wb") as copy:
                    shutil.copyfileobj(packed, copy)
            except (OSError, EOFError) as error:
                what = f"is a damaged gzip file ({error})"
                raise DataError(what, where=name, fix="get the whole file again") from error
            with plain(name, lambda: path.open("rb")) as unpacked:
                yield unpacked
        return
    if (binary := text_files.binary_format(head, name)) and not expected:
        raise DataError(f"is {binary.name}, not a data file of text", where=name, fix=binary.fix)
    encoding = text_files.marked_encoding(head)
    if encoding is None or suffix_of(name) in PARQUET:
        yield open_file
        return
    with tempfile.TemporaryDirectory(prefix="komrc-") as folder:
        path = Path(folder, "converted")
        try:
            with open_file() as file, path.open("w", encoding="utf-8", newline="") as copy:
                shutil.copyfileobj(codecs.getreader(encoding)(file), copy)
        except UnicodeError as error:
            what = f"is {encoding.upper()} by its byte order mark, but damaged"
            raise DataError(what, where=name, fix="save it as UTF-8") from error
        yield lambda: path.open("rb")


class JsonLines:
    """A JSON object a line, in UTF-8. Rows end at a byte."""

    unit, form = "JSON lines", _LINES_FORM

    def __init__(self, open_file: Open) -> None:
        self._open = open_file

    def rows(self, first: int, last: int | None) -> Iterator[Row]:
        """See :class:`Table`."""
        with self._open() as file:
            file.seek(first)
            end, number = first, 0
            while (last is None or end < last) and (line := file.readline()):
                number += 1
                begin, end = end, end + len(line)
                if line.strip():
                    yield end, f"line {number}", _parse(line, f"line {number}", first=begin == 0)


def _parse(line: bytes, where: str, *, first: bool) -> dict[str, Any] | Problem:
    try:
        value = json.loads(line.decode("utf-8-sig" if first else "utf-8"))
    except (ValueError, RecursionError) as error:
        return Problem(where, f"not JSON in UTF-8 ({error})", _LINES_FORM)
    if not isinstance(value, dict):
        return Problem(where, f"a JSON {type(value).__name__}, not an object", _LINES_FORM)
    return value


class Separated:
    """CSV or TSV in UTF-8 with a line of column names. Rows end at a byte."""

    unit, form = "rows", _COLUMNS_FORM

    def __init__(self, name: str, open_file: Open, columns: Sequence[str]) -> None:
        self._name, self._open, self._columns = name, open_file, columns

    def rows(self, first: int, last: int | None) -> Iterator[Row]:
        """See :class:`Table`."""
        csv.field_size_limit(_LONGEST_CELL)
        with self._open() as file:
            at = 0

            def lines() -> Iterator[str]:
                nonlocal at
                while line := file.readline():
                    mark = at == 0
                    at += len(line)
                    yield line.decode("utf-8-sig" if mark else "utf-8")

            try:
                delimiter = self._delimiter(file)
                header = [name.strip() for name in next(csv.reader(lines(), delimiter=delimiter), [])]
                _require(self._columns, header, self._name)
                if first > at:
                    file.seek(first)
                    at = first
                for number, cells in enumerate(csv.reader(lines(), delimiter=delimiter, strict=True), 1):
                    if cells:
                        yield at, f"row {number}", _cells(header, cells, f"row {number}")
                    if last is not None and at >= last:
                        return
            except csv.Error as error:
                raise DataError(f"is not CSV ({error})", where=self._name, fix=_COLUMNS_FORM) from error
            except UnicodeDecodeError:
                with self._open() as whole:
                    text_files.decode(whole.read(), where=self._name, error=DataError)
                raise

    def _delimiter(self, file: BinaryIO) -> str:
        """A tab in TSV; in CSV the one that the line of column names has most of, as Excel writes them."""
        if suffix_of(self._name) == ".tsv":
            return "\t"
        line = file.readline().decode("utf-8-sig")
        file.seek(0)
        return max(_DELIMITERS, key=line.count)


def _cells(header: Sequence[str], cells: Sequence[str], where: str) -> dict[str, Any] | Problem:
    """A row's values: empty cells left out, numbers, truth values and lists as what they are."""
    if len(cells) > len(header):
        what = f"has {len(cells)} cells, the line of column names has {len(header)}"
        return Problem(where, what, "put cells that hold the separator in quotation marks")
    row: dict[str, Any] = {name: cell for name, cell in zip(header, cells, strict=False) if cell}
    if row.get("is_impossible", "").lower() in _TRUTH:
        row["is_impossible"] = _TRUTH[row["is_impossible"].lower()]
    if "answer_start" in row:
        with contextlib.suppress(ValueError):
            row["answer_start"] = int(row["answer_start"])
    if "answers" in row:
        with contextlib.suppress(ValueError, SyntaxError, RecursionError, MemoryError):
            row["answers"] = _literal(row["answers"])
    return row


_TRUTH = {"true": True, "1": True, "false": False, "0": False}


def _literal(cell: str) -> Any:
    """A list or object in a cell: as JSON, or as Python prints it, which is what pandas writes."""
    try:
        return json.loads(cell)
    except ValueError:
        return ast.literal_eval(cell)


class Parquet:
    """Rows of Parquet; needs pyarrow. Rows end at their number."""

    unit, form = "rows", _COLUMNS_FORM

    def __init__(self, name: str, open_file: Open, columns: Sequence[str]) -> None:
        self._name, self._open, self._columns = name, open_file, columns

    def rows(self, first: int, last: int | None) -> Iterator[Row]:
        """See :class:`Table`."""
        parquet = _pyarrow_parquet(self._name)
        with self._open() as file:
            try:
                # Page by page: a row group may hold a million rows.
                opened = parquet.ParquetFile(file, buffer_size=1 << 20, pre_buffer=False)
                _require(self._columns, opened.schema_arrow.names, self._name)
                yield from self._rows(opened, first, last)
            except (ValueError, OSError) as error:  # pyarrow's own are of these kinds
                reason = str(error).split("\n")[0]
                raise DataError(f"can't be read ({reason})", where=self._name) from error

    def _rows(self, opened: Any, first: int, last: int | None) -> Iterator[Row]:
        groups: list[int] = []
        begin = end = 0
        for group in range(opened.num_row_groups):
            before, end = end, end + opened.metadata.row_group(group).num_rows
            if end > first and (last is None or before < last):
                begin = begin if groups else before
                groups.append(group)
        number = begin
        columns = [name for name in opened.schema_arrow.names if name in layouts.ROW_KEYS or name == "text"]
        for batch in opened.iter_batches(batch_size=1024, row_groups=groups, columns=columns):
            skipped = min(max(0, first - number), len(batch))
            number += skipped
            for row in batch.slice(skipped).to_pylist():
                if last is not None and number >= last:
                    return
                number += 1
                yield number, f"row {number}", {key: cell for key, cell in row.items() if cell is not None}


def _require(columns: Sequence[str], present: Sequence[str], name: str) -> None:
    missing = [
        column
        for column in columns
        if not any(key in present for key in (layouts.ID_KEYS if column == "id" else (column,)))
    ]
    if missing:
        raise DataError(f"has no column {', '.join(missing)}", where=name, fix=_COLUMNS_FORM)


def _pyarrow_parquet(name: str) -> Any:
    require("pyarrow", extra="ray", purpose="Parquet", where=name, instead="give JSON Lines")
    import pyarrow.parquet

    return pyarrow.parquet
