"""Request bodies that come compressed (``Content-Encoding``), inflated up to a bound."""

from __future__ import annotations

import zlib

_BITS = {  # of zlib's window; deflate is zlib's format by the standard, and often without its header
    "gzip": (31,),
    "x-gzip": (31,),
    "deflate": (15, -15),
}
_MEMBERS = 1_000  # gzip files may be several, one after the other

PLAIN = frozenset({"", "identity"})
KNOWN = PLAIN | _BITS.keys()


class TooLargeError(Exception):
    """More bytes than allowed come out."""


def inflate(body: bytes, encoding: str, limit: int) -> bytes:
    """The body, decompressed; at most ``limit`` bytes.

    Args:
        encoding: one of ``KNOWN``.

    Raises TooLargeError, and zlib.error where the body is not of this encoding, or is cut.
    """
    if encoding in PLAIN:
        return body
    *others, last = _BITS[encoding]
    for bits in others:
        try:
            return _inflate(body, bits, limit)
        except zlib.error:
            continue
    return _inflate(body, last, limit)


def _inflate(body: bytes, bits: int, limit: int) -> bytes:
    found = b""
    for _ in range(_MEMBERS):
        stream = zlib.decompressobj(bits)
        found += stream.decompress(body, limit + 1 - len(found))
        if len(found) > limit:
            raise TooLargeError
        if not stream.eof:
            raise zlib.error("the stream is cut")
        body = stream.unused_data
        if not body:
            return found
    raise zlib.error("too many streams")
