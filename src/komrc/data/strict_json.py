"""Bytes to JSON, with findings for what JSON parsers usually accept in silence."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import re
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from komrc import text_files
from komrc.errors import DataError, Problem, StorageError, UsageError

MAX_BYTES = 1 << 30
MAX_BYTES_VARIABLE = "KOMRC_MAX_DATA_BYTES"

_LONGEST_PATH, _LONGEST_KEY = 500, 80  # characters that a message shows

_SURROGATE_ESCAPE = re.compile(r"\\u[dD][89a-fA-F]")
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Document:
    """A JSON value, the SHA-256 of its file, and the findings by JSON path."""

    value: Any
    sha256: str
    problems: Mapping[str, Problem]


class NotANumber:
    """Represents NaN, Infinity or -Infinity in a parsed document."""

    def __init__(self, name: str) -> None:
        self.name = name


class RepeatedKeys(dict[str, Any]):
    """An object that names a key twice; contains the last value of each."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        counts = Counter(name for name, _ in pairs)
        self.names = sorted(name for name, count in counts.items() if count > 1)


class SeveralValuesError(DataError):
    """The text has more than one JSON value, as JSON Lines has."""


def read_json(path: str | Path, *, max_bytes: int | None = None) -> Document:
    """Read and parse one JSON file, which may be compressed with gzip.

    NaN, repeated keys and lone surrogates are reported in ``problems``. Raises DataError where there is no
    document: no such file, too large, not text, cut off, not JSON, nested too deeply; StorageError where the
    disk can't be read.
    """
    raw = read_bytes(path, max_bytes=max_bytes)
    text = decode(unpack(raw, str(path), max_bytes=max_bytes), str(path))
    value, problems = parse(text, str(path))
    return Document(value, hashlib.sha256(raw).hexdigest(), problems)


def decode(raw: bytes, where: str) -> str:
    """The text of a data file. Raises DataError."""
    text = text_files.decode(raw, where=where, error=DataError)
    if not text.strip():
        raise DataError("is empty", where=where, fix="give a data file that contains questions")
    return text


def unpack(raw: bytes, where: str, *, max_bytes: int | None = None) -> bytes:
    """The bytes in a gzip file, other bytes as they are. Raises DataError."""
    if not text_files.is_gzip(raw):
        return raw
    limit = size_limit() if max_bytes is None else max_bytes
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(raw)) as file:
            unpacked = file.read(limit + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(
            f"is a damaged gzip file ({error})", where=where, fix="get the whole file again"
        ) from error
    if len(unpacked) > limit:
        raise too_large(where, f"more than {limit:,} bytes when unpacked", limit)
    return unpacked


def parse(text: str, where: str) -> tuple[Any, dict[str, Problem]]:
    """One JSON value and the findings in it. Raises DataError, SeveralValuesError among them."""

    def fail(what: str, fix: str) -> NoReturn:
        raise DataError(what, where=where, fix=fix)

    odd: list[object] = []

    def constant(name: str) -> NotANumber:
        odd.append(value := NotANumber(name))
        return value

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        values = dict(items)
        if len(values) == len(items):
            return values
        odd.append(repeated := RepeatedKeys(items))
        return repeated

    try:
        value = json.loads(text, parse_constant=constant, object_pairs_hook=pairs)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        if error.msg.startswith("Extra data"):
            raise SeveralValuesError(
                f"has more text after the end of its JSON value, at {place}",
                where=where,
                fix="give one JSON value, or JSON Lines: one JSON object a line",
            ) from None
        if not text[error.pos :].strip() or error.msg.startswith("Unterminated string"):
            fail(f"is cut off: {error.msg} at {place}", "get the whole file again")
        if error.msg.startswith("Invalid control character"):
            fail(f"has a raw control character in a string at {place}", "write it as an escape, such as \\n")
        fail(f"is not JSON: {error.msg} at {place}", "correct it there, or export it again")
    except RecursionError:
        fail("is nested too deeply to be a data file", "give a file in the KorQuAD format")
    except ValueError:  # Python refuses integers of thousands of digits
        fail("contains a whole number of thousands of digits", "correct the number")
    # An escape is the only way to bring a lone surrogate into decoded text.
    escapes = _SURROGATE_ESCAPE.search(text) is not None
    problems = {problem.path: problem for problem in _oddities(value)} if odd or escapes else {}
    return value, problems


def size_limit() -> int:
    """Bytes of the largest file that is read. Raises UsageError for a variable that is no number."""
    setting = os.environ.get(MAX_BYTES_VARIABLE, "")
    if setting and not (setting.isascii() and setting.isdigit()):
        raise UsageError(f"is {setting!r}", where=MAX_BYTES_VARIABLE, fix="give a number of bytes")
    return int(setting) if setting else MAX_BYTES


def too_large(where: str, size: str, limit: int) -> DataError:
    """The error for a file over the limit."""
    return DataError(
        f"is too large: {size}, the limit is {limit:,}",
        where=where,
        fix=f"split it by articles, or raise the limit ({MAX_BYTES_VARIABLE})",
    )


def read_bytes(path: str | Path, *, max_bytes: int | None = None) -> bytes:
    """The bytes of a data file. Raises DataError, StorageError."""
    path = Path(path)
    limit = size_limit() if max_bytes is None else max_bytes
    try:
        if path.is_dir():
            raise DataError("is a folder", where=str(path), fix="give the data file in it")
        if not path.exists():
            raise DataError("there is no such file", where=str(path), fix="check the path")
        if not path.is_file():
            raise DataError("is not a regular file", where=str(path), fix="give a data file")
        with path.open("rb") as file:
            size = path.stat().st_size
            if size > limit:
                raise too_large(str(path), f"{size:,} bytes", limit)
            return file.read(size)
    except OSError as error:
        raise StorageError(
            f"can't be read ({error.strerror or error})",
            where=str(path),
            fix="check its permissions and the disk",
        ) from error


# --- messages ----------------------------------------------------------------------------------------------


def has_lone_surrogate(text: str) -> bool:
    """Whether the text contains half of a surrogate pair, which UTF-8 can't encode."""
    return _SURROGATE.search(text) is not None


def child_path(path: str, key: str | int) -> str:
    """The JSON path of a member or element; long paths and keys are shortened."""
    if len(path) > _LONGEST_PATH:
        return path if path.endswith("…") else f"{path}…"
    if isinstance(key, int):
        return f"{path}[{key}]"
    key = key if len(key) <= _LONGEST_KEY else f"{key[:_LONGEST_KEY]}…"
    if key.isidentifier():
        return f"{path}.{key}"
    return f"{path}[{json.dumps(key)}]"  # ASCII: a key may hold a lone surrogate


def describe_value(value: object) -> str:
    """A JSON value in a few words, for messages."""
    if value is None:
        return "null"
    if isinstance(value, float):
        return f"the number {value!r}"
    if isinstance(value, str):
        return f"the text {shorten(value)}"
    if isinstance(value, bool | int):
        return f"{json.dumps(value)}"
    return "a list" if isinstance(value, list) else "an object"


def shorten(text: str) -> str:
    """At most 40 characters of a text, in quotation marks."""
    cut = text if len(text) <= 40 else f"{text[:39]}…"
    return json.dumps(cut, ensure_ascii=has_lone_surrogate(cut))


def _oddities(root: object) -> Iterator[Problem]:
    """Every NaN, repeated key and lone surrogate below ``root``, in document order."""
    stack: list[tuple[str, str | int | None, object]] = [("$", None, root)]
    while stack:
        above, last, value = stack.pop()
        if value is None or isinstance(value, bool | int | float):
            continue
        path = above if last is None else child_path(above, last)
        if isinstance(value, NotANumber):
            yield Problem(path, f"is {value.name}, which JSON does not have", "give a number")
        elif isinstance(value, str):
            if has_lone_surrogate(value):
                yield Problem(path, "contains half of a surrogate pair", "write the whole character")
        elif isinstance(value, list):
            stack.extend((path, i, value[i]) for i in range(len(value) - 1, -1, -1))
        elif isinstance(value, dict):
            if isinstance(value, RepeatedKeys):
                names = ", ".join(
                    json.dumps(name, ensure_ascii=has_lone_surrogate(name)) for name in value.names
                )
                yield Problem(path, f"names {names} more than once", "keep one of them")
            for key in value:
                if has_lone_surrogate(key):
                    yield Problem(
                        child_path(path, key), "its name contains half of a surrogate pair", "rename it"
                    )
            stack.extend((path, key, value[key]) for key in reversed(value))
