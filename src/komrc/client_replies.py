"""Replies of the server as the client gives them: answers, passages, states, and errors."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

import httpx

from komrc.errors import InputError, KomrcError, ServerError
from komrc.types import Answer, Span

if TYPE_CHECKING:
    from komrc.asking import DocumentAnswer
    from komrc.index import Hit, Passage

ServerState = Literal["ready", "loading", "draining"]
Progress = Callable[[int, int], None]
"""Called with the number of windows that are done and the number of all windows."""

_TIMEOUT, _UNREACHABLE, _FOREIGN = "timeout", "unreachable", "protocol"  # codes of errors without a reply


def answers_in(response: httpx.Response) -> list[list[Answer]]:
    """The answers in a whole reply. Raises the error that it reports."""
    if response.is_error:
        raise error_in(response)
    with _parsing():
        return _answer_lists(response.json())


def answers_of_line(line: str, on_progress: Progress) -> list[list[Answer]] | None:
    """The answers, if this line of a streamed reply contains them. Raises the error that it reports."""
    progress: tuple[int, int] | None = None
    with _parsing():
        value = json.loads(line)
        if "result" in value:
            return _answer_lists(value["result"])
        if "failure" in value:
            failure = value["failure"]
            raise _error_of(failure["code"], failure["error"], failure.get("field"))
        progress = int(value["progress"]["done"]), int(value["progress"]["total"])
    on_progress(*progress)
    return None


def _answer_lists(value: Mapping[str, Any]) -> list[list[Answer]]:
    return [[_answer(entry) for entry in result["answers"]] for result in value["results"]]


def _answer(value: Mapping[str, Any]) -> Answer:
    whole = value["untrimmed"]
    untrimmed = Span(whole["start"], whole["end"]) if whole else None
    return Answer(value["text"], value["start"], value["end"], value["score"], untrimmed)


def document_answers(response: httpx.Response) -> list[DocumentAnswer]:
    """The answers in a reply of /v1/ask. Raises the error that it reports."""
    from komrc.asking import ANSWER_FIELDS, DocumentAnswer, Place

    if response.is_error:
        raise error_in(response)
    with _parsing():
        return [
            DocumentAnswer(
                passage=None if value["passage"] is None else _passage(value["passage"]),
                also=tuple(Place(**place) for place in value["also"]),
                **{name: value[name] for name in ANSWER_FIELDS},
            )
            for value in response.json()["answers"]
        ]


def hits_in(response: httpx.Response) -> list[Hit]:
    """The passages in a reply of /v1/search. Raises the error that it reports."""
    from komrc.index import Hit

    if response.is_error:
        raise error_in(response)
    with _parsing():
        return [Hit(_passage(value["passage"]), value["score"]) for value in response.json()["hits"]]


def _passage(value: Mapping[str, Any]) -> Passage:
    from komrc.index import Passage

    return Passage(**{name: value[name] for name in Passage.__dataclass_fields__})


def state_in(response: httpx.Response) -> ServerState:
    """The state in a reply of /ready, which is 503 for two of the three."""
    with _parsing():
        value = response.json()
        if value.get("status") in get_args(ServerState):
            return cast(ServerState, value["status"])
    raise error_in(response)


@contextmanager
def _parsing() -> Iterator[None]:
    """Raise ServerError for a reply that is not of the known form."""
    try:
        yield
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ServerError(
            f"the reply is not one of a KoMRC server ({error!r})",
            fix="check the address, and that server and client have the same version",
            code=_FOREIGN,
        ) from error


# --- errors ------------------------------------------------------------------------------------------------


def error_in(response: httpx.Response) -> KomrcError:
    """The error in a reply whose status reports one."""
    try:
        value = response.json()
        code, message, field = str(value["code"]), str(value["error"]), value.get("field")
    except (ValueError, KeyError, TypeError, AttributeError):  # a proxy's own page
        code, message, field = "http", f"the server answered {response.status_code}", None
    after = response.headers.get("retry-after", "")
    return _error_of(
        code,
        message,
        field,
        status=response.status_code,
        retry_after=int(after) if after.isdecimal() else None,
    )


def _error_of(
    code: str, message: str, field: str | None, *, status: int | None = None, retry_after: int | None = None
) -> KomrcError:
    """InputError for what is wrong with the request's values, else ServerError."""
    if code == InputError.code:
        return InputError(message, where=field)
    return ServerError(message, where=field, code=code, http_status=status, retry_after=retry_after)


def cut_off() -> ServerError:
    return ServerError("the reply ended before the answers came", fix="ask again", code=_UNREACHABLE)


@contextmanager
def translated_errors(url: httpx.URL) -> Iterator[None]:
    """Turn what httpx raises into ServerError."""
    where = str(url)
    try:
        yield
    except httpx.TimeoutException as error:
        raise ServerError(
            f"no reply in time ({type(error).__name__})",
            where=where,
            fix="give Client a larger timeout, or on_progress for a long text",
            code=_TIMEOUT,
        ) from error
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise ServerError(
            f"the server can't be reached ({error})",
            where=where,
            fix="check the address, and that komrc serve runs there",
            code=_UNREACHABLE,
        ) from error
