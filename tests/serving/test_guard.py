"""Keys, readiness, bodies and headers, before any route is asked."""

from __future__ import annotations

import gzip
import json
import threading
import zlib

import pytest
from starlette.testclient import TestClient
from support.fake_server import make_reader

from komrc.serving.app import create_app
from komrc.serving.loading import LoadedModel
from komrc.serving.options import ServeOptions
from komrc.serving.state import Readiness

BODY = {"inputs": {"question": "언제?", "context": "1443년에."}}
JSON = {"content-type": "application/json"}


def test_every_error_has_one_form_and_quotes_nothing(client):
    web = client(max_body_bytes=1000)
    secret = "비밀secret"
    replies = [
        web.post("/predict", content=b'{"inputs": ' + secret.encode(), headers=JSON),
        web.post("/predict", json={"inputs": secret}),
        web.post("/predict", json={secret: 1}),
        web.post("/predict", content=("{" + secret).encode("utf-16"), headers=JSON),
        web.post("/predict", content=secret.encode(), headers={"content-type": "text/plain"}),
        web.post("/predict", json={"inputs": secret * 200}),
        web.get("/" + secret),
        web.get("/predict"),
        web.request("SECRET", "/predict"),
    ]
    assert [r.status_code for r in replies] == [400, 422, 422, 400, 415, 413, 404, 405, 405]
    for reply in replies:
        assert {"code", "error"} <= set(reply.json()) <= {"code", "error", "field"}
        assert "secret" not in reply.text.lower() and "비밀" not in reply.text
        assert "/work" not in reply.text and "site-packages" not in reply.text


@pytest.mark.parametrize("size", [1001, 3000, 100_000])
def test_a_large_body_gets_413(client, size):
    web = client(max_body_bytes=1000)
    declared = web.post("/predict", content=b"x" * size, headers=JSON)
    streamed = web.post("/predict", content=iter([b"x" * 100] * (size // 100 + 1)), headers=JSON)
    assert (declared.status_code, streamed.status_code) == (413, 413)
    assert declared.json()["code"] == "too_large"


def test_a_body_of_just_the_limit_is_read(client):
    web = client(max_body_bytes=1000)
    text = '{"text_input": "' + "a" * 982 + '"}'
    assert len(text) == 1000
    assert web.post("/tokenize", content=text, headers=JSON).status_code == 200


@pytest.mark.parametrize(
    "path", ["/", "/health", "/ready", "/metrics", "/docs", "/v1/samples", "/page/page.js"]
)
def test_head_is_get_without_the_body(client, path):
    web = client()
    got, head = web.get(path), web.head(path)
    assert (head.status_code, head.content) == (200, b"") and got.content
    assert head.headers.get("content-type") == got.headers.get("content-type")


def test_head_of_what_only_takes_work_is_refused(client):
    assert client().head("/predict").status_code == 405


def test_a_slash_at_the_end_changes_nothing(client):
    web = client(api_key="k")
    key = {"x-api-key": "k"}
    for path in ("/health", "/ready", "/v2", "/v2/health/live", "/v2/models/komrc", "/metrics", "/docs"):
        one, other = (web.get(p, headers=key, follow_redirects=False) for p in (path, path + "/"))
        assert (one.status_code, other.status_code) == (200, 200), path
    for path in ("/predict", "/forward", ""):
        one, other = (web.post(p, json=BODY, headers=key, follow_redirects=False) for p in (path, path + "/"))
        assert one.status_code == 200 and one.json() == other.json()
    assert web.post("/predict/", json=BODY).status_code == 401


@pytest.mark.parametrize("kind", [{}, {"content-type": ""}, {"content-type": " "}])
@pytest.mark.parametrize("path", ["/predict", "/", "/v2/models/komrc/infer"])
def test_a_body_of_no_named_type_is_read_as_json(client, path, kind):
    names = (("question", "언제?"), ("context", "1443년에."))
    tensors = [{"name": name, "shape": [1], "datatype": "BYTES", "data": [text]} for name, text in names]
    body = {"inputs": tensors} if path.startswith("/v2") else BODY
    reply = client().post(path, content=json.dumps(body).encode(), headers=kind)
    assert reply.status_code == 200, reply.text


def compressed(data, encoding):
    if encoding == "raw deflate":
        return zlib.compress(data)[2:-4]
    return {"gzip": gzip.compress, "deflate": zlib.compress}[encoding](data)


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "raw deflate"])
def test_compressed_bodies_are_read(client, encoding):
    web = client(max_body_bytes=1000)
    name = {"content-encoding": encoding.split()[-1].upper()}
    plain = web.post("/predict", json=BODY).json()
    data = json.dumps(BODY).encode()
    assert web.post("/predict", content=compressed(data, encoding), headers=JSON | name).json() == plain
    bomb = compressed(b" " * 300_000, encoding)
    assert len(bomb) < 1000
    for body, status, code in (
        (bomb, 413, "too_large"),
        (compressed(data, encoding)[:-9], 400, "content_encoding"),
        (data, 400, "content_encoding"),
        (b"", 400, "content_encoding"),
        (compressed(b"\xff", encoding), 400, "invalid_json"),
    ):
        reply = web.post("/predict", content=body, headers=JSON | name)
        assert (reply.status_code, reply.json()["code"]) == (status, code), body[:20]


def test_a_gzip_file_of_several_parts_is_read_up_to_the_limit(client):
    web = client(max_body_bytes=1000)
    data = json.dumps(BODY).encode()
    parts = gzip.compress(data[:20]) + gzip.compress(data[20:])
    name = {"content-encoding": "gzip"}
    assert web.post("/predict", content=parts, headers=JSON | name).status_code == 200
    many = gzip.compress(b" " * 600)
    assert web.post("/predict", content=many * 2, headers=JSON | name).status_code == 413


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, gzip", "secret"])
def test_other_encodings_get_415(client, encoding):
    reply = client().post("/predict", content=b"x", headers=JSON | {"content-encoding": encoding})
    assert (reply.status_code, reply.json()["code"]) == (415, "content_encoding")
    assert "Content-Encoding" in reply.json()["error"] and "secret" not in reply.text


def test_the_key_guards_work_but_not_probes_nor_the_page(client):
    web = client(api_key="right")
    for path in ("/health", "/ready", "/docs", "/openapi.json", "/page/page.js"):
        assert web.get(path).status_code == 200
    assert web.get("/", headers={"accept": "text/html"}).status_code == 200
    for path in ("/", "/metrics", "/v1/samples"):
        assert web.get(path).status_code == 401
        assert web.get(path, headers={"x-api-key": "right"}).status_code == 200
    for headers in ({}, {"x-api-key": "wrong"}, {"x-api-key": ""}, {"authorization": "Basic right"}):
        refused = web.post("/predict", json=BODY, headers=headers)
        assert (refused.status_code, refused.json()["code"]) == (401, "api_key")
        assert refused.headers["www-authenticate"] == "Bearer"
    for headers in (
        {"authorization": "Bearer right"},
        {"authorization": "bearer right"},
        {"x-api-key": "right"},
    ):
        assert web.post("/predict", json=BODY, headers=headers).status_code == 200


def test_other_origins_are_let_in_only_by_name(client):
    origin = {"origin": "https://a.example"}
    stranger = client().get("/health", headers=origin)
    assert stranger.status_code == 403 and "access-control-allow-origin" not in stranger.headers
    web = client(cors_origin=("https://a.example",), api_key="k")
    allowed = web.get("/health", headers=origin).headers
    assert allowed["access-control-allow-origin"] == "https://a.example"
    asked = web.options(
        "/predict",
        headers={
            **origin,
            "access-control-request-method": "POST",
            "access-control-request-headers": "x-api-key",
        },
    )
    assert asked.status_code == 200
    refused = web.post("/predict", json=BODY, headers=origin)
    assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (401, "https://a.example")
    other = web.get("/health", headers={"origin": "https://b.example"})
    assert other.status_code == 403 and "access-control-allow-origin" not in other.headers


def test_the_page_is_bound_to_its_own_origin(client):
    reply = client().get("/", headers={"accept": "text/html,*/*"})
    policy = reply.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert "http://" not in reply.text and "https://" not in reply.text


def test_loading_and_draining_are_told_apart():
    readiness, go = Readiness(), threading.Event()

    def load(_):
        go.wait(10)
        return LoadedModel(make_reader(), {})

    with TestClient(create_app(ServeOptions(), load, readiness=readiness), "http://localhost") as web:
        for state in ("loading", "draining"):
            readiness.state = state
            assert web.get("/health").status_code == 200
            assert (web.get("/ready").status_code, web.get("/ready").json()) == (503, {"status": state})
            refused = web.post("/predict", json=BODY)
            assert (refused.status_code, refused.json()["code"]) == (503, state)
            assert refused.headers["connection"] == "close"
        go.set()
