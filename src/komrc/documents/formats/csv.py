"""Tables of text: CSV and TSV. The file is one table."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path

from komrc.documents.builder import Builder, Extracted
from komrc.documents.encodings import decode
from komrc.documents.limits import Limits
from komrc.errors import DataError

_DELIMITERS = ",\t;|"


def read(path: Path, limits: Limits) -> Iterator[Extracted]:
    """The document of a CSV or TSV file; the delimiter is the one that the first line has most of."""
    text = decode(path.read_bytes())
    first = text.lstrip().partition("\n")[0]
    delimiter = "\t" if path.suffix.lower() == ".tsv" else max(_DELIMITERS, key=first.count)
    builder = Builder(limits)
    csv.field_size_limit(limits.characters)
    try:
        builder.table(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))
    except csv.Error as error:
        raise DataError(f"is not CSV ({error})", fix="export it again, or save it as TXT") from error
    yield builder.extracted("")
