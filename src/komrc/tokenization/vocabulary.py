"""Reads ``vocab.txt``: one piece a line, in the order of the ids."""

from __future__ import annotations

import codecs
from pathlib import Path

from komrc.errors import ModelError


def read_vocab(path: Path) -> list[str]:
    """The pieces, without the white space at their ends; a byte order mark is passed over.

    Raises ModelError where the file can't be read or is not UTF-8; it names the encoding where it is known.
    """
    try:
        data = path.read_bytes()
        lines = data.decode("utf-8-sig").split("\n")
    except OSError as error:
        raise ModelError(
            f"can't be read ({error.strerror or error})", where=str(path), fix="download it again"
        ) from error
    except UnicodeError as error:
        encoding = _encoding(data)
        raise ModelError(
            f"is written in {encoding}, not in UTF-8" if encoding else f"is not UTF-8 ({error})",
            where=str(path),
            fix=f"convert it (iconv -f {encoding} -t UTF-8), or better download it again: signs that "
            f"{encoding} lacks are lost"
            if encoding
            else "download it again",
        ) from error
    while lines and not lines[-1].strip():
        lines.pop()
    return [line.rstrip() for line in lines]


def _encoding(data: bytes) -> str | None:
    """What a file that is not UTF-8 is written in, as far as its bytes tell."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "UTF-16"
    try:
        data.decode("cp949")
    except UnicodeError:
        return None
    return "CP949"
