"""A typed client for the server of ``komrc serve``: ``Client`` and, for asyncio, ``AsyncClient``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self, TypedDict, Unpack

import httpx

from komrc.client_replies import (
    Progress,
    ServerState,
    answers_in,
    answers_of_line,
    cut_off,
    document_answers,
    error_in,
    hits_in,
    state_in,
    translated_errors,
)
from komrc.errors import InputError
from komrc.types import Answer

if TYPE_CHECKING:
    from komrc.asking import DocumentAnswer
    from komrc.index import Hit

DEFAULT_URL = "http://localhost:8888"
DEFAULT_TIMEOUT = 60.0  # seconds without a byte from the server

_ANSWERS, _ASK, _SEARCH, _READY = "v1/answers", "v1/ask", "v1/search", "ready"
_STREAM = "application/x-ndjson"


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
        with translated_errors(self._http.base_url):
            if on_progress is None:
                return answers_in(self._http.post(_ANSWERS, content=body))
            with self._http.stream("POST", _ANSWERS, content=body, headers={"accept": _STREAM}) as response:
                if response.is_error:
                    response.read()
                    raise error_in(response)
                for line in response.iter_lines():
                    if (answers := answers_of_line(line, on_progress)) is not None:
                        return answers
        raise cut_off()

    def ask(self, question: str, **options: Unpack[AskOptions]) -> list[DocumentAnswer]:
        """The best answers from the server's index of documents, best first, as ``Reader.ask`` gives them.

        Args:
            question: the question.
            options: see ``AskOptions``.

        Raises InputError for a question that the server can't read, ServerError as ``answer`` does; its code
        is "no_index" if the server has no index.
        """
        body = _encoded({"question": question, **options})
        with translated_errors(self._http.base_url):
            return document_answers(self._http.post(_ASK, content=body))

    def search(self, query: str, *, top_k: int = 10) -> list[Hit]:
        """The passages of the server's index that match best, the best first. Errors: see ``ask``."""
        body = _encoded({"query": query, "top_k": top_k})
        with translated_errors(self._http.base_url):
            return hits_in(self._http.post(_SEARCH, content=body))

    def health(self) -> ServerState:
        """Whether the server takes work: "ready", "loading" or "draining" (it is shutting down).

        Raises ServerError where it can't be reached.
        """
        with translated_errors(self._http.base_url):
            return state_in(self._http.get(_READY))

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
        with translated_errors(self._http.base_url):
            if on_progress is None:
                return answers_in(await self._http.post(_ANSWERS, content=body))
            async with self._http.stream(
                "POST", _ANSWERS, content=body, headers={"accept": _STREAM}
            ) as response:
                if response.is_error:
                    await response.aread()
                    raise error_in(response)
                async for line in response.aiter_lines():
                    if (answers := answers_of_line(line, on_progress)) is not None:
                        return answers
        raise cut_off()

    async def ask(self, question: str, **options: Unpack[AskOptions]) -> list[DocumentAnswer]:
        """See ``Client.ask``."""
        body = _encoded({"question": question, **options})
        with translated_errors(self._http.base_url):
            return document_answers(await self._http.post(_ASK, content=body))

    async def search(self, query: str, *, top_k: int = 10) -> list[Hit]:
        """See ``Client.search``."""
        body = _encoded({"query": query, "top_k": top_k})
        with translated_errors(self._http.base_url):
            return hits_in(await self._http.post(_SEARCH, content=body))

    async def health(self) -> ServerState:
        """See ``Client.health``."""
        with translated_errors(self._http.base_url):
            return state_in(await self._http.get(_READY))

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
