"""The encoding of a text file: UTF-8, UTF-16, UTF-32, CP949 (and EUC-KR, which is a part of it) or Johab."""

from __future__ import annotations

import codecs
import re

from komrc import text_files
from komrc.errors import DataError

_UNKNOWN = "save it as UTF-8"
_CONTROL = re.compile("[\x00-\x08\x0e-\x1a\x1c-\x1f]")
_OTHER_THAN_ASCII = re.compile(r"[^\x00-\x7f]")
_HANGUL = re.compile("[가-힣ㄱ-ㆎ]")
_COMMON = re.compile("[\t\n\r -~가-힣ㄱ-ㆎ一-鿿、-〟“”‘’·…①-⑳]")
_MOST_DAMAGE = 1000  # one damaged character in so many is replaced by U+FFFD
_SAMPLE = 1 << 20


def decode(data: bytes, *, declared: str | None = None) -> str:
    """The text of a whole file without its byte order mark.

    ``declared`` is the encoding that the file itself names, as HTML does; it counts after UTF-8, since valid
    UTF-8 is almost never anything else. Raises DataError for a file that is not text, or whose encoding is
    not recognized.
    """
    if encoding := text_files.marked_encoding(data):
        return _sound(data, encoding)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        pass
    else:
        if "\x00" not in text:
            return _checked(text)
    if b"\x00" in data:
        return _utf16_without_mark(data)
    for encoding in (declared, "cp949", "johab"):
        decoded = _strict(data, encoding) if encoding else None
        if decoded and (encoding == declared or _is_korean(decoded)):
            return _checked(decoded)
    for encoding in ("utf-8-sig", "cp949"):  # a file with a few damaged bytes
        text = data.decode(encoding, "replace")
        if text.count("\ufffd") <= max(2, len(text) // _MOST_DAMAGE) and _is_korean(text):
            return _checked(text)
    if len(_CONTROL.findall(data[:_SAMPLE].decode("latin-1"))) * 50 > len(data[:_SAMPLE]):
        raise _not_text()
    raise DataError("is text in an encoding that is not recognized", fix=_UNKNOWN)


def _strict(data: bytes, encoding: str) -> str | None:
    try:
        codecs.lookup(encoding)
        return data.decode(encoding)
    except (LookupError, UnicodeError, ValueError):
        return None


def _sound(data: bytes, encoding: str) -> str:
    text = data.decode(encoding, "replace")
    if text.count("\ufffd") * _MOST_DAMAGE > len(text) + _MOST_DAMAGE:
        raise DataError(f"is {encoding.upper()} by its first bytes, but damaged", fix=_UNKNOWN)
    return text


def _utf16_without_mark(data: bytes) -> str:
    """The text of a UTF-16 file that begins without a mark. Raises DataError for what is none."""
    for encoding in ("utf-16-le", "utf-16-be"):
        text = _strict(data, encoding) if len(data) % 2 == 0 else None
        # In the wrong byte order, or in a binary file, few characters are of these kinds.
        if text and len(_COMMON.findall(text[:_SAMPLE])) >= 0.9 * len(text[:_SAMPLE]):
            return _checked(text)
    raise _not_text()


def _is_korean(text: str) -> bool:
    """Whether half of the characters beyond ASCII are Hangul, as in no text of another encoding."""
    others = len(_OTHER_THAN_ASCII.findall(text[:_SAMPLE]))
    return 2 * len(_HANGUL.findall(text[:_SAMPLE])) >= others


def _checked(text: str) -> str:
    sample = text[:_SAMPLE]
    if len(_CONTROL.findall(sample)) * 50 > len(sample):
        raise _not_text()
    return text


def _not_text() -> DataError:
    return DataError("is not text", fix="give a text file, or give the file the ending of its format")
