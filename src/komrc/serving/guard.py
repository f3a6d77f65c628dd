"""Checks before the routes: host, key, readiness, body. Also metrics, access log and security headers.

Plain ASGI, so that the headers are checked first and the body is read once, within its limits.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import time
import zlib
from collections.abc import Iterable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from komrc.errors import InputError
from komrc.serving import encodings
from komrc.serving.errors import INTERNAL, ErrorBody, body_of, body_of_status, not_ready
from komrc.serving.hosts import HostRules
from komrc.serving.metrics import Metrics
from komrc.serving.options import ServeOptions
from komrc.serving.state import Readiness
from komrc.serving.tensors import as_json

logger = logging.getLogger("komrc.serving")

_WITHOUT_KEY = ("/health", "/ready", "/v2/health/", "/docs", "/openapi.json", "/page/", "/favicon.ico")
_OPEN_INFERENCE = "/v2/"
UPLOAD_PATH = "/v1/documents"  # POST: the body is a file
_UPLOADS_AT_ONCE = 4  # each is in memory until its file is in the index
_UPLOAD_STEP = 1_000_000  # bytes for which a client has body_timeout
_BYTES = b"application/octet-stream"
_JSON_LENGTH = b"inference-header-content-length"  # the body has tensors as bytes after the JSON
_METHODS = {"GET", "HEAD", "POST", "OPTIONS"}

_PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
# Swagger UI sets style attributes.
_DOCS_POLICY = _PAGE_POLICY.replace("style-src 'self'", "style-src 'self' 'unsafe-inline'")
_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
]

_API_KEY_REQUIRED = ErrorBody(
    401, "api_key", "This server asks for a key. Send it as Authorization: Bearer KEY or X-API-Key: KEY"
)
_UNKNOWN_ENCODING = ErrorBody(
    415,
    "content_encoding",
    "The body's Content-Encoding is not understood. Send it without one, or with gzip or deflate",
    close=True,
)
_DAMAGED_ENCODING = ErrorBody(
    400,
    "content_encoding",
    "The body does not match its Content-Encoding, or is incomplete. Send all of it",
)
_NOT_JSON = ErrorBody(
    415, "content_type", "The body must be JSON. Send Content-Type: application/json", close=True
)
_NOT_A_FILE = ErrorBody(
    415, "content_type", "The body must be the file. Send Content-Type: application/octet-stream", close=True
)
_NO_UPLOADS = ErrorBody(
    403,
    "upload",
    "This server accepts no files. Start it with komrc serve --index FOLDER --allow-upload",
    close=True,
)
_TOO_MANY_UPLOADS = ErrorBody(
    429, "uploads_busy", "Other files are being added. Send the file again", retry_after=2, close=True
)
_BODY_TIMEOUT = ErrorBody(
    408, "body_timeout", "The request's body did not arrive in time. Send it at once", close=True
)
_NOT_UTF8 = ErrorBody(400, "invalid_json", "The body is not UTF-8. Send JSON in UTF-8")


class _RejectedBodyError(Exception):
    def __init__(self, rejection: ErrorBody) -> None:
        self.rejection = rejection


class RequestGuard:
    """The ASGI layer around the routes."""

    def __init__(
        self, app: ASGIApp, *, options: ServeOptions, readiness: Readiness, metrics: Metrics
    ) -> None:
        self._app = app
        self._options = options
        self._readiness = readiness
        self._metrics = metrics
        self._hosts = HostRules(options.host, options.allowed_hosts, options.cors_origin)
        self._key = options.api_key.encode() if options.api_key is not None else None
        self._uploads = 0  # that are arriving or being added

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        method, scope = scope["method"], _normalized(scope)
        began = time.monotonic()
        status = 499  # the client disconnected
        started = complete = False

        async def send_guarded(message: Message) -> None:
            nonlocal status, started, complete
            complete = message["type"] == "http.response.body" and not message.get("more_body", False)
            if message["type"] == "http.response.start":
                started, status = True, message["status"]
                message["headers"] = [*message["headers"], *_security_headers(scope["path"])]
                closes = any(name == b"connection" for name, _ in message["headers"])
                if self._readiness.state == "draining" and not closes:
                    message["headers"].append((b"connection", b"close"))
            elif method == "HEAD":
                message = {**message, "body": b""}
            await send(message)

        try:
            rejection = self._check_headers(scope)
            if rejection is None:
                upload = _is_upload(scope)
                self._uploads += upload
                try:
                    rejection = await self._forward(scope, receive, send_guarded)
                finally:
                    self._uploads -= upload
            if rejection is not None:
                await send_error(rejection, send_guarded)
        except Exception:
            logger.exception("%s failed", _route_pattern(scope))
            if not started:
                await send_error(INTERNAL, send_guarded)
            elif not complete:
                raise  # uvicorn then closes the connection, so that half a response does not look complete
        finally:
            route, seconds = _route_pattern(scope), time.monotonic() - began
            self._metrics.requests.labels(route, str(status)).inc()
            self._metrics.request_seconds.labels(route).observe(seconds)
            if self._options.access_log:
                name = method if method in _METHODS else "other"
                logger.info("%s %s %d %.1f ms", name, route, status, seconds * 1000)

    def _check_headers(self, scope: Scope) -> ErrorBody | None:
        """The rejection that follows from the headers, if any."""
        headers = dict(scope["headers"])
        path, work = scope["path"], scope["method"] == "POST"
        foreign = self._hosts.check(headers)
        if foreign is not None:
            return _closed_if_unread(foreign, work)
        if self._key is not None and not path.startswith(_WITHOUT_KEY):
            page = path == "/" and b"text/html" in headers.get(b"accept", b"") and not work
            if not page and not self._knows_key(
                headers.get(b"authorization", b""), headers.get(b"x-api-key", b"")
            ):
                return _closed_if_unread(_API_KEY_REQUIRED, work)
        if work and (refused := self._check_post(scope, headers)) is not None:
            return refused
        if _encoding(scope) not in encodings.KNOWN:
            return _UNKNOWN_ENCODING
        return None

    def _check_post(self, scope: Scope, headers: dict[bytes, bytes]) -> ErrorBody | None:
        """The rejection of a request with a body, if any."""
        if not self._readiness.ready:
            return _closed_if_unread(body_of(not_ready(self._readiness.state)), True)
        kind = headers[b"content-type"].split(b";")[0].strip().lower()
        if _is_upload(scope):
            return self._check_upload(kind)
        json = kind.startswith(b"application/") and kind.endswith((b"/json", b"+json"))
        binary = scope["path"].startswith(_OPEN_INFERENCE) and _JSON_LENGTH in headers
        return None if json or (binary and kind == _BYTES) else _NOT_JSON

    def _check_upload(self, kind: bytes) -> ErrorBody | None:
        if not self._options.allow_upload:
            return _NO_UPLOADS
        if kind != _BYTES:
            return _NOT_A_FILE
        return _TOO_MANY_UPLOADS if self._uploads >= _UPLOADS_AT_ONCE else None

    def _knows_key(self, authorization: bytes, plain: bytes) -> bool:
        assert self._key is not None
        scheme, _, token = authorization.partition(b" ")
        given = token.strip() if scheme.lower() == b"bearer" and token else plain
        return hmac.compare_digest(given, self._key)

    async def _forward(self, scope: Scope, receive: Receive, send: Send) -> ErrorBody | None:
        """Read the body, then run the route; it is cancelled if the client disconnects."""
        upload = _is_upload(scope)
        limit = self._options.max_upload_bytes if upload else self._options.max_body_bytes
        try:
            async with asyncio.timeout(self._options.body_timeout) as deadline:
                body = await self._read(scope, receive, limit, deadline if upload else None)
            if body is not None:
                body = _decompressed(scope, body, limit)
                body = body if upload else _as_json_text(scope, body)
        except TimeoutError:
            return _BODY_TIMEOUT
        except _RejectedBodyError as refused:
            return refused.rejection
        if body is None:
            return None
        given = False
        gone = asyncio.get_running_loop().create_future()

        async def receive_again() -> Message:
            nonlocal given
            if not given:
                given = True
                return {"type": "http.request", "body": body, "more_body": False}
            await asyncio.shield(gone)
            return {"type": "http.disconnect"}

        async def watch() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass
            if not gone.done():
                gone.set_result(None)

        route = asyncio.ensure_future(self._app(scope, receive_again, send))
        watcher = asyncio.ensure_future(watch())
        try:
            await asyncio.wait((route, watcher), return_when=asyncio.FIRST_COMPLETED)
            if not route.done():
                route.cancel()
            try:
                await route
            except asyncio.CancelledError:
                if not gone.done():  # the client did not disconnect: this task itself is cancelled
                    raise
        finally:
            route.cancel()
            watcher.cancel()
        return None

    async def _read(
        self, scope: Scope, receive: Receive, limit: int, deadline: asyncio.Timeout | None
    ) -> bytes | None:
        """The body; None if the client disconnected. With ``deadline``, it is put off as the body arrives."""
        too_large = _too_large(limit, _is_upload(scope))
        declared = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
        if int(declared) > limit:  # the HTTP parser has checked that it is a number
            raise _RejectedBodyError(too_large)
        chunks: list[bytes] = []
        size = 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            before, size = size, size + len(message.get("body", b""))
            if size > limit:
                raise _RejectedBodyError(too_large)
            if deadline is not None and size // _UPLOAD_STEP > before // _UPLOAD_STEP:
                deadline.reschedule(asyncio.get_running_loop().time() + self._options.body_timeout)
            chunks.append(message.get("body", b""))
            if not message.get("more_body", False):
                return b"".join(chunks)


async def send_error(rejection: ErrorBody, send: Send) -> None:
    """Send a rejection as the whole response."""
    await send({"type": "http.response.start", "status": rejection.status, "headers": rejection.headers()})
    await send({"type": "http.response.body", "body": rejection.body(), "more_body": False})


def _is_upload(scope: Scope) -> bool:
    return bool(scope["path"] == UPLOAD_PATH and scope["method"] == "POST")


def _normalized(scope: Scope) -> Scope:
    """The request as the routes expect it: HEAD becomes GET, a slash at the end of the path is removed.

    A POST without a content type gets that of JSON.
    """
    path = scope["path"].rstrip("/") or "/"
    method = "GET" if scope["method"] == "HEAD" else scope["method"]
    headers = scope["headers"]
    if method == "POST" and not dict(headers).get(b"content-type", b"").strip():
        headers = [(name, value) for name, value in headers if name != b"content-type"]
        headers.append((b"content-type", b"application/json"))
    return {**scope, "path": path, "method": method, "headers": headers}


def _encoding(scope: Scope) -> str:
    values = [value for name, value in scope["headers"] if name == b"content-encoding"]
    return b",".join(values).decode("latin-1").strip().lower()


def _decompressed(scope: Scope, body: bytes, limit: int) -> bytes:
    try:
        return encodings.inflate(body, _encoding(scope), limit)
    except encodings.TooLargeError:
        raise _RejectedBodyError(_too_large(limit, _is_upload(scope))) from None
    except zlib.error:
        raise _RejectedBodyError(_DAMAGED_ENCODING) from None


def _too_large(limit: int, upload: bool) -> ErrorBody:
    advice = "Split the file, or start the server with a larger --max-upload-bytes"
    return ErrorBody(
        413,
        "too_large",
        f"The body has more than {limit} bytes. {advice if upload else 'Send less text at a time'}",
        close=True,
    )


def _as_json_text(scope: Scope, body: bytes) -> bytes:
    """The body as JSON in UTF-8. Binary tensors of an Open Inference request become part of the JSON."""
    try:
        if scope["path"].startswith(_OPEN_INFERENCE) and scope["method"] == "POST":
            headers = dict(scope["headers"])
            if _JSON_LENGTH in headers:
                body = as_json(body, headers[_JSON_LENGTH])
                headers[b"content-type"] = b"application/json"
                scope["headers"] = list(headers.items())
        body.decode()
    except UnicodeDecodeError:
        raise _RejectedBodyError(_NOT_UTF8) from None
    except InputError as error:
        raise _RejectedBodyError(body_of(error)) from None
    except (ValueError, RecursionError):
        raise _RejectedBodyError(body_of_status(400)) from None
    return body


def _closed_if_unread(rejection: ErrorBody, work: bool) -> ErrorBody:
    """The rejection; it closes the connection if the request has a body, which was not read."""
    if not work:
        return rejection
    return ErrorBody(
        rejection.status, rejection.code, rejection.message, retry_after=rejection.retry_after, close=True
    )


def _security_headers(path: str) -> Iterable[tuple[bytes, bytes]]:
    policy = _DOCS_POLICY if path.startswith("/docs") else _PAGE_POLICY
    return [*_HEADERS, (b"content-security-policy", policy.encode())]


def _route_pattern(scope: Scope) -> str:
    """The pattern of the route, not the path, so that metrics have a bounded number of labels."""
    return str(getattr(scope.get("route"), "path", "other"))
