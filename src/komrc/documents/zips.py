"""What a ZIP file (DOCX, PPTX, XLSX, HWPX) contains, checked before a library unpacks it."""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path

from komrc.documents.limits import Limits
from komrc.errors import DataError

_END = b"PK\x05\x06"  # of the record at the end, which has the size of the list of members
_END_SIZE = 22
_LONGEST_COMMENT = 0xFFFF
_BYTES_PER_MEMBER = 100  # in the list of members, with a name of usual length
_ALWAYS_ALLOWED = 16 << 20  # unpacked bytes for which the ratio doesn't matter
_ENCRYPTED = 0x1


def zip_names(path: Path, limits: Limits) -> list[str]:
    """The names of the members. Raises DataError for a file that is damaged or has too many of them."""
    return [member.filename for member in _members(path, limits)]


def check_zip(path: Path, limits: Limits) -> None:
    """Raises DataError for a file that is damaged, encrypted, or too large when it is unpacked."""
    members = _members(path, limits)
    if any(member.flag_bits & _ENCRYPTED for member in members):
        raise DataError("is encrypted with a password", fix="save it without a password")
    unpacked = sum(member.file_size for member in members)
    allowed = max(_ALWAYS_ALLOWED, limits.unpacked_ratio * path.stat().st_size)
    if unpacked > min(limits.unpacked_bytes, allowed):
        raise DataError(
            f"would be {unpacked:,} bytes when unpacked, which is too large for its size",
            fix="if you trust it, raise the limits (unpacked_bytes, unpacked_ratio)",
        )


def _members(path: Path, limits: Limits) -> list[zipfile.ZipInfo]:
    try:
        # zipfile reads the whole list of members, so its size is checked first.
        if _list_bytes(path) > limits.archive_members * _BYTES_PER_MEMBER:
            raise DataError("is a ZIP file with too many files in it")
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError, struct.error, EOFError) as error:
        raise DataError(f"is damaged ({error})", fix="get the whole file again") from error
    if len(members) > limits.archive_members:
        raise DataError(f"is a ZIP file with {len(members):,} files in it")
    return members


def _list_bytes(path: Path) -> int:
    """The size of the list of members that the end of the file names."""
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(max(0, size - _END_SIZE - _LONGEST_COMMENT))
        tail = file.read()
    at = tail.rfind(_END)
    if at < 0 or len(tail) < at + _END_SIZE:
        raise zipfile.BadZipFile("its end is missing")
    list_bytes: int = struct.unpack_from("<I", tail, at + 12)[0]
    return list_bytes
