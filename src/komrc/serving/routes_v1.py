"""The routes that read: those of 2020 and Hugging Face's, and KoMRC's own /v1/answers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any

from fastapi import Body, FastAPI, Request
from fastapi.responses import StreamingResponse

from komrc.errors import InputError
from komrc.serving.answering import Answering, Asked, Outcome, Wishes
from komrc.serving.gate import failure_of_any
from komrc.serving.schemas import (
    AnswersRequest,
    AnswersResponse,
    ForwardAnswer,
    ForwardRequest,
    ForwardResponse,
    Pair,
    PairAnswers,
    Place,
    PredictParameters,
    PredictRequest,
    RankedAnswer,
    Timing,
)
from komrc.serving.service import REFUSALS, Service, only
from komrc.serving.texts import Utf16, sentence_around
from komrc.types import Answer, Span

_STREAM = "application/x-ndjson"
_PREDICT_NAMES = {  # a setting's name -> that of the parameter
    "top_k": "top_k",
    "max_answer_tokens": "max_answer_len",
    "max_seq_length": "max_seq_len",
    "max_query_length": "max_question_len",
    "window_overlap": "doc_stride",
}


def add_reading(app: FastAPI, service: Service) -> None:
    """Add the routes."""
    _add_forward(app, service)
    _add_predict(app, service)
    _add_answers(app, service)


def _add_forward(app: FastAPI, service: Service) -> None:
    @app.post("/forward", tags=["2020"], response_model=ForwardResponse, responses=only(*REFUSALS))
    async def forward(body: ForwardRequest) -> ForwardResponse:
        """The best answer to each question."""
        pairs, single = _pairs(body.inputs)
        outcome = await service.work().answer(pairs, Wishes())
        output = [ForwardAnswer(**_best(answers)) for answers in outcome.answers]
        return ForwardResponse(output=output[0] if single else output)


def _add_predict(app: FastAPI, service: Service) -> None:
    async def predict(body: PredictRequest) -> Any:
        """Hugging Face's question answering: an answer for each input, a list where ``top_k`` is above 1."""
        pairs, single = _pairs(body.inputs)
        wanted = body.parameters or PredictParameters()
        top_k = wanted.top_k or wanted.topk or 1
        names = {own: f"parameters.{sent}" for own, sent in _PREDICT_NAMES.items()}
        if wanted.top_k is None and wanted.topk is not None:
            names["top_k"] = "parameters.topk"
        wishes = Wishes(
            top_k=top_k,
            no_answer=wanted.handle_impossible_answer,
            max_answer_tokens=wanted.max_answer_len,
            max_seq_length=wanted.max_seq_len,
            max_query_length=wanted.max_question_len,
            window_overlap=wanted.doc_stride,
            distinct=bool(wanted.distinct),
            whole_words=bool(wanted.align_to_words),
            names=names,
        )
        outcome = await service.work().answer(pairs, wishes)
        output: list[Any] = [
            _best(answers) if top_k == 1 else [_flat(a) for a in answers] for answers in outcome.answers
        ]
        return output[0] if single else output

    response = ForwardAnswer | list[ForwardAnswer | list[ForwardAnswer]]
    add = app.post("/predict", tags=["Hugging Face"], response_model=response, responses=only(*REFUSALS))
    add(predict)
    # A client that is given the server's bare address posts there.
    app.post("/", response_model=response, include_in_schema=False)(predict)


def _add_answers(app: FastAPI, service: Service) -> None:
    @app.post(
        "/v1/answers",
        tags=["KoMRC"],
        response_model=AnswersResponse,
        responses={
            **only(*REFUSALS),
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
        wishes = Wishes(
            top_k=body.top_k,
            no_answer=body.allow_no_answer,
            max_answer_tokens=body.max_answer_tokens,
            distinct=body.distinct,
        )
        work = service.work()
        if _STREAM in request.headers.get("accept", ""):
            return StreamingResponse(_stream(work, pairs, places, wishes), media_type=_STREAM)
        return _rich(pairs, places, *await _timed(work, pairs, wishes, None))


async def _timed(
    work: Answering, pairs: list[Asked], wishes: Wishes, on_progress: Callable[[int, int], None] | None
) -> tuple[Outcome, float]:
    clock = asyncio.get_running_loop().time
    began = clock()
    outcome = await work.answer(pairs, wishes, on_progress)
    return outcome, clock() - began


async def _stream(
    work: Answering, pairs: list[Asked], places: list[tuple[int, int]], wishes: Wishes
) -> AsyncIterator[bytes]:
    """Progress as it comes, then the result. The status is sent before: what fails comes as a line."""
    lines: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()

    def progress(done: int, total: int) -> None:
        lines.put_nowait({"progress": {"done": done, "total": total}})

    async def run() -> None:
        try:
            outcome, seconds = await _timed(work, pairs, wishes, progress)
            result = await asyncio.to_thread(_rich, pairs, places, outcome, seconds)
            lines.put_nowait({"result": result.model_dump()})
        except Exception as error:
            failure = failure_of_any(error)
            lines.put_nowait({"failure": json.loads(failure.body())})
        finally:
            lines.put_nowait(None)

    task = asyncio.ensure_future(run())
    try:
        while (line := await lines.get()) is not None:
            yield json.dumps(line, ensure_ascii=False).encode() + b"\n"
    finally:
        task.cancel()


def _pairs(inputs: Pair | list[Pair]) -> tuple[list[Asked], bool]:
    """The pairs asked for, and whether it is one that is not in a list."""

    def asked(pair: Pair, place: str) -> Asked:
        return Asked(pair.question, pair.context, f"{place}.question", f"{place}.context")

    if isinstance(inputs, Pair):
        return [asked(inputs, "inputs")], True
    return [asked(pair, f"inputs[{n}]") for n, pair in enumerate(inputs)], False


def _combine(body: AnswersRequest) -> tuple[list[Asked], list[tuple[int, int]]]:
    """The pairs asked for, and the index of each one's question and context."""
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
        Asked(questions[q], contexts[c], at("question", body.question, q), at("context", body.context, c))
        for q, c in places
    ], places


def _flat(answer: Answer) -> dict[str, Any]:
    return {"score": answer.score, "start": answer.start, "end": answer.end, "answer": answer.text}


def _best(answers: tuple[Answer, ...]) -> dict[str, Any]:
    """The best answer; the empty one where nothing in the context can be an answer."""
    return _flat(answers[0] if answers else Answer("", 0, 0, 0.0))


def _rich(
    pairs: list[Asked], places: list[tuple[int, int]], outcome: Outcome, seconds: float
) -> AnswersResponse:
    units: dict[int, Utf16] = {}  # one for each context
    results = []
    for (_, context, *_), (q, c), answers, cached in zip(
        pairs, places, outcome.answers, outcome.cached, strict=True
    ):
        utf16 = units.setdefault(c, Utf16(context)) if c not in units else units[c]
        results.append(
            PairAnswers(
                question_index=q,
                context_index=c,
                no_answer=not answers or not answers[0].text,
                answers=[_ranked(context, utf16, answer) for answer in answers],
                cached=cached,
            )
        )
    timing = {name: round(value * 1000, 3) for name, value in outcome.seconds.items()}
    return AnswersResponse(
        results=results,
        windows=outcome.windows,
        tokens=outcome.tokens,
        timing_ms=Timing(**timing, total=round(seconds * 1000, 3)),
    )


def _ranked(context: str, utf16: Utf16, answer: Answer) -> RankedAnswer:
    def place(span: Span) -> Place:
        return Place(
            text=context[span.start : span.end],
            start=span.start,
            end=span.end,
            start_utf16=utf16.offset(span.start),
            end_utf16=utf16.offset(span.end),
        )

    span = Span(answer.start, answer.end)
    return RankedAnswer(
        **place(span).model_dump(),
        score=answer.score,
        untrimmed=place(answer.untrimmed) if answer.untrimmed else None,
        sentence=place(sentence_around(context, span)) if answer.text else None,
    )
