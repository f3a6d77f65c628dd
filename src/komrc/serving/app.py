"""The application: what runs it, its state, the small routes of 2020, and the page."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib.resources import files

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

from komrc import __version__
from komrc.data import load_squad
from komrc.errors import InputError, KomrcError
from komrc.models import hub
from komrc.serving.answering import Answering
from komrc.serving.errors import INTERNAL, Failure, failure_of_status, failure_of_validation, not_ready
from komrc.serving.gate import Gate, Readiness, failure_of_any
from komrc.serving.loading import Loaded
from komrc.serving.metrics import Metrics
from komrc.serving.open_inference import add_open_inference
from komrc.serving.options import ServeOptions
from komrc.serving.reading import add_reading
from komrc.serving.schemas import (
    DetokenizeRequest,
    DetokenizeResponse,
    InfosResponse,
    Sample,
    StateResponse,
    TokenizeRequest,
    TokenizeResponse,
)
from komrc.serving.service import REFUSALS, Service, only
from komrc.serving.texts import clean_up_tokenization

logger = logging.getLogger("komrc.serving")

_PAGE = files("komrc.serving") / "page"
_SWAGGER = files("fastapi_offline") / "static"  # Swagger UI's files, so that /docs needs no other host
_SAMPLES = 6


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
    add_reading(app, service)
    add_open_inference(app, service)
    _add_pages(app)
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


def _add_pages(app: FastAPI) -> None:
    @app.get("/v1/samples", tags=["KoMRC"], response_model=list[Sample])
    async def samples() -> list[Sample]:
        """Passages to try the server on."""
        return await asyncio.to_thread(_samples)

    @app.get("/docs", include_in_schema=False)
    async def docs() -> Response:
        return FileResponse(str(_PAGE / "docs.html"), media_type="text/html; charset=utf-8")

    @app.get("/favicon.ico", include_in_schema=False)
    async def icon() -> Response:
        return FileResponse(str(_PAGE / "icon.svg"), media_type="image/svg+xml")

    app.mount("/docs/assets", StaticFiles(directory=str(_SWAGGER)), name="docs")
    app.mount("/page", StaticFiles(directory=str(_PAGE)), name="page")


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
