"""One long JSON list of an object, element by element, from a stream of bytes.

Only one element is in memory at a time. Elements are cut out at their brackets and then parsed strictly, so
that the findings are those of a file that is read whole: repeated keys, NaN, half surrogate pairs, bytes that
are not UTF-8. General stream parsers lose some of these: yajl, which ijson uses, writes "?" for half a
surrogate pair and gives repeated keys without a sign.
"""

from __future__ import annotations

import codecs
import gzip
import itertools
import re
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any, BinaryIO, cast

from komrc import text_files
from komrc.data import strict_json
from komrc.errors import DataError, Problem

_CHUNK = 1 << 18  # bytes
_MAX_OUTSIDE = 1 << 24  # bytes around the elements; more is another layout

_BRACKET = re.compile(rb'["{}\[\]]')
_BRACKET_OR_COMMA = re.compile(rb'["{}\[\],]')
_STRING_REST = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+', re.DOTALL)
_QUOTE, _COMMA, _OPEN_LIST = ord('"'), ord(","), ord("[")
_OPENING = frozenset(b"{[")
_IN_OBJECT, _IN_LIST = 1, 2  # depths: directly in the file's object, directly in the list


@dataclass(frozen=True, slots=True)
class Element:
    """An element of the list: its place in it, counted from 0, and its JSON text in UTF-8."""

    index: int
    raw: bytes

    def parse(self, where: str) -> tuple[Any, dict[str, Problem]]:
        """The value and the findings in it by JSON path, where ``$`` is this element. Raises DataError."""
        return strict_json.parse(strict_json.decode(self.raw, where), where)


class ListReader:
    """Yields the objects and lists in the list under ``key`` of the object in a JSON file.

    After the last one, ``outside`` is the rest of the file: its object, whose list has ``{}`` for each
    element that was yielded, and ``problems`` are the findings in it by JSON path.

    Raises DataError for a file that is not JSON text (cut off, another format, bytes outside of the elements
    that are not UTF-8), and for an element of more than ``max_bytes``.
    """

    def __init__(self, file: IO[bytes], key: str, *, where: str, max_bytes: int) -> None:
        self.outside: Any = None
        self.problems: dict[str, Problem] = {}
        self._file, self._key, self._where, self._max_bytes = file, key, where, max_bytes
        self._buffer = bytearray()
        self._position = 0  # in the buffer, of the next byte to look at
        self._mark = 0  # in the buffer, where the element begins, or what is outside and was not copied
        self._outside = bytearray()
        self._depth = 0
        self._index = 0  # of the element
        self._in_list = self._in_element = self._in_string = False
        self._string_start = 0
        self._last_string = b""  # of the object's own: the key, when a list opens

    def __iter__(self) -> Iterator[Element]:
        for chunk in _chunks(self._file, self._where):
            del self._buffer[: self._mark]
            self._position -= self._mark
            self._string_start -= self._mark
            self._mark = 0
            self._buffer += chunk
            self._check_size()
            while self._string() if self._in_string else self._bracket():
                if self._in_element and self._depth == _IN_LIST:
                    yield Element(self._index, bytes(self._buffer[self._mark : self._position]))
                    self._outside += b"{}"
                    self._in_element, self._mark = False, self._position
        place = f"$.{self._key}[{self._index}]"
        if self._in_element:
            raise DataError(f"is cut off in {place}", where=self._where, fix="get the whole file again")
        self._outside += self._buffer[self._mark :]
        rest = strict_json.decode(bytes(self._outside), self._where)
        self.outside, self.problems = strict_json.parse(rest, self._where)

    def _string(self) -> bool:
        """Move behind the string at the position; False if its end is not in the buffer."""
        match = _STRING_REST.match(self._buffer, self._position)
        self._position = match.end() if match else self._position
        if self._buffer[self._position : self._position + 1] != b'"':
            return False  # the buffer ends, perhaps with a lone backslash
        self._position += 1
        self._in_string = False
        if self._depth == _IN_OBJECT:
            self._last_string = bytes(self._buffer[self._string_start + 1 : self._position - 1])
        return True

    def _bracket(self) -> bool:
        """Move behind the next bracket, comma of the list or quotation mark; False if the buffer has none."""
        at_list = self._in_list and self._depth == _IN_LIST
        match = (_BRACKET_OR_COMMA if at_list else _BRACKET).search(self._buffer, self._position)
        if match is None:
            self._position = len(self._buffer)
            return False
        place, byte = match.start(), self._buffer[match.start()]
        self._position = place + 1
        if byte == _QUOTE:
            self._in_string, self._string_start = True, place
        elif byte == _COMMA:
            self._index += 1
        elif byte in _OPENING:
            if at_list:
                self._outside += self._buffer[self._mark : place]
                self._in_element, self._mark = True, place
            elif self._depth == _IN_OBJECT and byte == _OPEN_LIST and self._last_string == self._key.encode():
                self._in_list, self._index = True, 0
            self._depth += 1
        else:
            self._depth -= 1
            self._in_list = self._in_list and self._depth > _IN_OBJECT
        return True

    def _check_size(self) -> None:
        if self._in_element and len(self._buffer) > self._max_bytes + _CHUNK:
            where = f"{self._where}: $.{self._key}[{self._index}]"
            raise strict_json.too_large(where, f"more than {self._max_bytes:,} bytes", self._max_bytes)
        if len(self._outside) + (0 if self._in_element else len(self._buffer)) > _MAX_OUTSIDE:
            fix = "give a file in the layout of KorQuAD 2"
            raise DataError(f'has no "{self._key}", a list of objects', where=self._where, fix=fix)


def _chunks(file: IO[bytes], where: str) -> Iterator[bytes]:
    """The bytes of a JSON file in UTF-8, without a byte order mark, unpacked if it is a gzip file."""
    try:
        head = file.read(text_files.HEAD)
        if text_files.is_gzip(head):
            joined = cast("BinaryIO", _Joined(head, file))
            file = cast("IO[bytes]", gzip.GzipFile(fileobj=joined, mode="rb"))
            head = file.read(text_files.HEAD)
        if binary := text_files.binary_format(head, where):
            raise DataError(f"is {binary.name}, not text", where=where, fix=binary.fix)
        chunks = itertools.chain([head], iter(lambda: file.read(_CHUNK), b""))
        encoding = text_files.marked_encoding(head)
        if encoding is None:
            first = next(chunks).removeprefix(codecs.BOM_UTF8)
            yield from itertools.chain([first], chunks)
            return
        decoder = codecs.getincrementaldecoder(encoding)()
        for chunk in chunks:
            yield decoder.decode(chunk).encode("utf-8", "surrogatepass")
        yield decoder.decode(b"", final=True).encode("utf-8", "surrogatepass")
    except UnicodeDecodeError as error:
        raise DataError("is damaged UTF-16 or UTF-32", where=where, fix="save it as UTF-8") from error
    except (EOFError, zlib.error, gzip.BadGzipFile, zipfile.BadZipFile) as error:
        raise DataError(f"is damaged ({error})", where=where, fix="get the whole file again") from error


class _Joined:
    """A stream whose first bytes were read already."""

    def __init__(self, head: bytes, file: IO[bytes]) -> None:
        self._head, self._file = head, file

    def read(self, size: int = -1) -> bytes:
        if not self._head:
            return self._file.read(size)
        head, self._head = (self._head, b"") if size < 0 else (self._head[:size], self._head[size:])
        return head
