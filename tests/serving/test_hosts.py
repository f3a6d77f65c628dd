"""Requests under a foreign name, or of a page of another origin, are not answered."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from komrc.errors import UsageError
from komrc.options import read_environment
from komrc.serving.options import ServeOptions

BODY = {"inputs": {"question": "언제?", "context": "1443년에."}}
KUBERNETES = Path(__file__).parents[2] / "deploy/kubernetes"


def status(web, host, **headers):
    return web.get("/health", headers={"host": host, **headers}).status_code


def test_a_loopback_server_answers_under_loopback_names_only(client):
    web = client()
    for host in ("localhost", "LOCALHOST:8888", "localhost.", "127.0.0.1:8888", "127.9.9.9", "[::1]:8888"):
        assert status(web, host) == 200, host
    for host in (
        "evil.example", "evil.example:8888", "localhost.evil.example", "127.0.0.1.evil.example", "192.0.2.7",
        "0.0.0.0", "[2001:db8::1]", "", "localhost/..", "user@localhost", "localhost, evil.example", "[::1",
    ):  # fmt: skip
        assert status(web, host) == 403, host


@pytest.mark.parametrize(
    "path", ["/", "/health", "/ready", "/metrics", "/docs", "/page/page.js", "/v1/samples"]
)
def test_no_route_is_answered_under_a_foreign_name(client, path):
    reply = client().get(path, headers={"host": "evil.example", "accept": "text/html"})
    assert (reply.status_code, reply.json()["code"]) == (403, "host")
    assert "evil" not in reply.text and "--allowed-hosts" in reply.text


def test_work_is_not_done_under_a_foreign_name(client):
    web = client()
    for path, body in (("/predict", BODY), ("/", BODY), ("/v1/answers", BODY["inputs"])):
        assert web.post(path, json=body, headers={"host": "evil.example"}).status_code == 403
        assert web.post(path, json=body, headers={"origin": "http://evil.example"}).status_code == 403
        assert web.post(path, json=body).status_code == 200


@pytest.mark.parametrize(
    ("host", "answered", "refused"),
    [
        ("0.0.0.0", ["192.0.2.7", "[2001:db8::1]:80", "localhost"], ["evil.example", "komrc"]),
        ("::", ["192.0.2.7", "127.0.0.1"], ["evil.example"]),
        ("192.0.2.7", ["192.0.2.7:8888", "localhost"], ["192.0.2.8", "evil.example"]),
        ("box.example", ["box.example:8888", "localhost"], ["192.0.2.7", "www.box.example"]),
    ],
)
def test_the_address_listened_on_is_answered(client, host, answered, refused):
    web = client(host=host)
    assert [status(web, name) for name in answered] == [200] * len(answered)
    assert [status(web, name) for name in refused] == [403] * len(refused)


def test_further_names_are_answered_where_allowed(client):
    web = client(allowed_hosts=("komrc.example", "*.inside.example"))
    for host in ("komrc.example", "KOMRC.example:80", "a.inside.example", "a.b.inside.example", "localhost"):
        assert status(web, host) == 200, host
    for host in ("www.komrc.example", "inside.example", "xinside.example", "evil.example"):
        assert status(web, host) == 403, host
    assert status(client(allowed_hosts=("*",)), "any.example") == 200


def test_a_page_may_call_its_own_server_only(client):
    web = client(allowed_hosts=("komrc.example",))
    own = [
        ("localhost:8888", "http://localhost:8888"),
        ("127.0.0.1", "http://127.0.0.1"),
        ("komrc.example", "https://komrc.example"),  # TLS ends at the proxy
        ("komrc.example:443", "https://komrc.example"),
    ]
    for host, origin in own:
        assert status(web, host, origin=origin) == 200, origin
    for origin in (
        "http://evil.example", "https://evil.example", "http://localhost:3000", "http://127.0.0.1:8888",
        "null", "", "file://", "http://localhost.evil.example:8888",
    ):  # fmt: skip
        reply = web.get("/health", headers={"host": "localhost:8888", "origin": origin})
        assert (reply.status_code, reply.json()["code"]) == (403, "origin"), origin
    named = client(cors_origin=("https://a.example",))
    assert status(named, "localhost", origin="https://a.example") == 200
    assert status(named, "localhost", origin="https://b.example") == 403
    assert status(client(cors_origin=("*",)), "localhost", origin="https://b.example") == 200


def test_a_request_of_http_1_0_without_a_host_is_answered(program):
    import socket

    with socket.create_connection((program.host, program.port), timeout=60) as connection:
        connection.sendall(b"GET /health HTTP/1.0\r\n\r\n")
        assert b" 200 " in connection.recv(65536)


@pytest.mark.parametrize("name", ["https://a.example", "a b", "a/b", "*.", ""])
def test_what_is_no_host_name_is_refused_at_the_start(name):
    with pytest.raises(UsageError, match="host name"):
        ServeOptions(allowed_hosts=(name,))


def test_the_names_of_the_service_reach_the_pods():
    """As Kubernetes does it: ``$(NAME)`` is the value of a variable before."""
    deployment = yaml.safe_load((KUBERNETES / "deployment.yaml").read_text(encoding="utf-8"))
    service = yaml.safe_load((KUBERNETES / "service.yaml").read_text(encoding="utf-8"))["metadata"]["name"]
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    names = [one["name"] for one in container["env"]]
    assert names.index("NAMESPACE") < names.index("KOMRC_ALLOWED_HOSTS")
    (value,) = [one["value"] for one in container["env"] if one["name"] == "KOMRC_ALLOWED_HOSTS"]
    found = read_environment(ServeOptions, {"KOMRC_ALLOWED_HOSTS": value.replace("$(NAMESPACE)", "here")})
    wanted = {service, *(f"{service}.here{end}" for end in ("", ".svc", ".svc.cluster.local"))}
    assert set(found["allowed_hosts"]) == wanted


def test_a_refusal_is_json(client):
    reply = client().post("/predict", json=BODY, headers={"host": "evil.example"})
    assert set(json.loads(reply.text)) == {"code", "error"}
