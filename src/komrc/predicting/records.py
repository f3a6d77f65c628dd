"""The records that are written: one for each question."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from komrc.errors import require
from komrc.reader import Prediction
from komrc.types import Answer, Example

Form = Literal["jsonl", "parquet"]


def record(prediction: Prediction, example: Example, top_k: int, *, nbest: bool = False) -> dict[str, Any]:
    """id, text, start, end, score; ``answers`` for a top_k above 1; with ``nbest`` all candidates."""
    answers = [_answer(answer) for answer in prediction.answers]
    first = answers[0] if answers else {"text": "", "start": 0, "end": 0, "score": 0.0}
    value: dict[str, Any] = {"id": prediction.id, **first}
    if top_k > 1:
        value["answers"] = answers
    if nbest:
        value["nbest"] = [
            {
                "text": example.context[c.start : c.end],
                "probability": c.score,
                "start_logit": c.start_logit,
                "end_logit": c.end_logit,
                "start": c.start,
                "end": c.end,
            }
            for c in prediction.candidates
        ]
    return value


def _answer(answer: Answer) -> dict[str, Any]:
    value: dict[str, Any] = {
        "text": answer.text,
        "start": answer.start,
        "end": answer.end,
        "score": answer.score,
    }
    if answer.untrimmed is not None:
        value["untrimmed"] = [answer.untrimmed.start, answer.untrimmed.end]
    return value


def line(value: Mapping[str, Any]) -> bytes:
    """A line of JSON Lines."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False).encode("utf-8") + b"\n"


def encode(records: Iterable[Mapping[str, Any]], form: Form, *, top_k: int) -> bytes:
    """A shard. Parquet has the same columns whatever the answers: ``untrimmed`` may be null."""
    if form == "jsonl":
        return b"".join(map(line, records))
    import pyarrow as pa
    import pyarrow.parquet as pq

    answer = [
        ("text", pa.string()),
        ("start", pa.int32()),
        ("end", pa.int32()),
        ("score", pa.float64()),
        ("untrimmed", pa.list_(pa.int32())),
    ]
    more = [("answers", pa.list_(pa.struct(answer)))] if top_k > 1 else []
    table = pa.Table.from_pylist(list(records), schema=pa.schema([("id", pa.string()), *answer, *more]))
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    return buffer.getvalue()


def check_form(form: Form) -> None:
    """Raises MissingPackageError for a form that can't be written here."""
    if form == "parquet":
        require("pyarrow", extra="ray", purpose="Parquet", where="format", instead="use jsonl")
