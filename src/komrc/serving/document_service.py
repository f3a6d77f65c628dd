"""Answers from the index of a server: search, reading in the shared queue, and files that clients add."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from threading import Lock

from komrc.asking import DocumentAnswer, answers_from
from komrc.documents.limits import Limits
from komrc.errors import InputError
from komrc.index import Hit, uploads
from komrc.index.index import IndexInfo
from komrc.index.store import BusyError
from komrc.index.uploads import Uploaded
from komrc.reader import Prediction
from komrc.serving.answer_service import AnswerService, check_text
from komrc.serving.errors import index_busy, past_deadline, too_many_uploads
from komrc.serving.metrics import Metrics
from komrc.serving.options import ServeOptions
from komrc.serving.served_index import ServedIndex
from komrc.types import Example

_THREADS = 32  # a request that is being read waits in one for the engine
_WINDOWS_OF_PASSAGE = 2  # at most; nearly all have one
_UPLOAD_CHARACTERS = 5_000_000
_UPLOAD_UNPACKED_BYTES = 256 << 20
_UPLOAD_MEMORY_BYTES = 2 << 30
_RETRY_SECONDS = 0.2  # while another process writes


@dataclass(frozen=True, slots=True)
class AskResult:
    """Ranked answers, the number of passages that the search gave, and the seconds of each step."""

    answers: list[DocumentAnswer]
    passages: int
    search_seconds: float
    read_seconds: float


class DocumentService:
    """Serves one index on one event loop."""

    def __init__(
        self, index: ServedIndex, answers: AnswerService, options: ServeOptions, metrics: Metrics
    ) -> None:
        self._index = index
        self._answers = answers
        self._options = options
        self._metrics = metrics
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="komrc-ask")
        self._writing = ThreadPoolExecutor(1, thread_name_prefix="komrc-index")  # one file after the other

    async def close(self) -> None:
        """Stop the threads; requests that still wait are dropped."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._writing.shutdown(wait=False, cancel_futures=True)

    async def ask(
        self, question: str, *, top_k: int, passages: int, allow_no_answer: bool | None
    ) -> AskResult:
        """The best answers from the documents; see ``Reader.ask``.

        Raises:
            InputError: a text or a number beyond the server's limits.
            RejectedError: the queue is full, the time is up, or the index can't be used.
            Exception: the engine failed.
        """
        self._check_question(question, "question")
        _check_most(top_k, "top_k", self._options.max_top_k)
        _check_most(passages, "passages", self._options.max_passages)
        loop, limit = asyncio.get_running_loop(), self._options.request_timeout
        reader = _QueuedReader(self._answers, loop)
        try:
            async with asyncio.timeout(limit):
                with self._answers.admitted(passages, passages * _WINDOWS_OF_PASSAGE):
                    began = time.monotonic()
                    hits = await self._search(question, passages)
                    searched = time.monotonic()
                    read = partial(
                        answers_from, reader, question, hits, top_k=top_k, allow_no_answer=allow_no_answer
                    )
                    answers = await loop.run_in_executor(self._threads, read)
                    return AskResult(answers, len(hits), searched - began, time.monotonic() - searched)
        except TimeoutError:
            raise past_deadline(limit, kept=False) from None
        finally:
            reader.stop()

    async def search(self, query: str, top_k: int) -> list[Hit]:
        """The passages that match best. Raises InputError, RejectedError."""
        self._check_question(query, "query")
        _check_most(top_k, "top_k", self._options.max_passages)
        limit = self._options.request_timeout
        try:
            async with asyncio.timeout(limit):
                return await self._search(query, top_k)
        except TimeoutError:
            raise past_deadline(limit, kept=False) from None

    async def _search(self, question: str, top_k: int) -> list[Hit]:
        with self._metrics.search_seconds.time():
            return await asyncio.get_running_loop().run_in_executor(
                self._threads, self._index.search, question, top_k
            )

    async def document_text(self, document: str) -> str:
        """The text of a document of the index. Raises RejectedError."""
        return await asyncio.get_running_loop().run_in_executor(
            self._threads, self._index.document_text, document
        )

    async def info(self) -> IndexInfo:
        """How much the index contains. Raises RejectedError."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._index.info)

    async def add(self, name: str, content: bytes) -> tuple[str, Uploaded]:
        """Add a file to the index; returns its label and what has changed.

        Raises InputError for a name that can't be a file's, RejectedError if the index is full or another
        process is writing to it.
        """
        label = uploads.label_of(name)
        uploaded = await asyncio.get_running_loop().run_in_executor(self._writing, self._add, label, content)
        self._metrics.uploads.labels("unread" if uploaded.changes.unread else "indexed").inc()
        return label, uploaded

    def _add(self, label: str, content: bytes) -> Uploaded:
        options, folder = self._options, self._index.folder
        if uploads.count(folder) >= options.max_uploads and not uploads.has(folder, label):
            raise too_many_uploads(options.max_uploads)
        limits = Limits(
            file_bytes=options.max_upload_bytes,
            characters=_UPLOAD_CHARACTERS,
            unpacked_bytes=_UPLOAD_UNPACKED_BYTES,
            memory_bytes=_UPLOAD_MEMORY_BYTES,
            seconds=options.request_timeout,
        )
        deadline = time.monotonic() + options.request_timeout
        while True:
            try:
                return uploads.add(folder, label, content, limits)
            except BusyError as error:
                if time.monotonic() > deadline:
                    raise index_busy() from error
                time.sleep(_RETRY_SECONDS)

    def _check_question(self, text: str, field: str) -> None:
        check_text(text, field, self._options.max_question_chars)


class _QueuedReader:
    """The reader of the server for ``answers_from``: its windows run in the shared queue.

    ``read_examples`` is called on a thread and waits there; ``stop`` ends the waiting.
    """

    def __init__(self, answers: AnswerService, loop: asyncio.AbstractEventLoop) -> None:
        self.config = answers.reader.config
        self._answers = answers
        self._loop = loop
        self._lock = Lock()
        self._stopped = False
        self._running: Future[None] | None = None

    def read_examples(
        self, examples: Sequence[Example], *, top_k: int, allow_no_answer: bool | None
    ) -> list[Prediction]:
        """See ``Reader.read_examples``. Raises CancelledError after ``stop``."""
        reader = self._answers.reader
        encoded = reader.prepare(examples)
        with self._lock:
            running = asyncio.run_coroutine_threadsafe(self._answers.infer(encoded), self._loop)
            self._running = running
            if self._stopped:
                running.cancel()
        running.result()
        return reader.predict(encoded, top_k=top_k, allow_no_answer=allow_no_answer)

    def stop(self) -> None:
        """Take the windows that have not run yet out of the queue."""
        with self._lock:
            self._stopped = True
            if self._running is not None:
                self._running.cancel()


def _check_most(value: int, field: str, limit: int) -> None:
    if value > limit:
        raise InputError(f"{value} is too much", where=field, fix=f"ask for at most {limit}")
