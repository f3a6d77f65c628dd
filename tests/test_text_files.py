"""Bytes to text: byte order marks are followed, and what is not text is named."""

from __future__ import annotations

import gzip
import io
import zipfile
from pathlib import Path

import pytest

from komrc import text_files
from komrc.errors import DataError, InputError

TEXT = "훈민정음은 1443년에\r\n창제되었다.\n"


@pytest.mark.parametrize(
    "data",
    [
        TEXT.encode(),
        b"\xef\xbb\xbf" + TEXT.encode(),
        b"\xff\xfe" + TEXT.encode("utf-16-le"),
        b"\xfe\xff" + TEXT.encode("utf-16-be"),
        b"\xff\xfe\x00\x00" + TEXT.encode("utf-32-le"),
        b"\x00\x00\xfe\xff" + TEXT.encode("utf-32-be"),
    ],
)
def test_a_byte_order_mark_decides_the_encoding(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(data)
    assert text_files.read_text(path, error=InputError) == TEXT


def test_a_zero_character_in_utf_8_is_text() -> None:
    assert text_files.decode(b"ab\x00cd\x00", where="a", error=InputError) == "ab\x00cd\x00"


def zipped(*names: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name in names:
            file.writestr(name, "x" * 50)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "data", "what"),
    [
        ("a.txt", b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 o", "PDF"),
        ("a.hwp", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1\x00", "HWP"),
        ("a", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + "WordDocument".encode("utf-16-le"), "Word"),
        ("a", b"HWP Document File V3.00 \x1a\x01", "HWP"),
        ("a.docx", b"PK\x03\x04\x14\x00\x06\x00\x08\x00\x00\x00!\x00", "DOCX"),
        ("a.json", zipped("[Content_Types].xml", "word/document.xml"), "DOCX"),
        ("a.json", zipped("KorQuAD.json"), "ZIP"),
        ("a.json", gzip.compress(b"{}"), "gzip"),
        ("a.json", b"PAR1\x15\x04\x15", "Parquet"),
        ("a.txt", b"7z\xbc\xaf\x27\x1c\x00", "7z"),
        ("a.txt", b"\x89PNG\r\n\x1a\n\x00", "PNG"),
        ("a.txt", TEXT.encode("utf-16-le"), "UTF-16LE"),
        ("a.json", '{"data": []}'.encode("utf-16-be"), "UTF-16BE"),
        ("a.txt", b"\xff\xfe\x00\xd8\x00\x00", "damaged"),
        ("a.txt", TEXT.encode("cp949"), "CP949"),
        ("a.txt", TEXT.encode("johab"), "JOHAB"),
        ("a.txt", bytes(range(256)) * 4, "not a text file"),
    ],
)
def test_what_is_not_text_is_named(name: str, data: bytes, what: str) -> None:
    with pytest.raises(DataError) as caught:
        text_files.decode(data, where=name, error=DataError)
    assert what in str(caught.value)
    assert caught.value.fix
    if what not in ("CP949", "JOHAB"):
        assert "CP949" not in str(caught.value)


def test_a_missing_file_is_no_text(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="can't be read"):
        text_files.read_text(tmp_path / "none.txt", error=InputError)
