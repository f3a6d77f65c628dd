"""Decompression of request bodies (``Content-Encoding``), with a limit."""

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
    """The decompressed body has more bytes than allowed."""


def inflate(body: bytes, encoding: str, limit: int) -> bytes:
    """The body, decompressed; at most ``limit`` bytes.

    Args:
        encoding: one of ``KNOWN``.

    Raises TooLargeError, and zlib.error if the body does not have this encoding or is incomplete.
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
    output = b""
    for _ in range(_MEMBERS):
        stream = zlib.decompressobj(bits)
        output += stream.decompress(body, limit + 1 - len(output))
        if len(output) > limit:
            raise TooLargeError
        if not stream.eof:
            raise zlib.error("the stream is cut")
        body = stream.unused_data
        if not body:
            return output
    raise zlib.error("too many streams")
