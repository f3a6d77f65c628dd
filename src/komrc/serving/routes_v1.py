"""KoMRC's own routes: ``/v1/answers``, ranked and streamed, and ``/v1/samples`` for the page."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any

from fastapi import Body, FastAPI, Request
from fastapi.responses import StreamingResponse

from komrc.data import load_squad
from komrc.errors import InputError
from komrc.html import HtmlView
from komrc.models import hub
from komrc.serving import html_contexts
from komrc.serving.answer_service import AnswerOptions, AnswerService, LocatedPair, RequestResult
from komrc.serving.errors import body_of_exception
from komrc.serving.schemas import (
    AnswersRequest,
    AnswersResponse,
    PairAnswers,
    RankedAnswer,
    Sample,
    SpanView,
    Timing,
    error_responses,
)
from komrc.serving.spans import Utf16Offsets
from komrc.serving.state import AppState
from komrc.text.sentences import sentence_around
from komrc.types import Answer, Span

_STREAM = "application/x-ndjson"
_SAMPLES = 6  # passages of /v1/samples


def add_v1_routes(app: FastAPI, state: AppState) -> None:
    """Add the routes."""

    @app.post(
        "/v1/answers",
        tags=["KoMRC"],
        response_model=AnswersResponse,
        responses={
            **error_responses(),
            200: {
                "description": "The answers. With `Accept: application/x-ndjson`, a line "
                '`{"progress": {"done", "total"}}` for each batch, then a line `{"result": …}`, or, if '
                'something fails, `{"failure": {"code", "error"}}`',
                "content": {_STREAM: {"schema": {"type": "string"}}},
            },
        },
    )
    async def answers(request: Request, body: Annotated[AnswersRequest, Body()]) -> Any:
        """Ranked answers to several questions on one context, or to one question on several contexts."""
        pairs, places = _combine(body)
        service = state.require_ready()
        pages: list[HtmlView] = []
        if body.format == "html":
            pages = await asyncio.to_thread(html_contexts.pages_of, pairs, places, state.options)
            pairs = html_contexts.texts_of(pairs, places, pages)
        options = AnswerOptions(
            top_k=body.top_k,
            no_answer=body.allow_no_answer,
            max_answer_tokens=body.max_answer_tokens,
            distinct=body.distinct,
            exhaustive=body.exhaustive,
        )
        if _STREAM in request.headers.get("accept", ""):
            return StreamingResponse(_stream(service, pairs, places, options, pages), media_type=_STREAM)
        return _to_response(pairs, places, pages, *await _timed(service, pairs, options, None))

    @app.get("/v1/samples", tags=["KoMRC"], response_model=list[Sample])
    async def samples() -> list[Sample]:
        """Passages to try the server on."""
        return await asyncio.to_thread(_samples)


async def _timed(
    service: AnswerService,
    pairs: list[LocatedPair],
    options: AnswerOptions,
    on_progress: Callable[[int, int], None] | None,
) -> tuple[RequestResult, float]:
    clock = asyncio.get_running_loop().time
    began = clock()
    result = await service.answer(pairs, options, on_progress)
    return result, clock() - began


async def _stream(
    service: AnswerService,
    pairs: list[LocatedPair],
    places: list[tuple[int, int]],
    options: AnswerOptions,
    pages: list[HtmlView],
) -> AsyncIterator[bytes]:
    """Lines of progress, then the result. The status is already sent, so an error is a line too."""
    lines: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()

    def progress(done: int, total: int) -> None:
        lines.put_nowait({"progress": {"done": done, "total": total}})

    async def run() -> None:
        try:
            result, seconds = await _timed(service, pairs, options, progress)
            response = await asyncio.to_thread(_to_response, pairs, places, pages, result, seconds)
            lines.put_nowait({"result": response.model_dump()})
        except Exception as error:
            lines.put_nowait({"failure": json.loads(body_of_exception(error).body())})
        finally:
            lines.put_nowait(None)

    task = asyncio.ensure_future(run())
    try:
        while (line := await lines.get()) is not None:
            yield json.dumps(line, ensure_ascii=False).encode() + b"\n"
    finally:
        task.cancel()


def _combine(body: AnswersRequest) -> tuple[list[LocatedPair], list[tuple[int, int]]]:
    """The pairs of a request, and the index of the question and context of each."""
    questions = [body.question] if isinstance(body.question, str) else body.question
    contexts = [body.context] if isinstance(body.context, str) else body.context
    if len(questions) > 1 and len(contexts) > 1:
        raise InputError(
            "several questions on several contexts are not understood",
            where="question",
            fix="send several questions on one context, or one question on several contexts",
        )
    places = [(q, c) for q in range(len(questions)) for c in range(len(contexts))]

    def at(name: str, value: str | list[str], index: int) -> str:
        return name if isinstance(value, str) else f"{name}[{index}]"

    return [
        LocatedPair(
            questions[q], contexts[c], at("question", body.question, q), at("context", body.context, c)
        )
        for q, c in places
    ], places


def _to_response(
    pairs: list[LocatedPair],
    places: list[tuple[int, int]],
    pages: list[HtmlView],
    result: RequestResult,
    seconds: float,
) -> AnswersResponse:
    """The response. ``pages``: the contexts' pages if they are HTML, else empty."""
    units: dict[int, Utf16Offsets] = {}  # one for each context
    results = []
    for (_, context, *_), (q, c), answers, cached in zip(
        pairs, places, result.answers, result.cached, strict=True
    ):
        page = pages[c] if pages else None
        if c not in units:
            units[c] = Utf16Offsets(page.html if page else context)
        results.append(
            PairAnswers(
                question_index=q,
                context_index=c,
                no_answer=not answers or not answers[0].text,
                answers=[_to_ranked(context, units[c], answer, page) for answer in answers],
                cached=cached,
            )
        )
    timing = {name: round(value * 1000, 3) for name, value in result.seconds.items()}
    return AnswersResponse(
        results=results,
        windows=result.windows,
        tokens=result.tokens,
        timing_ms=Timing(**timing, total=round(seconds * 1000, 3)),
    )


def _to_ranked(context: str, utf16: Utf16Offsets, answer: Answer, page: HtmlView | None) -> RankedAnswer:
    def view(span: Span) -> SpanView:
        start, end = span.start, span.end
        if page is not None and start < end:
            start, end = page.to_html(start, end)
        return SpanView(
            text=(context if page is None else page.html)[start:end],
            start=start,
            end=end,
            start_utf16=utf16.offset(start),
            end_utf16=utf16.offset(end),
        )

    span = Span(answer.start, answer.end)
    return RankedAnswer(
        **view(span).model_dump(),
        score=answer.score,
        untrimmed=view(answer.untrimmed) if answer.untrimmed else None,
        sentence=view(sentence_around(context, span)) if answer.text else None,
        plain_text=None if page is None else answer.text,
    )


def _samples() -> list[Sample]:
    """The first passages of the bundled dev set; empty if the package has no sample."""
    path = hub.sample_data("dev")
    if not path.is_file():
        return []
    samples: dict[str, Sample] = {}
    for example in load_squad(path):
        sample = samples.get(example.context)
        if sample is None:
            if len(samples) == _SAMPLES:
                continue
            sample = samples[example.context] = Sample(
                title=example.title, context=example.context, questions=[]
            )
        sample.questions.append(example.question)
    return list(samples.values())
