"""The records that are written: one for each question."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from komrc.errors import require
from komrc.reader import Prediction
from komrc.types import Example

if TYPE_CHECKING:
    from komrc.asking import DocumentAnswer
    from komrc.index.store import Hit

Form = Literal["jsonl", "parquet"]


def record(prediction: Prediction, example: Example, top_k: int, *, nbest: bool = False) -> dict[str, Any]:
    """id, text, start, end, score; ``answers`` for a top_k above 1; with ``nbest`` all candidates."""
    values: dict[str, Any] = {"id": prediction.id, **prediction.best.to_dict()}
    if top_k > 1:
        values["answers"] = [answer.to_dict() for answer in prediction.answers]
    if nbest:
        values["nbest"] = [candidate.to_dict(example.context) for candidate in prediction.candidates]
    return values


def document_record(
    name: str, answers: Sequence[DocumentAnswer], hits: Sequence[Hit], top_k: int
) -> dict[str, Any]:
    """id, text, document, place, score and sentence of the best answer; ``answers`` for a top_k above 1;
    ``passages``: what the search found, best first, with text and score."""
    best = answers[0].to_dict()
    values: dict[str, Any] = {"id": name, **best}
    if top_k > 1:
        values["answers"] = [answer.to_dict() for answer in answers]
    values["passages"] = [
        {name: getattr(hit.passage, name) for name in ("document", "start", "end", "text")}
        | {"score": hit.score}
        for hit in hits
    ]
    return values


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
