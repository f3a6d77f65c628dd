"""The application: routes, errors, the loading of the model, and the page."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import TypeVar

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

from komrc import __version__
from komrc.errors import KomrcError
from komrc.serving.answer_service import AnswerService
from komrc.serving.document_service import DocumentService
from komrc.serving.errors import INTERNAL, ErrorBody, body_of_exception, body_of_status, body_of_validation
from komrc.serving.guard import RequestGuard
from komrc.serving.loading import LoadedModel
from komrc.serving.metrics import Metrics
from komrc.serving.options import ServeOptions
from komrc.serving.routes_2020 import add_2020_routes
from komrc.serving.routes_documents import add_document_routes
from komrc.serving.routes_hf import add_hf_routes
from komrc.serving.routes_open_inference import add_open_inference_routes
from komrc.serving.routes_v1 import add_v1_routes
from komrc.serving.schemas import StateResponse, error_responses
from komrc.serving.served_index import ServedIndex
from komrc.serving.state import AppState, Readiness

T = TypeVar("T")

logger = logging.getLogger("komrc.serving")

_PAGE = files("komrc.serving") / "page"
_SWAGGER = files("fastapi_offline") / "static"  # Swagger UI's files, so that /docs needs no other host


def create_app(
    options: ServeOptions,
    load: Callable[[ServeOptions], LoadedModel],
    *,
    readiness: Readiness | None = None,
    on_loaded: Callable[[Exception | None], None] | None = None,
) -> ASGIApp:
    """The server as an ASGI application. The model is loaded on a thread while the server already listens.

    Args:
        load: loads the model.
        readiness: shared with the code that runs the server.
        on_loaded: called on the event loop once the model is loaded, or with the error.
    """
    state = AppState(options, readiness or Readiness(), Metrics())

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        loading = asyncio.ensure_future(_start(state, load, on_loaded))
        yield
        loading.cancel()
        if state.documents is not None:
            await state.documents.close()
        if state.answers is not None:
            await state.answers.close()

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
    _add_state_routes(app, state)
    add_2020_routes(app, state)
    add_hf_routes(app, state)
    add_v1_routes(app, state)
    add_document_routes(app, state)
    add_open_inference_routes(app, state)
    _add_pages(app)
    guarded: ASGIApp = RequestGuard(app, options=options, readiness=state.readiness, metrics=state.metrics)
    if not options.cors_origin:
        return guarded
    return CORSMiddleware(  # outermost: a page must be able to read refusals too
        guarded,
        allow_origins=list(options.cors_origin),
        allow_methods=["GET", "POST"],
        allow_headers=["authorization", "content-type", "x-api-key"],
        max_age=600,
    )


async def _start(
    state: AppState,
    load: Callable[[ServeOptions], LoadedModel],
    on_loaded: Callable[[Exception | None], None] | None,
) -> None:
    try:
        index = await _on_daemon_thread(_open_index, state.options)
        loaded = await _on_daemon_thread(load, state.options)
        state.answers = AnswerService(loaded.reader, state.options, state.metrics)
        if index is not None:
            state.documents = DocumentService(index, state.answers, state.options, state.metrics)
        state.model_config = loaded.config
        if state.readiness.state == "loading":
            state.readiness.state = "ready"
    except Exception as error:
        if on_loaded is None:
            logger.exception("the model or the index can't be loaded")
        else:
            on_loaded(error)
    else:
        if on_loaded is not None:
            on_loaded(None)


def _open_index(options: ServeOptions) -> ServedIndex | None:
    """Raises UsageError, StorageError, MissingPackageError."""
    if options.index is None:
        return None
    return ServedIndex(Path(options.index), create=options.allow_upload)


async def _on_daemon_thread(load: Callable[[ServeOptions], T], options: ServeOptions) -> T:
    """Run ``load`` on a daemon thread, so that the process can end while the model is loading."""
    from threading import Thread

    loop = asyncio.get_running_loop()
    result: asyncio.Future[T] = loop.create_future()

    def settle(act: Callable[[], None]) -> None:
        if not result.done():
            act()

    def work() -> None:
        try:
            act = partial(result.set_result, load(options))
        except Exception as error:
            act = partial(result.set_exception, error)
        if not loop.is_closed():
            loop.call_soon_threadsafe(settle, act)

    Thread(target=work, name="komrc-load", daemon=True).start()
    return await result


def _handle_errors(app: FastAPI) -> None:
    def respond(body: ErrorBody) -> Response:
        headers = {name.decode(): value.decode() for name, value in body.headers()}
        return Response(body.body(), body.status, headers)

    async def ours(_: Request, error: Exception) -> Response:
        return respond(body_of_exception(error))

    async def invalid(_: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return respond(body_of_validation(error.errors()))

    async def framework(_: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        response = respond(body_of_status(error.status_code))
        response.headers.update(error.headers or {})
        return response

    async def unforeseen(_: Request, __: Exception) -> Response:
        return respond(INTERNAL)  # the guard gets the exception too, and logs it

    app.add_exception_handler(KomrcError, ours)
    app.add_exception_handler(Exception, unforeseen)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, framework)


def _add_state_routes(app: FastAPI, state: AppState) -> None:
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
        status = state.readiness.state
        return JSONResponse({"status": status}, 200 if status == "ready" else 503)

    @app.get("/metrics", tags=["state"], response_class=PlainTextResponse, responses=error_responses(401))
    async def metrics() -> Response:
        """Figures for Prometheus."""
        return Response(state.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")


def _add_pages(app: FastAPI) -> None:

    @app.get("/docs", include_in_schema=False)
    async def docs() -> Response:
        return FileResponse(str(_PAGE / "docs.html"), media_type="text/html; charset=utf-8")

    @app.get("/favicon.ico", include_in_schema=False)
    async def icon() -> Response:
        return FileResponse(str(_PAGE / "icon.svg"), media_type="image/svg+xml")

    app.mount("/docs/assets", StaticFiles(directory=str(_SWAGGER)), name="docs")
    app.mount("/page", StaticFiles(directory=str(_PAGE)), name="page")
