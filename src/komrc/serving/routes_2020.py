"""The routes of the server of 2020: the model's configuration, tokenize, detokenize, forward."""

from __future__ import annotations

import asyncio
from importlib.resources import files

from fastapi import FastAPI, Request, Response
from fastapi.responses import FileResponse, JSONResponse

from komrc.errors import InputError
from komrc.serving.answer_service import AnswerOptions
from komrc.serving.convert import best_answer, located_pairs, to_hf
from komrc.serving.errors import not_ready
from komrc.serving.schemas import (
    DetokenizeRequest,
    DetokenizeResponse,
    ForwardAnswer,
    ForwardRequest,
    ForwardResponse,
    InfosResponse,
    TokenizeRequest,
    TokenizeResponse,
    error_responses,
)
from komrc.serving.spans import clean_up_tokenization
from komrc.serving.state import AppState

_PAGE = files("komrc.serving") / "page"


def add_2020_routes(app: FastAPI, state: AppState) -> None:
    """Add the routes."""

    @app.get("/", tags=["2020"], response_model=InfosResponse, responses=error_responses(401, 503))
    async def infos(request: Request) -> Response:
        """The model's configuration; to a browser, the page."""
        vary = {"vary": "accept"}
        if "text/html" in request.headers.get("accept", ""):
            return FileResponse(
                str(_PAGE / "index.html"), media_type="text/html; charset=utf-8", headers=vary
            )
        if state.model_config is None:
            raise not_ready("loading")
        return JSONResponse({"infos": state.model_config}, headers=vary)

    @app.post(
        "/tokenize",
        tags=["2020"],
        response_model=TokenizeResponse,
        responses=error_responses(),
    )
    async def tokenize(body: TokenizeRequest) -> TokenizeResponse:
        """A text's tokens, without special ones."""
        options = state.options
        if len(body.text_input) > options.max_context_chars:
            raise InputError(
                f"the text has {len(body.text_input)} characters",
                where="text_input",
                fix=f"send at most {options.max_context_chars}",
            )
        backend = state.require_ready().reader.tokenizer.backend
        encoding = await asyncio.to_thread(backend.encode, body.text_input, add_special_tokens=False)
        return TokenizeResponse(tokens=encoding.tokens, tokens_ids=encoding.ids if body.return_ids else None)

    @app.post(
        "/detokenize",
        tags=["2020"],
        response_model=DetokenizeResponse,
        responses=error_responses(),
    )
    async def detokenize(body: DetokenizeRequest) -> DetokenizeResponse:
        """The text of token ids."""
        backend = state.require_ready().reader.tokenizer.backend
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

    @app.post("/forward", tags=["2020"], response_model=ForwardResponse, responses=error_responses())
    async def forward(body: ForwardRequest) -> ForwardResponse:
        """The best answer to each question."""
        pairs, single = located_pairs(body.inputs)
        result = await state.require_ready().answer(pairs, AnswerOptions())
        output = [ForwardAnswer(**to_hf(best_answer(answers))) for answers in result.answers]
        return ForwardResponse(output=output[0] if single else output)
