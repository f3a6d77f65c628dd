"""Strings as bytes behind a request's JSON: the Open Inference Protocol's binary tensor extension."""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Iterator

from komrc.errors import InputError

_NUMBER = re.compile(r"\d{1,18}")
_LENGTH = struct.Struct("<I")  # before each string


def as_json(body: bytes, json_length: bytes) -> bytes:
    """A request with binary tensors after its JSON, as JSON only.

    Args:
        body: the JSON, then the tensors' bytes one after the other: for each string its length in bytes
            (32 bits, little-endian) and its UTF-8.
        json_length: the header ``Inference-Header-Content-Length``, the length of the JSON in bytes.

    Raises InputError where the lengths don't fit or the strings are no UTF-8, ValueError or RecursionError
    for JSON that can't be read.
    """
    text = json_length.decode("latin-1").strip()
    if not _NUMBER.fullmatch(text) or int(text) > len(body):
        raise InputError(
            "Inference-Header-Content-Length is not the length of the JSON",
            fix="give the bytes of the JSON before the tensors",
        )
    place = int(text)
    request = json.loads(body[:place])
    inputs = request.get("inputs") if isinstance(request, dict) else None
    for number, tensor in enumerate(inputs if isinstance(inputs, list) else ()):
        parameters = tensor.get("parameters") if isinstance(tensor, dict) else None
        size = parameters.get("binary_data_size") if isinstance(parameters, dict) else None
        if size is None:
            continue
        where = f"inputs[{number}]"
        if not isinstance(size, int) or not 0 <= size <= len(body) - place:
            raise InputError(
                "binary_data_size is not the length of the tensor's bytes",
                where=where,
                fix="give the number of bytes that follow the JSON for this tensor",
            )
        tensor["data"] = list(_strings(body[place : place + size], where))
        place += size
    if place != len(body):
        raise InputError(
            "there are bytes after the JSON that belong to no tensor",
            where="inputs",
            fix="give each tensor's binary_data_size",
        )
    return json.dumps(request).encode()


def _strings(data: bytes, where: str) -> Iterator[str]:
    place = 0
    while place < len(data):
        start = place + _LENGTH.size
        size = _LENGTH.unpack_from(data, place)[0] if start <= len(data) else len(data)
        place = start + size
        if place > len(data):
            raise InputError(
                "a string's length goes beyond its tensor",
                where=where,
                fix="put the length of each string before it: 32 bits, little-endian",
            )
        try:
            yield data[start:place].decode()
        except UnicodeDecodeError:
            raise InputError("a string is not UTF-8", where=where, fix="send text in UTF-8") from None
