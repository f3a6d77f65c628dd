"""The API's description: no change goes unseen, and a generator of odd requests finds no unplanned error.

After a wanted change: ``KOMRC_UPDATE_SNAPSHOT=1 pytest tests/serving/test_openapi.py`` writes api.txt again.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

SNAPSHOT = Path(__file__).with_name("api.txt")

ODD_BODIES = [
    b"",
    b"null",
    b"[]",
    b"3",
    b'"\\ud800"',
    b'{"inputs": NaN}',
    b'{"inputs": {"question": Infinity, "context": -Infinity}}',
    b'{"inputs": {"question": "a", "context": "b"}, "parameters": {"top_k": 1e400}}',
    b'{"inputs": {"question": "a", "context": "b"}, "parameters": {"top_k": ' + b"9" * 5000 + b"}}",
    b'{"inputs": {"question": "a", "context": "b"}, "parameters": {"doc_stride": 9223372036854775808}}',
    b'{"inputs": {"question": "\\ud800", "context": "\\udfff b"}}',
    b'{"question": "\\ud83d", "context": "b"}',
    b'{"inputs": {"question": "a", "context": "b"}, "inputs": 3}',
    b'{"tokens_ids": [1e400, -1, 99999999999999999999]}',
    b'{"text_input": "\\u0000\\uffff\\ud83d\\ude00"}',
    '{"inputs": {"question": "가", "context": "나"}}'.encode("utf-16"),
    '{"inputs": {"question": "가", "context": "나"}}'.encode("utf-32"),
    '{"inputs": {"question": "가", "context": "나"}}'.encode("euc-kr"),
    b'\xef\xbb\xbf{"inputs": {"question": "a", "context": "b"}}',
    b"[" * 100_000 + b"]" * 100_000,
    b'{"inputs":' * 20_000 + b"1" + b"}" * 20_000,
    b'{"inputs": {"question": "a", "context": "\xed\xa0\x80"}}',
    b'{"question": "a", "context": ' + json.dumps(["b"] * 100).encode() + b"}",
    b'{"question": [], "context": []}',
    json.dumps({"question": "\u200b", "context": "\u3164\u00a0\u2028" * 50}).encode(),
]
POST_ROUTES = [
    "/predict",
    "/",
    "/forward",
    "/tokenize",
    "/detokenize",
    "/v1/answers",
    "/v1/ask",
    "/v1/search",
    "/v1/documents",
    "/v2/models/komrc/infer",
]
PLANNED = {200, 400, 403, 404, 405, 406, 408, 413, 415, 422, 429, 503, 504}


BOUNDS = (
    "minLength", "maxLength", "pattern", "minItems", "maxItems", "minimum", "maximum", "exclusiveMinimum",
    "exclusiveMaximum", "additionalProperties", "default",
)  # fmt: skip
OF_THE_FRAMEWORK = {"HTTPValidationError", "ValidationError"}


def kind(schema: dict[str, Any]) -> str:
    """A schema in one line: its type, bounds and default, whatever form the framework gives them."""
    if "$ref" in schema:
        return schema["$ref"].rpartition("/")[2]
    for name in ("anyOf", "oneOf", "allOf"):
        if name in schema:
            text = " | ".join(sorted({kind(part) for part in schema[name]}))
            return text + (f", default {schema['default']!r}" if "default" in schema else "")
    if "const" in schema or "enum" in schema:
        values = " | ".join(map(repr, schema.get("enum", [schema.get("const")])))
        return values + (f", default {schema['default']!r}" if "default" in schema else "")
    text = str(schema.get("type", "anything"))
    if text == "array":
        text = f"list of ({kind(schema.get('items', {}))})"
    bounds = {name: schema[name] for name in BOUNDS if name in schema}
    more = bounds.pop("additionalProperties", True)
    if more is not True:
        bounds["additionalProperties"] = kind(more) if isinstance(more, dict) else more
    whole = [name for name, value in bounds.items() if isinstance(value, float) and value.is_integer()]
    bounds |= {name: int(bounds[name]) for name in whole}
    return ", ".join([text, *(f"{name} {value!r}" for name, value in bounds.items())])


def described(api: dict[str, Any]) -> list[str]:
    """Our own routes, parameters, statuses and fields, a line each."""
    lines = []
    for path, operations in api["paths"].items():
        for method, operation in operations.items():
            name = f"{method.upper()} {path}"
            body = operation.get("requestBody", {}).get("content", {})
            lines += [f"{name} takes {media} {kind(content['schema'])}" for media, content in body.items()]
            lines += [
                f"{name} takes {parameter['in']} {parameter['name']}: {kind(parameter['schema'])}"
                for parameter in operation.get("parameters", [])
            ]
            for status, response in operation["responses"].items():
                for media, content in response.get("content", {"nothing": {}}).items():
                    answer = kind(content.get("schema", {}))
                    if answer not in OF_THE_FRAMEWORK:
                        lines.append(f"{name} gives {status} {media} {answer}")
    for name, schema in api["components"]["schemas"].items():
        if name in OF_THE_FRAMEWORK:
            continue
        lines.append(f"{name}: {kind({k: v for k, v in schema.items() if k != 'default'})}")
        for field, value in schema.get("properties", {}).items():
            required = "" if field in schema.get("required", ()) else "?"
            lines.append(f"{name}.{field}{required}: {kind(value)}")
    return sorted(lines)


def test_the_api_is_as_written_down(client):
    lines = described(client().get("/openapi.json").json())
    if os.environ.get("KOMRC_UPDATE_SNAPSHOT"):
        SNAPSHOT.write_text("\n".join(lines) + "\n", encoding="utf-8")
    assert lines == SNAPSHOT.read_text(encoding="utf-8").splitlines()


def test_odd_bodies_get_planned_answers(client):
    web = client()
    for path in POST_ROUTES:
        for body in ODD_BODIES:
            reply = web.post(path, content=body, headers={"content-type": "application/json"})
            assert reply.status_code in PLANNED, (path, body[:80], reply.text)
            if reply.status_code != 200:
                assert {"code", "error"} <= set(reply.json())
    assert web.post("/forward", json={"inputs": {"question": "a", "context": "b"}}).status_code == 200


def test_generated_requests_get_planned_answers(client):
    schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed")
    from hypothesis import HealthCheck, given, settings

    web = client()
    schema = schemathesis.openapi.from_dict(web.get("/openapi.json").json())
    modes = schemathesis.GenerationMode
    seen = set()
    for found in schema.get_all_operations():
        operation = found.ok()
        cases = operation.as_strategy(modes.POSITIVE) | operation.as_strategy(modes.NEGATIVE)

        @settings(max_examples=15, deadline=None, database=None, suppress_health_check=list(HealthCheck))
        @given(cases)
        def check(case):
            parts = case.as_transport_kwargs(base_url="http://localhost")
            body = parts.get("data") if "json" not in parts else json.dumps(parts["json"]).encode()
            reply = web.request(
                parts["method"],
                parts["url"],
                headers=parts["headers"],
                params=parts.get("params"),
                content=body,
            )
            seen.add(reply.status_code)
            assert reply.status_code in PLANNED, (case.method, case.path, reply.text[:200])

        check()
    assert {200, 422} <= seen
