"""A typed client for the server of ``komrc serve``: ``Client`` and, for asyncio, ``AsyncClient``."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, Self, TypedDict, Unpack, cast, get_args

import httpx

from komrc.errors import InputError, KomrcError, ServerError
from komrc.types import Answer, Span

if TYPE_CHECKING:
    from komrc.asking import DocumentAnswer
    from komrc.index import Hit, Passage

DEFAULT_URL = "http://localhost:8888"
DEFAULT_TIMEOUT = 60.0  # seconds without a byte from the server

ServerState = Literal["ready", "loading", "draining"]
Progress = Callable[[int, int], None]
"""Called with the number of windows that are done and the number of all windows."""

_ANSWERS, _ASK, _SEARCH, _READY = "v1/answers", "v1/ask", "v1/search", "ready"
_ANSWER_FIELDS = ("text", "document", "start", "end", "page", "line", "score", "sentence", "sentence_start")
_STREAM = "application/x-ndjson"
_TIMEOUT, _UNREACHABLE, _FOREIGN = "timeout", "unreachable", "protocol"  # codes of errors without a reply


class AnswerOptions(TypedDict, total=False):
    """The keyword arguments of ``answer`` and ``answer_many``.

    top_k: answers to return; 1 or more, 1 if left out.
    distinct: leave out an answer that shares a character with a better one; False if left out.
    allow_no_answer: whether the empty answer may be the best one; None: as the model was trained.
    max_answer_tokens: tokens of an answer at most; None: the model's own setting.
    exhaustive: read all of a long text; False if left out, see ``Reader.read``.
    on_progress: called after each batch of windows, for long texts. The server then has no limit on the
        whole time of the request.
    """

    top_k: int
    distinct: bool
    allow_no_answer: bool | None
    max_answer_tokens: int | None
    exhaustive: bool
    on_progress: Progress | None


class AskOptions(TypedDict, total=False):
    """The keyword arguments of ``ask``.

    top_k: answers to return; 1 or more, 5 if left out.
    passages: passages that the search gives; 1 or more, 10 if left out.
    allow_no_answer: whether "not in the documents" may be the best answer; None: as the model was trained.
    """

    top_k: int
    passages: int
    allow_no_answer: bool | None


class Client:
    """Asks a KoMRC server.

    Args:
        url: the address of the server, with its path where a proxy puts it below one.
        api_key: the key of ``komrc serve --api-key``.
        timeout: seconds to wait for a connection, and between two parts of a reply.
        transport: httpx's transport, for tests and special networks.

    Use it in a ``with`` block, or call ``close``. One object may be used by several threads.
    """

    def __init__(
        self,
        url: str = DEFAULT_URL,
        *,
        api_key: str | None = None,
        timeout: float = DEFAULT_TIMEOUT,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._http = httpx.Client(**_options(url, api_key, timeout), transport=transport)

    def answer(
        self,
        question: str,
        context: str,
        **options: Unpack[AnswerOptions],
    ) -> list[Answer]:
        """The best answers, best first, as ``Reader.read`` gives them.

        Args:
            question: the question.
            context: the text that may contain the answer.
            options: see ``AnswerOptions``.

        Raises InputError for a question or context that the server can't read, ServerError for a server that
        can't be reached, refuses the request or fails.
        """
        (answers,) = self.answer_many(question, context, **options)
        return answers

    def answer_many(
        self,
        question: str | Sequence[str],
        context: str | Sequence[str],
        **options: Unpack[AnswerOptions],
    ) -> list[list[Answer]]:
        """The answers to several questions on one context, or to one question on several contexts.

        The lists are in the order of the questions or contexts. Arguments and errors: see ``answer``.
        """
        body, on_progress = _request(question, context, **options)
        with _translated_errors(self._http.base_url):
            if on_progress is None:
                return _answers(self._http.post(_ANSWERS, content=body))
            with self._http.stream("POST", _ANSWERS, content=body, headers={"accept": _STREAM}) as response:
                if response.is_error:
                    response.read()
                    raise _error(response)
                for line in response.iter_lines():
                    if (answers := _answers_of_line(line, on_progress)) is not None:
                        return answers
        raise _cut_off()

    def ask(self, question: str, **options: Unpack[AskOptions]) -> list[DocumentAnswer]:
        """The best answers from the server's index of documents, best first, as ``Reader.ask`` gives them.

        Args:
            question: the question.
            options: see ``AskOptions``.

        Raises InputError for a question that the server can't read, ServerError as ``answer`` does; its code
        is "no_index" if the server has no index.
        """
        body = _encoded({"question": question, **options})
        with _translated_errors(self._http.base_url):
            return _document_answers(self._http.post(_ASK, content=body))

    def search(self, query: str, *, top_k: int = 10) -> list[Hit]:
        """The passages of the server's index that match best, the best first. Errors: see ``ask``."""
        body = _encoded({"query": query, "top_k": top_k})
        with _translated_errors(self._http.base_url):
            return _hits(self._http.post(_SEARCH, content=body))

    def health(self) -> ServerState:
        """Whether the server takes work: "ready", "loading" or "draining" (it is shutting down).

        Raises ServerError where it can't be reached.
        """
        with _translated_errors(self._http.base_url):
            return _state(self._http.get(_READY))

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Client({str(self._http.base_url)!r})"


class AsyncClient:
    """``Client`` for asyncio. Arguments, results and errors are the same; use it in an ``async with`` block,
    or await ``close``."""

    def __init__(
        self,
        url: str = DEFAULT_URL,
        *,
        api_key: str | None = None,
        timeout: float = DEFAULT_TIMEOUT,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._http = httpx.AsyncClient(**_options(url, api_key, timeout), transport=transport)

    async def answer(
        self,
        question: str,
        context: str,
        **options: Unpack[AnswerOptions],
    ) -> list[Answer]:
        """See ``Client.answer``."""
        (answers,) = await self.answer_many(question, context, **options)
        return answers

    async def answer_many(
        self,
        question: str | Sequence[str],
        context: str | Sequence[str],
        **options: Unpack[AnswerOptions],
    ) -> list[list[Answer]]:
        """See ``Client.answer_many``."""
        body, on_progress = _request(question, context, **options)
        with _translated_errors(self._http.base_url):
            if on_progress is None:
                return _answers(await self._http.post(_ANSWERS, content=body))
            async with self._http.stream(
                "POST", _ANSWERS, content=body, headers={"accept": _STREAM}
            ) as response:
                if response.is_error:
                    await response.aread()
                    raise _error(response)
                async for line in response.aiter_lines():
                    if (answers := _answers_of_line(line, on_progress)) is not None:
                        return answers
        raise _cut_off()

    async def ask(self, question: str, **options: Unpack[AskOptions]) -> list[DocumentAnswer]:
        """See ``Client.ask``."""
        body = _encoded({"question": question, **options})
        with _translated_errors(self._http.base_url):
            return _document_answers(await self._http.post(_ASK, content=body))

    async def search(self, query: str, *, top_k: int = 10) -> list[Hit]:
        """See ``Client.search``."""
        body = _encoded({"query": query, "top_k": top_k})
        with _translated_errors(self._http.base_url):
            return _hits(await self._http.post(_SEARCH, content=body))

    async def health(self) -> ServerState:
        """See ``Client.health``."""
        with _translated_errors(self._http.base_url):
            return _state(await self._http.get(_READY))

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"AsyncClient({str(self._http.base_url)!r})"


# --- requests ----------------------------------------------------------------------------------------------


def _options(url: str, api_key: str | None, timeout: float) -> dict[str, Any]:
    headers = {"accept": "application/json", "content-type": "application/json"}
    if api_key is not None:
        headers["authorization"] = f"Bearer {api_key}"
    return {"base_url": url, "headers": headers, "timeout": timeout}


def _request(
    question: str | Sequence[str],
    context: str | Sequence[str],
    *,
    top_k: int = 1,
    distinct: bool = False,
    allow_no_answer: bool | None = None,
    max_answer_tokens: int | None = None,
    exhaustive: bool = False,
    on_progress: Progress | None = None,
) -> tuple[bytes, Progress | None]:
    """The JSON body of a request, UTF-8, and the function to call with its progress. Raises InputError."""
    values = {
        "question": question if isinstance(question, str) else list(question),
        "context": context if isinstance(context, str) else list(context),
        "top_k": top_k,
        "distinct": distinct,
        "allow_no_answer": allow_no_answer,
        "max_answer_tokens": max_answer_tokens,
    }
    if exhaustive:  # left out otherwise, for servers of before it
        values["exhaustive"] = True
    return _encoded(values), on_progress


def _encoded(values: Mapping[str, Any]) -> bytes:
    """A JSON body, UTF-8. Raises InputError."""
    try:
        return json.dumps(values, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise InputError(
            "the text contains half of a surrogate pair", fix="decode it as UTF-8 or UTF-16 again"
        ) from error
    except (TypeError, ValueError) as error:
        raise InputError(f"the question and its context must be text ({error})") from error


# --- replies -----------------------------------------------------------------------------------------------


def _answers(response: httpx.Response) -> list[list[Answer]]:
    """The answers in a whole reply. Raises the error that it reports."""
    if response.is_error:
        raise _error(response)
    with _parsing():
        return _answers_in(response.json())


def _answers_of_line(line: str, on_progress: Progress) -> list[list[Answer]] | None:
    """The answers, if this line of a streamed reply contains them. Raises the error that it reports."""
    progress: tuple[int, int] | None = None
    with _parsing():
        value = json.loads(line)
        if "result" in value:
            return _answers_in(value["result"])
        if "failure" in value:
            failure = value["failure"]
            raise _error_of(failure["code"], failure["error"], failure.get("field"))
        progress = int(value["progress"]["done"]), int(value["progress"]["total"])
    on_progress(*progress)
    return None


def _answers_in(value: Mapping[str, Any]) -> list[list[Answer]]:
    return [[_answer(entry) for entry in result["answers"]] for result in value["results"]]


def _answer(value: Mapping[str, Any]) -> Answer:
    whole = value["untrimmed"]
    untrimmed = Span(whole["start"], whole["end"]) if whole else None
    return Answer(value["text"], value["start"], value["end"], value["score"], untrimmed)


def _document_answers(response: httpx.Response) -> list[DocumentAnswer]:
    """The answers in a reply of /v1/ask. Raises the error that it reports."""
    from komrc.asking import DocumentAnswer, Place

    if response.is_error:
        raise _error(response)
    with _parsing():
        return [
            DocumentAnswer(
                passage=None if value["passage"] is None else _passage(value["passage"]),
                also=tuple(Place(**place) for place in value["also"]),
                **{name: value[name] for name in _ANSWER_FIELDS},
            )
            for value in response.json()["answers"]
        ]


def _hits(response: httpx.Response) -> list[Hit]:
    """The passages in a reply of /v1/search. Raises the error that it reports."""
    from komrc.index import Hit

    if response.is_error:
        raise _error(response)
    with _parsing():
        return [Hit(_passage(value["passage"]), value["score"]) for value in response.json()["hits"]]


def _passage(value: Mapping[str, Any]) -> Passage:
    from komrc.index import Passage

    return Passage(**{name: value[name] for name in Passage.__dataclass_fields__})


def _state(response: httpx.Response) -> ServerState:
    """The state in a reply of /ready, which is 503 for two of the three."""
    with _parsing():
        value = response.json()
        if value.get("status") in get_args(ServerState):
            return cast(ServerState, value["status"])
    raise _error(response)


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


def _error(response: httpx.Response) -> KomrcError:
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


def _cut_off() -> ServerError:
    return ServerError("the reply ended before the answers came", fix="ask again", code=_UNREACHABLE)


@contextmanager
def _translated_errors(url: httpx.URL) -> Iterator[None]:
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
