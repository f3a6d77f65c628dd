"""The HTTP connection: uvicorn's h11 protocol with the limits it lacks.

uvicorn waits for ever for a first byte, for the rest of a header and for a client that does not read.
Each of these gets a timer here, and a connection too many an answer in our error form.
"""

from __future__ import annotations

import asyncio
from typing import Any

import h11
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from komrc.serving.errors import Failure
from komrc.serving.options import ServeOptions

_REASONS = {400: b"Bad Request", 408: b"Request Timeout", 503: b"Service Unavailable"}
_BROKEN = Failure(400, "invalid_http", "This is not a valid HTTP/1.1 request", close=True)
_SLOW = Failure(
    408, "header_timeout", "The request's headers did not arrive in time. Send them at once", close=True
)
_CROWDED = Failure(
    503,
    "connections",
    "The server has all the connections it can take. Try again shortly",
    retry_after=1,
    close=True,
)


class GuardedProtocol(H11Protocol):
    """One connection. The limits travel in ``config.guard``: uvicorn hands nothing else to a protocol."""

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
        self._heard = False

    @property
    def busy(self) -> bool:
        """Whether a request has begun to arrive here and is not answered in full."""
        if self.transport.is_closing():
            return False
        if self.cycle is not None and not self.cycle.response_complete:
            return True
        return self._header_timer is not None and self._heard

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self.options.max_connections:
            self._answer_raw(_CROWDED)
        else:
            self._await_headers()

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():  # what a refused client still sends
            return
        self._heard = True
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._stop("_header_timer")
        elif self._header_timer is None and not self.transport.is_closing():
            self._await_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop("_header_timer")
        self._stop("_write_timer")
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._write_timer = self.loop.call_later(self.options.body_timeout, self.transport.abort)

    def resume_writing(self) -> None:
        self._stop("_write_timer")
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 (uvicorn's text is replaced by ours)
        """Answer bytes that are not HTTP; or only close, where an answer has begun."""
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE) and not (
            self.cycle is not None and self.cycle.response_started and not self.cycle.response_complete
        ):
            self._answer_raw(_BROKEN)
        else:
            self.transport.close()
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True
            self.cycle.message_event.set()

    def _await_headers(self) -> None:
        self._header_timer = self.loop.call_later(self.options.header_timeout, self._headers_late)

    def _headers_late(self) -> None:
        self._header_timer = None
        if self.transport.is_closing():
            return
        if self._heard:
            self._answer_raw(_SLOW)
        else:  # a browser's spare connection: nothing to answer
            self.transport.close()

    def _answer_raw(self, failure: Failure) -> None:
        head = b"HTTP/1.1 %d %s\r\n" % (failure.status, _REASONS[failure.status])
        lines = b"".join(b"%s: %s\r\n" % header for header in failure.headers())
        self.transport.write(head + lines + b"\r\n" + failure.body())
        self.transport.close()

    def _stop(self, name: str) -> None:
        timer: asyncio.TimerHandle | None = getattr(self, name)
        if timer is not None:
            timer.cancel()
            setattr(self, name, None)
