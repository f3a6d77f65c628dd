"""Routes of the server's index: ask, search, a document's text, what the index contains, adding a file."""

from __future__ import annotations

import asyncio
from pathlib import PurePath
from typing import Annotated

from fastapi import Body, FastAPI, Query, Request

from komrc.asking import DocumentAnswer
from komrc.documents.kinds import KINDS
from komrc.index import Hit, Passage
from komrc.index.uploads import Uploaded
from komrc.serving.document_service import AskResult
from komrc.serving.guard import UPLOAD_PATH
from komrc.serving.schemas import (
    AskRequest,
    AskResponse,
    DocumentAnswerView,
    DocumentPart,
    DocumentPlace,
    IndexResponse,
    PassageView,
    SearchHit,
    SearchRequest,
    SearchResponse,
    SearchTiming,
    SpanView,
    UnreadFile,
    UploadLimits,
    UploadResponse,
    error_responses,
)
from komrc.serving.spans import Utf16Offsets
from komrc.serving.state import AppState

_TAG = "Documents"
_ERRORS = {**error_responses(), **error_responses(404)}
_AROUND, _MOST_AROUND = 2_000, 20_000  # characters on each side
_LAST = 2**31 - 1
_UNREAD_SHOWN = 20


def add_document_routes(app: FastAPI, state: AppState) -> None:
    """Add the routes."""

    @app.post("/v1/ask", tags=[_TAG], response_model=AskResponse, responses=_ERRORS)
    async def ask(body: Annotated[AskRequest, Body()]) -> AskResponse:
        """Answers to a question from the documents of the index, each with its place."""
        clock = asyncio.get_running_loop().time
        began = clock()
        result = await state.require_index().ask(
            body.question, top_k=body.top_k, passages=body.passages, allow_no_answer=body.allow_no_answer
        )
        return _to_response(result, clock() - began)

    @app.post("/v1/search", tags=[_TAG], response_model=SearchResponse, responses=_ERRORS)
    async def search(body: Annotated[SearchRequest, Body()]) -> SearchResponse:
        """The passages of the index that match best, without reading them."""
        return _to_hits(await state.require_index().search(body.query, body.top_k))

    @app.get(
        "/v1/documents/text",
        tags=[_TAG],
        response_model=DocumentPart,
        responses=error_responses(401, 404, 422, 503),
    )
    async def document_text(
        document: Annotated[str, Query(min_length=1, description="the document's id")],
        start: Annotated[int, Query(ge=0, le=_LAST, description="code points")] = 0,
        end: Annotated[int, Query(ge=0, le=_LAST, description="code points; 0: start")] = 0,
        around: Annotated[
            int, Query(ge=0, le=_MOST_AROUND, description="characters in front of start and after end")
        ] = _AROUND,
    ) -> DocumentPart:
        """The extracted text of a document of the index around a place."""
        text = await state.require_index().document_text(document)
        return _part(document, text, start, max(start, end), around)

    @app.get("/v1/index", tags=[_TAG], response_model=IndexResponse, responses=error_responses(401, 503))
    async def index() -> IndexResponse:
        """What the index contains, and what may be added to it."""
        if state.options.index is None:
            return IndexResponse(available=False)
        info = await state.require_index().info()
        return IndexResponse(
            available=True,
            files=info.files,
            documents=info.documents,
            passages=info.passages,
            characters=info.characters,
            upload=_upload_limits(state) if state.options.allow_upload else None,
        )

    @app.post(
        UPLOAD_PATH,
        tags=[_TAG],
        response_model=UploadResponse,
        responses={**_ERRORS, **error_responses(507)},
        openapi_extra={
            "requestBody": {
                "required": True,
                "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
            }
        },
    )
    async def add_document(
        request: Request,
        name: Annotated[str, Query(min_length=1, max_length=1_000, description="the file's name: a label")],
    ) -> UploadResponse:
        """Add a file to the index. The body is the file; one of the same name is replaced.

        Only for servers that were started with --allow-upload.
        """
        service = state.require_index()
        return _uploaded(*await service.add(name, await request.body()))


def _to_response(result: AskResult, seconds: float) -> AskResponse:
    answers = result.answers
    return AskResponse(
        answers=[_answer(answer) for answer in answers],
        no_answer=not answers or not answers[0].text,
        passages=result.passages,
        timing_ms=SearchTiming(
            search=round(result.search_seconds * 1000, 3),
            read=round(result.read_seconds * 1000, 3),
            total=round(seconds * 1000, 3),
        ),
    )


def _answer(answer: DocumentAnswer) -> DocumentAnswerView:
    passage = answer.passage
    return DocumentAnswerView(
        text=answer.text,
        score=answer.score,
        document=answer.document,
        start=answer.start,
        end=answer.end,
        page=answer.page,
        line=answer.line,
        sentence=answer.sentence,
        sentence_start=answer.sentence_start,
        passage=None if passage is None else _passage(passage),
        in_passage=None if passage is None else _in_passage(answer, passage),
        also=[DocumentPlace(**place.to_dict()) for place in answer.also],
    )


def _in_passage(answer: DocumentAnswer, passage: Passage) -> SpanView:
    start, end = answer.start - passage.start, answer.end - passage.start
    utf16 = Utf16Offsets(passage.text)
    return SpanView(
        text=answer.text,
        start=start,
        end=end,
        start_utf16=utf16.offset(start),
        end_utf16=utf16.offset(end),
    )


def _passage(passage: Passage) -> PassageView:
    return PassageView(**{name: getattr(passage, name) for name in PassageView.model_fields})


def _to_hits(hits: list[Hit]) -> SearchResponse:
    return SearchResponse(hits=[SearchHit(score=hit.score, passage=_passage(hit.passage)) for hit in hits])


def _part(document: str, text: str, start: int, end: int, around: int) -> DocumentPart:
    """The text around a place; of a place longer than ``_MOST_AROUND`` its beginning."""
    first = max(0, min(start, len(text)) - around)
    last = min(len(text), min(end, start + _MOST_AROUND) + around)
    return DocumentPart(
        document=document,
        text=text[first:last],
        start=first,
        end=max(first, last),
        line=1 + text.count("\n", 0, first),
        characters=len(text),
    )


def _upload_limits(state: AppState) -> UploadLimits:
    return UploadLimits(
        max_bytes=state.options.max_upload_bytes,
        max_files=state.options.max_uploads,
        endings=[ending for kind in KINDS for ending in kind.endings if ending],
    )


def _uploaded(label: str, uploaded: Uploaded) -> UploadResponse:
    """Reasons may name the file's path on the server: the client gets its label."""

    def named(source: str, reason: str) -> UnreadFile:
        return UnreadFile(
            name=label, reason=reason.replace(source, label).replace(PurePath(source).name, label)
        )

    changes = uploaded.changes
    return UploadResponse(
        name=label,
        documents=uploaded.documents,
        added=changes.added,
        replaced=changes.replaced,
        removed=changes.removed,
        unread=[named(one.source, one.reason) for one in changes.unread[:_UNREAD_SHOWN]],
    )
