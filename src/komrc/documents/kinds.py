"""The kinds of files that are read, and which one a file is: by its first bytes, then by its name."""

from __future__ import annotations

import mmap
import re
from dataclasses import dataclass
from pathlib import Path

from komrc import text_files
from komrc.documents.limits import Limits
from komrc.documents.zips import zip_names
from komrc.errors import DataError


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of file.

    Args:
        module: the module in ``komrc.documents.formats`` that reads it.
        endings: of names, in lower case.
        what: its name with an article, for messages.
        packages: what its reader imports beyond KoMRC's own requirements.
        isolated: whether it is read in a process of its own, since its libraries may hang or crash.
        streamed: whether it is read piece by piece, so that its size doesn't matter.
        is_text: whether the file is text.
    """

    module: str
    endings: tuple[str, ...]
    what: str
    packages: tuple[str, ...] = ()
    isolated: bool = True
    streamed: bool = False
    is_text: bool = False


TXT = Kind("txt", (".txt", ".text", ".log", ".rst", ""), "a text file", isolated=False, is_text=True)
MD = Kind("md", (".md", ".markdown"), "a Markdown file", is_text=True)
HTML = Kind("html", (".html", ".htm", ".xhtml"), "an HTML file", ("lxml",), is_text=True)
CSV = Kind("csv", (".csv", ".tsv"), "a CSV file", isolated=False, is_text=True)
JSON = Kind("records", (".json", ".json.gz"), "a JSON file", isolated=False, is_text=True)
JSONL = Kind(
    "records",
    (".jsonl", ".ndjson", ".jsonl.gz", ".ndjson.gz"),
    "a JSON Lines file",
    isolated=False,
    streamed=True,
    is_text=True,
)
PARQUET = Kind("records", (".parquet",), "a Parquet file", ("pyarrow",), streamed=True)
PDF = Kind("pdf", (".pdf",), "a PDF file", ("pypdfium2",))
DOCX = Kind("docx", (".docx", ".docm", ".dotx"), "a Word document (DOCX)", ("docx", "lxml"))
PPTX = Kind("pptx", (".pptx", ".pptm", ".ppsx"), "a PowerPoint file (PPTX)", ("pptx",))
XLSX = Kind("xlsx", (".xlsx", ".xlsm"), "an Excel workbook (XLSX)", ("python_calamine",))
HWP = Kind("hwp", (".hwp",), "an HWP document", ("olefile",))
HWPX = Kind("hwpx", (".hwpx",), "an HWPX document", ("lxml",))

KINDS = (TXT, MD, HTML, CSV, JSON, JSONL, PARQUET, PDF, DOCX, PPTX, XLSX, HWP, HWPX)
_BY_ENDING = {ending: kind for kind in KINDS for ending in kind.endings}

_IN_ZIP = (  # a member that only this kind has
    ("word/document.xml", DOCX),
    ("ppt/presentation.xml", PPTX),
    ("xl/workbook.xml", XLSX),
    ("xl/workbook.bin", None),
    ("Contents/header.xml", HWPX),
    ("Contents/section0.xml", HWPX),
)
_IN_OLE = (  # the name of a stream that only this kind has
    ("HwpSummaryInformation", HWP),
    ("BodyText", HWP),
    ("EncryptedPackage", DataError("is encrypted with a password", fix="save it without a password")),
    ("WordDocument", DataError("is an old Word document (DOC)", fix="save it as DOCX")),
    ("PowerPoint Document", DataError("is an old PowerPoint file (PPT)", fix="save it as PPTX")),
    ("Workbook", DataError("is an old Excel workbook (XLS)", fix="save it as XLSX")),
    ("Book", DataError("is an old Excel workbook (XLS)", fix="save it as XLSX")),
)
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_HTML_START = re.compile(
    rb"\s*(?:<\?xml[^>]*\?>\s*)?(?:<!--.*?-->\s*)*<(?:!doctype\s+html|html)[\s>]", re.I | re.S
)
_PDF_HEAD = 1024  # bytes in which a reader looks for a PDF's signature
_HEAD = 4096


def kind_of(path: Path, limits: Limits, *, any_text: bool = False) -> Kind:
    """The kind of a file. Raises DataError for a file that is not read, with what to do; OSError.

    ``any_text``: whether a file whose ending has no kind is read if it is text.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD)
    named = _by_name(path.name)
    if content := _by_content(path, head, named, limits):
        return content
    if named is None:
        if any_text and _looks_like_text(head):
            return TXT
        ending = path.suffix.lower()
        raise DataError(
            f"is of a kind that is not read ({ending})",
            fix="if it is text, give it the ending .txt" if _looks_like_text(head) else None,
        )
    if not named.is_text:
        raise DataError(f"is not {named.what}, or its beginning is damaged", fix="get the whole file again")
    return named


def _by_name(name: str) -> Kind | None:
    suffixes = [suffix.lower() for suffix in Path(name).suffixes[-2:]]
    both = "".join(suffixes)
    return _BY_ENDING.get(both) if both in _BY_ENDING else _BY_ENDING.get(suffixes[-1] if suffixes else "")


def _by_content(path: Path, head: bytes, named: Kind | None, limits: Limits) -> Kind | None:
    """The kind that the first bytes show, None for text. Raises DataError for kinds that are not read."""
    if b"%PDF-" in head[:_PDF_HEAD] and (named in (None, PDF) or head.lstrip().startswith(b"%PDF-")):
        return PDF
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")):
        return _in_zip(path, named, limits)
    if head.startswith(_OLE):
        return _in_ole(path)
    if text_files.is_parquet(head):
        return PARQUET
    if text_files.is_gzip(head) and named in (JSON, JSONL):
        return named
    _refuse_binary(path, head)
    return HTML if _HTML_START.match(head) and named not in (JSON, JSONL, MD) else None


def _refuse_binary(path: Path, head: bytes) -> None:
    if head.startswith(b"HWP Document File"):
        raise DataError("is an HWP document of version 3", fix="save it as HWPX or HWP 5")
    if binary := text_files.binary_format(head, path.name):
        is_archive = binary.fix.startswith("unpack")
        raise _archive(binary.name) if is_archive else DataError(f"is {binary.name}", fix=binary.fix)


def _in_zip(path: Path, named: Kind | None, limits: Limits) -> Kind:
    try:
        names = set(zip_names(path, limits))
    except DataError:
        if named in (DOCX, PPTX, XLSX, HWPX):
            raise
        raise _archive("a ZIP file") from None
    for member, kind in _IN_ZIP:
        if member in names:
            if kind is None:
                raise DataError("is a binary Excel workbook (XLSB)", fix="save it as XLSX")
            return kind
    if "mimetype" in names and "content.xml" in names:
        raise DataError("is an OpenDocument file", fix="save it as DOCX, PPTX or XLSX")
    if "META-INF/container.xml" in names and "mimetype" in names:
        raise DataError("is an EPUB book", fix="give its pages as HTML files")
    if named in (DOCX, PPTX, XLSX, HWPX):
        raise DataError(f"is a ZIP file, but not {named.what}", fix="get the whole file again")
    raise _archive("a ZIP file")


def _in_ole(path: Path) -> Kind:
    if path.stat().st_size:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            for stream, kind in _IN_OLE:
                if data.find(stream.encode("utf-16-le")) >= 0:
                    if isinstance(kind, Kind):
                        return kind
                    raise DataError(kind.what, fix=kind.fix)
    raise DataError("is an old Office document or damaged", fix="save it as DOCX, PPTX, XLSX or HWPX")


def _archive(what: str) -> DataError:
    return DataError(f"is {what}, and archives are not opened", fix="unpack it into the folder")


def _looks_like_text(head: bytes) -> bool:
    if text_files.marked_encoding(head):
        return True
    return b"\x00" not in head and sum(
        byte < 32 and byte not in b"\t\n\r\f\x1b" for byte in head
    ) * 50 <= len(head)
