"""The application and its routes: those of 2020, Hugging Face's, KoMRC's own, and the page."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib.resources import files
from typing import Annotated, Any

from fastapi import Body, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse, StreamingResponse
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

from komrc import __version__
from komrc.datasets import load_squad
from komrc.errors import InputError, KomrcError
from komrc.models import hub
from komrc.serving.answering import Answering, Outcome, Pairs, Wishes
from komrc.serving.errors import INTERNAL, Failure, failure_of_status, failure_of_validation, not_ready
from komrc.serving.gate import Gate, Readiness, failure_of_any
from komrc.serving.loading import Loaded
from komrc.serving.metrics import Metrics
from komrc.serving.open_inference import add_open_inference
from komrc.serving.options import ServeOptions
from komrc.serving.schemas import (
    AnswersRequest,
    AnswersResponse,
    DetokenizeRequest,
    DetokenizeResponse,
    ForwardAnswer,
    ForwardRequest,
    ForwardResponse,
    InfosResponse,
    Pair,
    PairAnswers,
    Place,
    PredictParameters,
    PredictRequest,
    RankedAnswer,
    Sample,
    StateResponse,
    Timing,
    TokenizeRequest,
    TokenizeResponse,
)
from komrc.serving.service import REFUSALS, Service, only
from komrc.serving.texts import Utf16, clean_up_tokenization, sentence_around, whole_words
from komrc.types import Answer, Span

logger = logging.getLogger("komrc.serving")

_PAGE = files("komrc.serving") / "page"
_SWAGGER = files("fastapi_offline") / "static"  # Swagger UI's files, so that /docs needs no other host
_SAMPLES = 6
_STREAM = "application/x-ndjson"


def create_app(
    options: ServeOptions,
    load: Callable[[ServeOptions], Loaded],
    *,
    readiness: Readiness | None = None,
    on_loaded: Callable[[Exception | None], None] | None = None,
) -> ASGIApp:
    """The server as an ASGI application; the model is loaded on a thread while it already listens.

    Args:
        load: gives the model.
        readiness: watched by whoever runs the server.
        on_loaded: called on the event loop once the model is loaded, or with what went wrong.
    """
    service = Service(options, readiness or Readiness(), Metrics())

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        loading = asyncio.ensure_future(_start(service, load, on_loaded))
        yield
        loading.cancel()
        if service.answering is not None:
            await service.answering.close()

    app = FastAPI(
        title="KoMRC",
        version=__version__,
        summary="Korean extractive question answering",
        description="Answers are pieces of the text, at exact characters. Every error has the same form.",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        responses={},
    )
    _handle_errors(app)
    _add_state_routes(app, service)
    _add_routes_of_2020(app, service)
    _add_predict(app, service)
    _add_answers(app, service)
    add_open_inference(app, service)
    _add_pages(app, service)
    gate: ASGIApp = Gate(app, options=options, readiness=service.readiness, metrics=service.metrics)
    if not options.cors_origin:
        return gate
    return CORSMiddleware(  # outermost: a page must be able to read refusals too
        gate,
        allow_origins=list(options.cors_origin),
        allow_methods=["GET", "POST"],
        allow_headers=["authorization", "content-type", "x-api-key"],
        max_age=600,
    )


async def _start(
    service: Service,
    load: Callable[[ServeOptions], Loaded],
    on_loaded: Callable[[Exception | None], None] | None,
) -> None:
    try:
        loaded = await _on_daemon_thread(load, service.options)
        service.answering = Answering(loaded.reader, service.options, service.metrics)
        service.infos = loaded.infos
        if service.readiness.state == "loading":
            service.readiness.state = "ready"
    except Exception as error:
        if on_loaded is None:
            logger.exception("the model can't be loaded")
        else:
            on_loaded(error)
    else:
        if on_loaded is not None:
            on_loaded(None)


async def _on_daemon_thread(load: Callable[[ServeOptions], Loaded], options: ServeOptions) -> Loaded:
    """Run ``load`` on a thread that does not keep the process alive when it is told to stop meanwhile."""
    from threading import Thread

    loop = asyncio.get_running_loop()
    result: asyncio.Future[Loaded] = loop.create_future()

    def settle(value: Loaded | None, error: Exception | None) -> None:
        if result.done():
            return
        if error is not None:
            result.set_exception(error)
        elif value is not None:
            result.set_result(value)

    def work() -> None:
        try:
            value, error = load(options), None
        except Exception as problem:
            value, error = None, problem
        if not loop.is_closed():
            loop.call_soon_threadsafe(settle, value, error)

    Thread(target=work, name="komrc-load", daemon=True).start()
    return await result


def _handle_errors(app: FastAPI) -> None:
    def respond(failure: Failure) -> Response:
        headers = {name.decode(): value.decode() for name, value in failure.headers()}
        return Response(failure.body(), failure.status, headers)

    async def ours(_: Request, error: Exception) -> Response:
        return respond(failure_of_any(error))

    async def invalid(_: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return respond(failure_of_validation(error.errors()))

    async def framework(_: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        response = respond(failure_of_status(error.status_code))
        response.headers.update(error.headers or {})
        return response

    async def unforeseen(_: Request, __: Exception) -> Response:
        return respond(INTERNAL)  # the gate gets the exception too, and logs it

    app.add_exception_handler(KomrcError, ours)
    app.add_exception_handler(Exception, unforeseen)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, framework)


def _add_state_routes(app: FastAPI, service: Service) -> None:
    @app.get("/health", tags=["state"], response_model=StateResponse)
    async def health() -> StateResponse:
        """Whether the process is alive."""
        return StateResponse(status="alive")

    @app.get(
        "/ready",
        tags=["state"],
        response_model=StateResponse,
        responses={503: {"model": StateResponse, "description": "Loading, or shutting down"}},
    )
    async def ready() -> JSONResponse:
        """Whether the server takes work: ``ready``, or 503 with ``loading`` or ``draining``."""
        state = service.readiness.state
        return JSONResponse({"status": state}, 200 if state == "ready" else 503)

    @app.get("/metrics", tags=["state"], response_class=PlainTextResponse, responses=only(401))
    async def metrics() -> Response:
        """Figures for Prometheus."""
        return Response(service.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")


def _add_routes_of_2020(app: FastAPI, service: Service) -> None:
    @app.get("/", tags=["2020"], response_model=InfosResponse, responses=only(401, 503))
    async def infos(request: Request) -> Response:
        """The model's configuration; to a browser, the page."""
        vary = {"vary": "accept"}
        if "text/html" in request.headers.get("accept", ""):
            return FileResponse(
                str(_PAGE / "index.html"), media_type="text/html; charset=utf-8", headers=vary
            )
        if service.infos is None:
            raise not_ready("loading")
        return JSONResponse({"infos": service.infos}, headers=vary)

    @app.post("/tokenize", tags=["2020"], response_model=TokenizeResponse, responses=only(*REFUSALS))
    async def tokenize(body: TokenizeRequest) -> TokenizeResponse:
        """A text's tokens, without special ones."""
        options = service.options
        if len(body.text_input) > options.max_context_chars:
            raise InputError(
                f"the text has {len(body.text_input)} characters",
                where="text_input",
                fix=f"send at most {options.max_context_chars}",
            )
        backend = service.work().reader.tokenizer.backend
        encoding = await asyncio.to_thread(backend.encode, body.text_input, add_special_tokens=False)
        return TokenizeResponse(tokens=encoding.tokens, tokens_ids=encoding.ids if body.return_ids else None)

    @app.post("/detokenize", tags=["2020"], response_model=DetokenizeResponse, responses=only(*REFUSALS))
    async def detokenize(body: DetokenizeRequest) -> DetokenizeResponse:
        """The text of token ids."""
        backend = service.work().reader.tokenizer.backend
        size = backend.get_vocab_size(with_added_tokens=True)
        if any(i >= size for i in body.tokens_ids):
            raise InputError(
                "an id is not in the vocabulary", where="tokens_ids", fix=f"send ids below {size}"
            )
        text = await asyncio.to_thread(
            backend.decode, body.tokens_ids, skip_special_tokens=body.skip_special_tokens
        )
        return DetokenizeResponse(
            text=clean_up_tokenization(text) if body.cleanup_tokenization_spaces else text
        )

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
        top_k = wanted.top_k or 1
        wishes = Wishes(
            top_k=top_k,
            no_answer=wanted.handle_impossible_answer,
            max_answer_tokens=wanted.max_answer_len,
            max_seq_length=wanted.max_seq_len,
            max_query_length=wanted.max_question_len,
            window_overlap=wanted.doc_stride,
        )
        outcome = await service.work().answer(pairs, wishes)
        output: list[Any] = []
        for (_, context), answers in zip(pairs, outcome.answers, strict=True):
            if wanted.align_to_words:
                answers = _aligned(context, answers)  # noqa: PLW2901
            output.append(_best(answers) if top_k == 1 else [_flat(a) for a in answers])
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
            top_k=body.top_k, no_answer=body.allow_no_answer, max_answer_tokens=body.max_answer_tokens
        )
        work = service.work()
        if _STREAM in request.headers.get("accept", ""):
            return StreamingResponse(_stream(work, pairs, places, wishes), media_type=_STREAM)
        return _rich(pairs, places, *await _timed(work, pairs, wishes, None))

    @app.get("/v1/samples", tags=["KoMRC"], response_model=list[Sample])
    async def samples() -> list[Sample]:
        """Passages to try the server on."""
        return await asyncio.to_thread(_samples)


async def _timed(
    work: Answering, pairs: Pairs, wishes: Wishes, on_progress: Callable[[int, int], None] | None
) -> tuple[Outcome, float]:
    clock = asyncio.get_running_loop().time
    began = clock()
    outcome = await work.answer(pairs, wishes, on_progress)
    return outcome, clock() - began


async def _stream(
    work: Answering, pairs: Pairs, places: list[tuple[int, int]], wishes: Wishes
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


def _add_pages(app: FastAPI, service: Service) -> None:  # noqa: ARG001
    @app.get("/docs", include_in_schema=False)
    async def docs() -> Response:
        return FileResponse(str(_PAGE / "docs.html"), media_type="text/html; charset=utf-8")

    @app.get("/favicon.ico", include_in_schema=False)
    async def icon() -> Response:
        return FileResponse(str(_PAGE / "icon.svg"), media_type="image/svg+xml")

    app.mount("/docs/assets", StaticFiles(directory=str(_SWAGGER)), name="docs")
    app.mount("/page", StaticFiles(directory=str(_PAGE)), name="page")


def _pairs(inputs: Pair | list[Pair]) -> tuple[list[tuple[str, str]], bool]:
    single = isinstance(inputs, Pair)
    listed = [inputs] if isinstance(inputs, Pair) else inputs
    return [(pair.question, pair.context) for pair in listed], single


def _combine(body: AnswersRequest) -> tuple[list[tuple[str, str]], list[tuple[int, int]]]:
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
    return [(questions[q], contexts[c]) for q, c in places], places


def _flat(answer: Answer) -> dict[str, Any]:
    return {"score": answer.score, "start": answer.start, "end": answer.end, "answer": answer.text}


def _best(answers: tuple[Answer, ...]) -> dict[str, Any]:
    """The best answer; the empty one where nothing in the context can be an answer."""
    return _flat(answers[0] if answers else Answer("", 0, 0, 0.0))


def _aligned(context: str, answers: tuple[Answer, ...]) -> tuple[Answer, ...]:
    """Answers widened to whole words; those that then are the same count once, with their scores added."""
    scores: dict[Span, float] = {}
    for answer in answers:
        span = whole_words(context, Span(answer.start, answer.end)) if answer.text else Span(0, 0)
        scores[span] = scores.get(span, 0.0) + answer.score
    ranked = sorted(scores.items(), key=lambda item: -item[1])
    return tuple(Answer(context[s.start : s.end], s.start, s.end, min(1.0, score)) for s, score in ranked)


def _rich(pairs: Pairs, places: list[tuple[int, int]], outcome: Outcome, seconds: float) -> AnswersResponse:
    units: dict[int, Utf16] = {}  # one for each context
    results = []
    for (_, context), (q, c), answers, cached in zip(
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


def _samples() -> list[Sample]:
    """The first passages of the bundled dev set; none where the package carries none."""
    path = hub.sample_data("dev")
    if not path.is_file():
        return []
    found: dict[str, Sample] = {}
    for example in load_squad(path):
        sample = found.get(example.context)
        if sample is None:
            if len(found) == _SAMPLES:
                continue
            sample = found[example.context] = Sample(
                title=example.title, context=example.context, questions=[]
            )
        sample.questions.append(example.question)
    return list(found.values())
