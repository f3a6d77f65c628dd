"""Errors of the server, and their JSON body: ``{"code", "error", "field"?}``.

The message is in ``error``, where Hugging Face's clients expect it.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from komrc.errors import InputError, KomrcError, UsageError

logger = logging.getLogger("komrc.serving")

_FIELD = re.compile(r"(?!(str|int|list|bool)\b)[a-z_0-9]+")
_NAMES = re.compile(r"[a-z_0-9\[\]., ]+")


class RejectedError(KomrcError):
    """A request that the server does not answer now. Not a server fault (4xx, 503, 504)."""

    def __init__(
        self,
        status: int,
        code: str,
        what: str,
        *,
        fix: str,
        where: str | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(what, where=where, fix=fix)
        self.http_status = status
        self.code = code
        self.retry_after = retry_after


def queue_full(seconds: int) -> RejectedError:
    """429: the bounded queue has no room."""
    return RejectedError(
        429,
        "queue_full",
        "the queue of the server is full",
        fix="try again shortly",
        retry_after=seconds,
    )


def too_long(seconds: float, characters: int, where: str, *, exhaustive: bool) -> RejectedError:
    """413: the text is too long for ``--request-timeout``, even on an idle server."""
    less = "leave exhaustive out, " if exhaustive else ""
    return RejectedError(
        413,
        "too_long",
        f"this server can't read so long a text in {seconds:g} s",
        where=where,
        fix=f"send at most {characters} characters at a time, {less}or ask /v1/answers for"
        " application/x-ndjson, which has no such limit",
    )


def too_busy(seconds: float, retry_after: int, where: str) -> RejectedError:
    """429: the text is too long for ``--request-timeout`` under the present load."""
    return RejectedError(
        429,
        "busy",
        f"with the present requests, this server can't read so long a text in {seconds:g} s",
        where=where,
        fix="try again when it is less busy, send less text at a time, or ask /v1/answers for"
        " application/x-ndjson, which has no such limit",
        retry_after=retry_after,
    )


def past_deadline(seconds: float, *, kept: bool) -> RejectedError:
    """504: the request was not answered in ``--request-timeout``.

    Args:
        seconds: the time limit.
        kept: whether what was read is kept, so that the same request continues there.
    """
    fix = "try again when the server is less busy, or send less text"
    if kept:
        fix = "send the same request again: what was read of the text is kept, and reading continues there"
    return RejectedError(504, "deadline", f"no answer was ready within {seconds:g} s", fix=fix, retry_after=1)


def not_ready(state: str) -> RejectedError:
    """503: the model is loading, or the server is shutting down."""
    what = "the model is still loading" if state == "loading" else "the server is shutting down"
    return RejectedError(503, state, what, fix="try again shortly", retry_after=1)


def no_index() -> RejectedError:
    """404: the server was started without an index."""
    return RejectedError(
        404,
        "no_index",
        "this server has no index of documents",
        fix="start it with komrc serve --index FOLDER; komrc index builds one",
    )


def index_unavailable() -> RejectedError:
    """503: the index's folder is missing, damaged or just being built."""
    return RejectedError(
        503,
        "index",
        "the index of documents can't be used now",
        fix="try again shortly; if that does not help, the server's log has the reason",
        retry_after=5,
    )


def unknown_document() -> RejectedError:
    """404: the index has no document with this id."""
    return RejectedError(
        404,
        "unknown_document",
        "the index has no such document",
        where="document",
        fix="give the id that /v1/ask or /v1/search gave",
    )


def index_busy() -> RejectedError:
    """503: another process writes to the index."""
    return RejectedError(
        503,
        "index_busy",
        "another program is writing to the index",
        fix="send the file again later",
        retry_after=10,
    )


def too_many_uploads(limit: int) -> RejectedError:
    """507: the index has as many uploaded files as it may have."""
    return RejectedError(
        507,
        "uploads_full",
        f"the index has {limit} uploaded files already",
        fix="remove some (komrc index FOLDER --remove), or start the server with a larger --max-uploads",
    )


@dataclass(frozen=True, slots=True)
class ErrorBody:
    """The response for an error: status, JSON body, headers."""

    status: int
    code: str
    message: str
    field: str | None = None
    retry_after: int | None = None
    close: bool = False  # the request was not read completely: close the connection

    def body(self) -> bytes:
        """The JSON body, UTF-8."""
        value = {"code": self.code, "error": self.message}
        if self.field:
            value["field"] = self.field
        return json.dumps(value, ensure_ascii=False).encode()

    def headers(self) -> list[tuple[bytes, bytes]]:
        """The response's headers, the length among them."""
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(self.body()))]
        if self.retry_after is not None:
            headers.append((b"retry-after", b"%d" % self.retry_after))
        if self.status == 401:
            headers.append((b"www-authenticate", b"Bearer"))
        if self.close:
            headers.append((b"connection", b"close"))
        return headers


def body_of(error: KomrcError) -> ErrorBody:
    """The body for an error of KoMRC, without ``where`` if that may be a local path."""
    if isinstance(error, RejectedError):
        return ErrorBody(
            error.http_status, error.code, _sentence(error), _field(error.where), error.retry_after
        )
    if isinstance(error, InputError):
        return ErrorBody(422, error.code, _sentence(error), field=_field(error.where))
    if isinstance(error, UsageError):  # lengths that don't fit together or the model
        return ErrorBody(422, InputError.code, _sentence(error), field=_field(error.where))
    return ErrorBody(500, error.code, "the model could not be run on this request; the server's log says why")


def body_of_exception(error: Exception) -> ErrorBody:
    """The error body for an exception of a route. A failure of the server is also logged."""
    body = body_of(error) if isinstance(error, KomrcError) else INTERNAL
    if body.status == 500:
        logger.error("a request failed", exc_info=error)
    return body


def body_of_status(status: int) -> ErrorBody:
    """The body for an error of the web framework: unknown route, wrong method, invalid JSON."""
    known = {
        400: ("invalid_json", "The body is not valid JSON. Send a JSON object in UTF-8"),
        404: ("not_found", "There is no route at this address. /docs lists the routes"),
        405: ("method", "This route does not accept this method. /docs lists the routes"),
    }
    code, message = known.get(
        status, ("http", "The request can't be answered. /docs describes valid requests")
    )
    return ErrorBody(status, code, message)


INTERNAL = ErrorBody(500, "internal", "Something went wrong in the server; its log says what")


def body_of_validation(errors: Sequence[Mapping[str, Any]]) -> ErrorBody:
    """The body for the first error of pydantic, without the input that it quotes.

    If a value may have several forms, the error of the best fitting form is used: the one with the deepest
    place.
    """
    same = [one for one in errors if list(one.get("loc", ()))[:2] == list(errors[0].get("loc", ()))[:2]]
    first = max(same, key=lambda one: len(one.get("loc", ())))
    kind, where = str(first.get("type", "")), list(first.get("loc", ()))[1:]
    if kind == "json_invalid":
        return body_of_status(400)
    if kind == "extra_forbidden":  # the last part of the place is the caller's own key
        where = where[:-1]
        return ErrorBody(
            422, "invalid_input", "Unknown field. /docs lists the known ones", field=_place(where)
        )
    if kind == "missing":
        return ErrorBody(422, "invalid_input", "This field is required", field=_place(where))
    message = str(first.get("msg", "not understood"))
    return ErrorBody(422, "invalid_input", f"{message}. /docs shows the form", field=_place(where))


def _place(parts: Sequence[object]) -> str | None:
    """``("inputs", 3, "question")`` -> ``inputs[3].question``; only names of our own schema reach this.

    pydantic also names the branch of a union it tried, such as ``list[Pair]``: those are left out.
    """
    text = ""
    for part in parts:
        if isinstance(part, str) and not _FIELD.fullmatch(part):
            continue
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text or None


def _field(where: str | None) -> str | None:
    """The place, if it has only names and numbers; anything else may quote the input."""
    return where if where and _NAMES.fullmatch(where) else None


def _sentence(error: KomrcError) -> str:
    advice = f". {error.fix[:1].upper()}{error.fix[1:]}" if error.fix else ""
    return f"{error.what[:1].upper()}{error.what[1:]}{advice}"
