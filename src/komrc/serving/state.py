"""What every route needs: the options, the queue once the model is loaded, and the refusals to describe."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from komrc.serving.answering import Answering
from komrc.serving.errors import not_ready
from komrc.serving.gate import Readiness
from komrc.serving.metrics import Metrics
from komrc.serving.options import ServeOptions
from komrc.serving.schemas import ErrorResponse


@dataclass
class Service:
    """What the routes need; ``answering`` is there once the model is loaded."""

    options: ServeOptions
    readiness: Readiness
    metrics: Metrics
    answering: Answering | None = None
    infos: dict[str, Any] | None = None

    def work(self) -> Answering:
        """The queue. Raises RefusedError while the model is loading."""
        if self.answering is None:
            raise not_ready("loading")
        return self.answering


REFUSALS: dict[int | str, dict[str, Any]] = {
    code: {"model": ErrorResponse, "description": text}
    for code, text in {
        400: "The body is not JSON in UTF-8, or the request is not HTTP",
        401: "The server asks for a key",
        403: "A foreign host name, or a page of another origin",
        408: "Headers or body did not arrive in time",
        413: "The body is too large, or a text too long for the time that a request has",
        415: "The body is not said to be JSON, or comes in an encoding that is not known",
        422: "A value is missing, of the wrong kind or beyond a limit",
        429: "The queue is full, or too full for a long text; Retry-After says when to come back",
        500: "The model could not be run; other requests go on",
        503: "The model is loading, or the server is shutting down",
        504: "No answer was ready in time",
    }.items()
}


def only(*codes: int | str) -> dict[int | str, dict[str, Any]]:
    """The descriptions of these refusals, for a route's ``responses``."""
    return {code: REFUSALS[code] for code in codes}
