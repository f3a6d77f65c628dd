"""Keys, readiness, bodies and headers, before any route is asked."""

from __future__ import annotations

import threading

import pytest
from fake_server import make_reader
from starlette.testclient import TestClient

from komrc.serving.app import create_app
from komrc.serving.gate import Readiness
from komrc.serving.loading import Loaded
from komrc.serving.options import ServeOptions

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
        return Loaded(make_reader(), {})

    with TestClient(create_app(ServeOptions(), load, readiness=readiness), "http://localhost") as web:
        for state in ("loading", "draining"):
            readiness.state = state
            assert web.get("/health").status_code == 200
            assert (web.get("/ready").status_code, web.get("/ready").json()) == (503, {"status": state})
            refused = web.post("/predict", json=BODY)
            assert (refused.status_code, refused.json()["code"]) == (503, state)
            assert refused.headers["connection"] == "close"
        go.set()
