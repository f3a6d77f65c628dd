"""The Open Inference Protocol (v2), which clients of KServe and Triton use.

Two BYTES tensors go in, ``question`` and ``context``; ``answer``, ``score``, ``start`` and ``end`` come out,
in the shape of the larger one. Tensors may come as JSON, or as bytes behind it (the binary tensor extension,
which those clients use by default); they go out as JSON. The model has one version, "1", which a
request may name or leave out.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from fastapi import Body, Depends, FastAPI, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from komrc import __version__
from komrc.errors import InputError
from komrc.serving.answer_service import AnswerOptions, LocatedPair
from komrc.serving.convert import best_answer
from komrc.serving.errors import RejectedError
from komrc.serving.schemas import CONTEXT, QUESTION, Lenient, error_responses
from komrc.serving.state import AppState

_INPUTS = ("question", "context")
_VERSION = "1"
_BINARY = "binary_tensor_data"
_OUTPUTS = {"answer": "BYTES", "score": "FP32", "start": "INT64", "end": "INT64"}


class InputTensor(Lenient):
    """The questions, or the contexts."""

    name: Literal["question", "context"]
    shape: list[Annotated[int, Field(ge=0)]] = Field(examples=[[1]])
    datatype: Literal["BYTES"]
    data: list[str] | list[list[str]] = Field(
        description="strings in row-major order, flat or in rows; one string is repeated as often as needed"
    )


class WantedOutput(Lenient):
    """An output that the caller asks for."""

    name: Literal["answer", "score", "start", "end"]


class InferRequest(Lenient):
    """Questions and contexts of one batch."""

    id: str | None = None
    inputs: list[InputTensor] = Field(
        examples=[
            [
                {"name": "question", "shape": [1], "datatype": "BYTES", "data": [QUESTION]},
                {"name": "context", "shape": [1], "datatype": "BYTES", "data": [CONTEXT]},
            ]
        ]
    )
    outputs: list[WantedOutput] | None = Field(default=None, description="null: all of them")


class OutputTensor(BaseModel):
    """One value a pair, best answers only."""

    name: str
    shape: list[int]
    datatype: str
    data: list[str] | list[float] | list[int] = Field(description="row-major; offsets count code points")


class InferResponse(BaseModel):
    """The outputs, in the order asked for."""

    model_name: str
    id: str | None = None
    outputs: list[OutputTensor]


class ServerMetadata(BaseModel):
    """What this server is."""

    name: str
    version: str
    extensions: list[str]


class TensorMetadata(BaseModel):
    """An input or output; -1 is a side of any length."""

    name: str
    datatype: str
    shape: list[int]


class ModelMetadata(BaseModel):
    """What the model takes and gives."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


class LiveResponse(BaseModel):
    """Whether the process answers."""

    live: bool


class ReadyResponse(BaseModel):
    """Whether the server takes work."""

    ready: bool


class ModelReadyResponse(BaseModel):
    """Whether the model is loaded."""

    name: str
    ready: bool


def add_open_inference_routes(app: FastAPI, state: AppState) -> None:
    """Add the protocol's routes."""
    own = state.options.model_name
    unknown: dict[int | str, dict[str, Any]] = {
        404: {**error_responses(422)[422], "description": "The server has no model of this name"}
    }

    def check(model: str, request: Request) -> None:
        if model != own:
            raise RejectedError(
                404, "unknown_model", "this server has no model of that name", fix=f"ask for {own}"
            )
        if request.path_params.get("version", _VERSION) != _VERSION:
            raise RejectedError(
                404,
                "unknown_model",
                "the model has no such version",
                fix=f"ask for version {_VERSION}, or for none",
            )

    known = [Depends(check)]
    version = "/versions/{version}"

    @app.get("/v2", tags=["Open Inference"], response_model=ServerMetadata, responses=error_responses(401))
    async def server() -> ServerMetadata:
        """What this server is."""
        return ServerMetadata(name="komrc", version=__version__, extensions=[_BINARY])

    @app.get("/v2/health/live", tags=["Open Inference"], response_model=LiveResponse)
    async def live() -> LiveResponse:
        """Whether the process is alive."""
        return LiveResponse(live=True)

    @app.get(
        "/v2/health/ready",
        tags=["Open Inference"],
        response_model=ReadyResponse,
        responses={503: {"model": ReadyResponse, "description": "Loading, or shutting down"}},
    )
    async def ready() -> JSONResponse:
        """Whether the server takes work."""
        is_ready = state.readiness.ready
        return JSONResponse({"ready": is_ready}, 200 if is_ready else 503)

    @app.get("/v2/models/{model}" + version, include_in_schema=False, dependencies=known)
    @app.get(
        "/v2/models/{model}",
        tags=["Open Inference"],
        dependencies=known,
        response_model=ModelMetadata,
        responses={**error_responses(401, 503), **unknown},
    )
    async def metadata() -> ModelMetadata:
        """The model's tensors."""

        def tensors(kinds: dict[str, str]) -> list[TensorMetadata]:
            return [TensorMetadata(name=name, datatype=kind, shape=[-1]) for name, kind in kinds.items()]

        return ModelMetadata(
            name=own,
            versions=[_VERSION],
            platform=f"komrc_{state.require_ready().reader.engine.name}",
            inputs=tensors(dict.fromkeys(_INPUTS, "BYTES")),
            outputs=tensors(_OUTPUTS),
        )

    @app.get("/v2/models/{model}" + version + "/ready", include_in_schema=False, dependencies=known)
    @app.get(
        "/v2/models/{model}/ready",
        tags=["Open Inference"],
        dependencies=known,
        response_model=ModelReadyResponse,
        responses={
            **error_responses(401),
            **unknown,
            503: {"model": ModelReadyResponse, "description": "Loading, or shutting down"},
        },
    )
    async def model_ready() -> JSONResponse:
        """Whether the model takes work."""
        is_ready = state.readiness.ready
        return JSONResponse({"name": own, "ready": is_ready}, 200 if is_ready else 503)

    @app.post(
        "/v2/models/{model}" + version + "/infer",
        response_model_exclude_none=True,
        include_in_schema=False,
        dependencies=known,
    )
    @app.post(
        "/v2/models/{model}/infer",
        tags=["Open Inference"],
        dependencies=known,
        response_model=InferResponse,
        response_model_exclude_none=True,
        responses={**error_responses(), **unknown},
    )
    async def infer(body: Annotated[InferRequest, Body()]) -> InferResponse:
        """The best answer to each question; an empty one, at 0, where the context holds none."""
        pairs, shape = _located_pairs(body.inputs)
        result = await state.require_ready().answer(pairs, AnswerOptions())
        best = [best_answer(answers) for answers in result.answers]
        columns: dict[str, list[Any]] = {
            "answer": [one.text for one in best],
            "score": [one.score for one in best],
            "start": [one.start for one in best],
            "end": [one.end for one in best],
        }
        wanted = [one.name for one in body.outputs] if body.outputs else list(_OUTPUTS)
        outputs = [
            OutputTensor(name=name, shape=shape, datatype=_OUTPUTS[name], data=columns[name])
            for name in wanted
        ]
        return InferResponse(model_name=own, id=body.id, outputs=outputs)


def _located_pairs(inputs: list[InputTensor]) -> tuple[list[LocatedPair], list[int]]:
    """The pairs that the tensors hold, and the shape of the larger tensor."""
    texts: dict[str, list[tuple[str, str]]] = {}  # each text with its place in the request
    shapes: dict[str, list[int]] = {}
    for number, tensor in enumerate(inputs):
        where = f"inputs[{number}]"
        if tensor.name in texts:
            raise InputError("this tensor is there twice", where=where, fix="send each tensor once")
        flat = list(_flat(tensor.data, f"{where}.data"))
        if math.prod(tensor.shape) != len(flat):
            raise InputError(
                f"the tensor holds {len(flat)} strings, which is not what its shape says",
                where=f"{where}.shape",
                fix="make the product of the shape the number of strings",
            )
        texts[tensor.name], shapes[tensor.name] = flat, tensor.shape
    for name in _INPUTS:
        if name not in texts:
            raise InputError(
                "a tensor is missing", where="inputs", fix=f"send the BYTES tensors {' and '.join(_INPUTS)}"
            )
    questions, contexts = (texts[name] for name in _INPUTS)
    count = max(len(questions), len(contexts))
    if not {len(questions), len(contexts)} <= {1, count} or not (questions and contexts):
        raise InputError(
            f"{len(questions)} questions and {len(contexts)} contexts can't be paired",
            where="inputs",
            fix="send as many of both, or one of either",
        )
    shape = shapes["question"] if len(questions) == count else shapes["context"]
    pairs = [
        LocatedPair(question, context, question_at, context_at)
        for (question, question_at), (context, context_at) in zip(
            *(column * (count if len(column) == 1 else 1) for column in (questions, contexts)), strict=True
        )
    ]
    return pairs, shape


def _flat(data: list[str] | list[list[str]], where: str) -> Iterator[tuple[str, str]]:
    for n, row in enumerate(data):
        if isinstance(row, str):
            yield row, f"{where}[{n}]"
        else:
            yield from ((text, f"{where}[{n}][{m}]") for m, text in enumerate(row))
