"""Bytes to text: UTF-8, or UTF-16 and UTF-32 with a byte order mark; other formats are named."""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass
from pathlib import Path, PurePath

from komrc.errors import KomrcError

HEAD = 4096  # bytes that `binary_format` needs from the beginning of a file

_MARKS = (  # UTF-32 first: its little-endian mark begins with that of UTF-16
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
    (codecs.BOM_UTF8, "utf-8-sig"),
)

_SAVE_AS_TEXT = "save its text as a UTF-8 text file first"
_UNPACK = "unpack it first"
_GZIP, _ZIP, _OLE = (
    b"\x1f\x8b",
    (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08"),
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
)
_PARQUET = b"PAR1"

_SIGNATURES: tuple[tuple[bytes, str, str], ...] = (
    (b"%PDF-", "a PDF document", _SAVE_AS_TEXT),
    (b"HWP Document File", "a HWP document", _SAVE_AS_TEXT),
    (b"{\\rtf", "an RTF document", _SAVE_AS_TEXT),
    (_GZIP, "a gzip file", "unpack it first: gzip -d"),
    (_PARQUET, "a Parquet file", "give it a name that ends in .parquet to a command that reads data files"),
    (b"ARROW1", "an Arrow file", "write it as Parquet or JSON Lines"),
    (b"BZh", "a bzip2 file", _UNPACK),
    (b"\xfd7zXZ\x00", "an xz file", _UNPACK),
    (b"\x28\xb5\x2f\xfd", "a Zstandard file", _UNPACK),
    (b"7z\xbc\xaf\x27\x1c", "a 7z file", _UNPACK),
    (b"Rar!\x1a\x07", "a RAR file", _UNPACK),
    (b"ALZ\x01", "an ALZ file", _UNPACK),
    (b"EGGA", "an EGG file", _UNPACK),
    (b"SQLite format 3\x00", "an SQLite database", "export the texts first"),
    (b"\x89PNG\r\n\x1a\n", "a PNG image", "give its text"),
    (b"\xff\xd8\xff", "a JPEG image", "give its text"),
    (b"GIF8", "a GIF image", "give its text"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file", "export the texts first"),
    (b"\x93NUMPY", "a NumPy array", "export the texts first"),
)
_IN_ZIP: tuple[tuple[bytes, str, str], ...] = (  # member names, which are uncompressed in a ZIP file
    (b"word/", ".docx", "a Word document (DOCX)"),
    (b"xl/", ".xlsx", "an Excel workbook (XLSX)"),
    (b"ppt/", ".pptx", "a PowerPoint file (PPTX)"),
    (b"application/hwp+zip", ".hwpx", "a HWPX document"),
    (b"application/vnd.oasis.opendocument", ".odt", "an OpenDocument file"),
    (b"application/epub+zip", ".epub", "an EPUB book"),
)
_IN_OLE: tuple[tuple[bytes, str, str], ...] = (  # stream names, in UTF-16
    ("HwpSummaryInformation".encode("utf-16-le"), ".hwp", "a HWP document"),
    ("WordDocument".encode("utf-16-le"), ".doc", "an old Word document (DOC)"),
    ("Workbook".encode("utf-16-le"), ".xls", "an old Excel workbook (XLS)"),
    ("PowerPoint".encode("utf-16-le"), ".ppt", "an old PowerPoint file (PPT)"),
)
_CONTROL = re.compile(rb"[\x01-\x08\x0e-\x1a\x1c-\x1f]")


@dataclass(frozen=True, slots=True)
class BinaryFormat:
    """A file format that is not text: its name with an article, and what the user can do."""

    name: str
    fix: str


def binary_format(data: bytes, name: str = "") -> BinaryFormat | None:
    """The format that the first bytes of a file show (at least ``HEAD`` of them, more is better), or None.

    ``name`` is the file's name: its ending decides between formats that begin with the same bytes.
    """
    if data.startswith(_ZIP):
        kind = _member(_IN_ZIP, data, name)
        return BinaryFormat(kind, _SAVE_AS_TEXT) if kind else BinaryFormat("a ZIP file", _UNPACK)
    if data.startswith(_OLE):
        kind = _member(_IN_OLE, data, name)
        return BinaryFormat(kind or "a HWP or old Office document", _SAVE_AS_TEXT)
    for signature, what, fix in _SIGNATURES:
        if data.startswith(signature):
            return BinaryFormat(what, fix)
    if data[257:262] == b"ustar":
        return BinaryFormat("a tar file", _UNPACK)
    return None


def _member(table: tuple[tuple[bytes, str, str], ...], data: bytes, name: str) -> str | None:
    suffix = PurePath(name).suffix.lower()
    return next((what for key, _, what in table if key in data), None) or next(
        (what for _, ending, what in table if ending == suffix), None
    )


def is_gzip(data: bytes) -> bool:
    """Whether the bytes begin as a gzip file does."""
    return data.startswith(_GZIP)


def is_parquet(data: bytes) -> bool:
    """Whether the bytes begin as a Parquet file does."""
    return data.startswith(_PARQUET)


def marked_encoding(data: bytes) -> str | None:
    """The encoding of a byte order mark; None for UTF-8 and without a mark."""
    encoding = next((name for mark, name in _MARKS if data.startswith(mark)), None)
    return None if encoding == "utf-8-sig" else encoding


def decode(data: bytes, *, where: str, error: type[KomrcError]) -> str:
    """The text of a whole file without its byte order mark; line ends stay as they are.

    Raises ``error`` for a file that is not text, or in an encoding that has no byte order mark and is not
    UTF-8; the message names the format or the encoding and what to do.
    """

    def fail(what: str, fix: str) -> KomrcError:
        return error(what, where=where, fix=fix)

    if kind := binary_format(data, where):
        raise fail(f"is {kind.name}, not text", kind.fix)
    encoding = next((encoding for mark, encoding in _MARKS if data.startswith(mark)), "utf-8")
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as reason:
        if encoding.startswith(("utf-16", "utf-32")):
            raise fail(
                f"is {encoding.upper()} by its byte order mark, but damaged at byte {reason.start:,}",
                "save it as UTF-8",
            ) from reason
        line = data.count(b"\n", 0, reason.start) + 1
        place = f"byte 0x{data[reason.start]:02x} at offset {reason.start} (line {line})"
        what, fix = _other_encoding(data)
        raise fail(f"is not UTF-8: {place}{what}", fix) from reason
    if encoding == "utf-8" and "\x00" in text and (utf16 := _utf16_without_mark(data)):
        raise fail("is UTF-16 without a byte order mark", f"convert it: iconv -f {utf16} -t UTF-8")
    return text


def _other_encoding(data: bytes) -> tuple[str, str]:
    """What bytes that are not UTF-8 may be, and what to do."""
    if utf16 := _utf16_without_mark(data):
        return "; it is UTF-16 without a byte order mark", f"convert it: iconv -f {utf16} -t UTF-8"
    if b"\x00" in data or len(_CONTROL.findall(data[:HEAD])) > len(data[:HEAD]) // 50:
        return "; it is not a text file", _SAVE_AS_TEXT
    for encoding, name in (("cp949", "CP949"), ("johab", "JOHAB")):
        try:
            data.decode(encoding)
        except UnicodeDecodeError:
            continue
        return f"; it may be {name}, an old Korean encoding", f"save it as UTF-8: iconv -f {name} -t UTF-8"
    return "", "save it as UTF-8"


def _utf16_without_mark(data: bytes) -> str | None:
    """UTF-16LE or UTF-16BE where zero bytes are as frequent as in such a text, and on one side only."""
    if len(data) % 2 or not data:
        return None
    high, low = data[1::2].count(0), data[::2].count(0)
    for zeros, others, name in ((high, low, "UTF-16LE"), (low, high, "UTF-16BE")):
        if zeros * 20 >= len(data) // 2 and others * 20 <= zeros:
            try:
                data.decode(name)
            except UnicodeDecodeError:
                continue
            return name
    return None


def read_text(path: str | Path, *, error: type[KomrcError]) -> str:
    """The text of a file; see :func:`decode`. Raises ``error`` also where the file can't be read."""
    try:
        data = Path(path).read_bytes()
    except OSError as reason:
        raise error(
            f"can't be read ({reason.strerror or reason})", where=str(path), fix="give a text file"
        ) from reason
    return decode(data, where=str(path), error=error)
