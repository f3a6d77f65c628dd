"""The HTTP connection: uvicorn's h11 protocol with timeouts and a limit of connections.

uvicorn has no timeout for the first byte, for the rest of a header, and for a client that does not read.
Each of these gets a timer here. A connection above the limit gets a 503 in our error form.

A response to an incomplete request ends in a lingering close. If a socket is closed while bytes still
arrive, the connection is reset, and clients that send everything before they read never see the response.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import h11
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from komrc.serving.errors import ErrorBody
from komrc.serving.options import ServeOptions

_LINGER_BYTES = 256 * 1024 * 1024  # at most so many bytes of one rejected client are discarded

_REASONS = {400: b"Bad Request", 408: b"Request Timeout", 503: b"Service Unavailable"}
_INVALID_HTTP = ErrorBody(400, "invalid_http", "This is not a valid HTTP/1.1 request", close=True)
_HEADER_TIMEOUT = ErrorBody(
    408, "header_timeout", "The request's headers did not arrive in time. Send them at once", close=True
)
_TOO_MANY_CONNECTIONS = ErrorBody(
    503,
    "connections",
    "The server has too many connections. Try again shortly",
    retry_after=1,
    close=True,
)


class _Lingering:
    """A transport with a lingering close, for clients that may still be sending.

    It closes our side only and discards what arrives, until the client closes too, has sent
    ``_LINGER_BYTES``, or ``seconds`` have passed.
    """

    def __init__(self, transport: asyncio.Transport, seconds: float, unread: Callable[[], bool]) -> None:
        self._transport = transport
        self._seconds = seconds
        self._request_unfinished = unread
        self._left = _LINGER_BYTES
        self._timer: asyncio.TimerHandle | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def is_closing(self) -> bool:
        """Whether it is closed, or about to be."""
        return self._timer is not None or self._transport.is_closing()

    def close(self) -> None:
        """Close; with a lingering close if a request is incomplete."""
        if self._request_unfinished():
            self.linger()
        elif self._timer is None:
            self._transport.close()

    def linger(self) -> None:
        """Close our side; the other side is closed when the client does, or after the timeout."""
        if self.is_closing():
            return
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._seconds, self._transport.abort)
        self._transport.write_eof()
        self._transport.resume_reading()

    def drop(self, data: bytes) -> None:
        """Discard what a rejected client still sends."""
        self._left -= len(data)
        if self._left < 0:
            self._transport.abort()

    def end(self) -> None:
        """Close at once, if it lingers."""
        if self._timer is not None:
            self._timer.cancel()
            self._transport.close()


class GuardedProtocol(H11Protocol):
    """One connection. The limits are in ``config.guard``, since uvicorn passes only its config to a
    protocol.
    """

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.options: ServeOptions = config.guard  # type: ignore[attr-defined]
        self._header_timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None
        self._received_bytes = False

    @property
    def busy(self) -> bool:
        """Whether a request has begun to arrive and is not completely answered."""
        if self.transport.is_closing():
            return False
        if self.cycle is not None and not self.cycle.response_complete:
            return True
        return self._header_timer is not None and self._received_bytes

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._lingering = _Lingering(transport, self.options.body_timeout, self._request_unfinished)
        super().connection_made(self._lingering)  # type: ignore[arg-type]  # it forwards all other attributes
        if len(self.connections) > self.options.max_connections:
            self._send_error_and_linger(_TOO_MANY_CONNECTIONS)
        else:
            self._await_headers()

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():  # a rejected client still sends
            self._lingering.drop(data)
            return
        self._received_bytes = True
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._stop("_header_timer")
        elif self._header_timer is None and not self.transport.is_closing():
            self._await_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop("_header_timer")
        self._stop("_write_timer")
        self._lingering.end()
        super().connection_lost(exc)

    def shutdown(self) -> None:
        if self.transport.is_closing():  # already answered: no need to wait at shutdown
            self._lingering.end()
        else:
            super().shutdown()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._write_timer = self.loop.call_later(self.options.body_timeout, self.transport.abort)

    def resume_writing(self) -> None:
        self._stop("_write_timer")
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 (uvicorn's text is replaced by ours)
        """Answer bytes that are not HTTP; only close the connection if a response has begun."""
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE) and not (
            self.cycle is not None and self.cycle.response_started and not self.cycle.response_complete
        ):
            self._send_error_and_linger(_INVALID_HTTP)
        else:
            self.transport.close()
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True
            self.cycle.message_event.set()

    def _await_headers(self) -> None:
        self._header_timer = self.loop.call_later(self.options.header_timeout, self._headers_timed_out)

    def _headers_timed_out(self) -> None:
        self._header_timer = None
        if self.transport.is_closing():
            return
        if self._received_bytes:
            self._send_error_and_linger(_HEADER_TIMEOUT)
        else:  # a spare connection of a browser: no request to answer
            self.transport.close()

    def _send_error_and_linger(self, rejection: ErrorBody) -> None:
        head = b"HTTP/1.1 %d %s\r\n" % (rejection.status, _REASONS[rejection.status])
        lines = b"".join(b"%s: %s\r\n" % header for header in rejection.headers())
        self.transport.write(head + lines + b"\r\n" + rejection.body())
        self._lingering.linger()

    def _request_unfinished(self) -> bool:
        """Whether the client may still be sending a request that is already answered."""
        return self.conn.their_state in (h11.SEND_BODY, h11.ERROR)

    def _stop(self, name: str) -> None:
        timer: asyncio.TimerHandle | None = getattr(self, name)
        if timer is not None:
            timer.cancel()
            setattr(self, name, None)
