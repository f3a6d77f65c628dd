"""Hugging Face's question answering: ``POST /predict``, and ``POST /`` for clients with a bare address."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from komrc.serving.answer_service import AnswerOptions
from komrc.serving.convert import best_answer, located_pairs, to_hf
from komrc.serving.schemas import (
    ForwardAnswer,
    PredictParameters,
    PredictRequest,
    error_responses,
)
from komrc.serving.state import AppState

_PREDICT_NAMES = {  # name in AnswerOptions -> name of the parameter
    "top_k": "top_k",
    "max_answer_tokens": "max_answer_len",
    "max_seq_length": "max_seq_len",
    "max_query_length": "max_question_len",
    "window_overlap": "doc_stride",
}


def add_hf_routes(app: FastAPI, state: AppState) -> None:
    """Add the routes."""

    async def predict(body: PredictRequest) -> Any:
        """Hugging Face's question answering: an answer for each input, a list where ``top_k`` is above 1."""
        pairs, single = located_pairs(body.inputs)
        parameters = body.parameters or PredictParameters()
        top_k = parameters.top_k or parameters.topk or 1
        names = {name: f"parameters.{sent}" for name, sent in _PREDICT_NAMES.items()}
        if parameters.top_k is None and parameters.topk is not None:
            names["top_k"] = "parameters.topk"
        options = AnswerOptions(
            top_k=top_k,
            no_answer=parameters.handle_impossible_answer,
            max_answer_tokens=parameters.max_answer_len,
            max_seq_length=parameters.max_seq_len,
            max_query_length=parameters.max_question_len,
            window_overlap=parameters.doc_stride,
            distinct=bool(parameters.distinct),
            whole_words=bool(parameters.align_to_words),
            names=names,
        )
        result = await state.require_ready().answer(pairs, options)
        output: list[Any] = [
            to_hf(best_answer(answers)) if top_k == 1 else [to_hf(answer) for answer in answers]
            for answers in result.answers
        ]
        return output[0] if single else output

    response = ForwardAnswer | list[ForwardAnswer | list[ForwardAnswer]]
    add = app.post(
        "/predict",
        tags=["Hugging Face"],
        response_model=response,
        responses=error_responses(),
    )
    add(predict)
    # Clients that are given only the server's address post to /.
    app.post("/", response_model=response, include_in_schema=False)(predict)
