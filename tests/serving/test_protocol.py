"""Connections that dawdle, break off, come in crowds or speak no HTTP."""

from __future__ import annotations

import ast
import asyncio
import inspect
import json
import socket
import time
from contextlib import ExitStack

import httpx
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle
from uvicorn.server import ServerState

from komrc.serving.protocol import GuardedProtocol

BODY = json.dumps({"inputs": {"question": "언제?", "context": "1443년에."}}).encode()
HEAD = (
    b"POST /predict HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
    b"content-length: %d\r\n\r\n" % len(BODY)
)


def connect(program):
    return socket.create_connection((program.host, program.port), timeout=60)


def read_all(connection):
    """Everything until the server closes."""
    data = b""
    try:
        while chunk := connection.recv(65536):
            data += chunk
    except ConnectionResetError:
        pass
    return data


def drip(program, data, pause=0.05):
    """Send a byte at a time until the server has enough; what it said then."""
    with connect(program) as connection:
        connection.settimeout(pause)
        for byte in data:
            try:
                connection.send(bytes([byte]))
                said = connection.recv(65536)
            except TimeoutError:
                continue
            except OSError:
                return b""
            connection.settimeout(10)
            return said + read_all(connection)
    raise AssertionError("the server took every byte")


def test_uvicorn_has_the_members_that_a_connection_uses():
    """uvicorn documents ``http=CLASS``, but not the members of its own class. A missing one is named here."""
    config = uvicorn.Config(lambda scope: None, log_config=None)
    loop = asyncio.new_event_loop()
    try:
        plain = H11Protocol(config, ServerState(), {}, loop)
    finally:
        loop.close()
    tree = ast.parse(inspect.getsource(GuardedProtocol))
    nodes = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
    stored = {node.attr for node in nodes if isinstance(node.ctx, ast.Store)}
    used = {node.attr for node in nodes if ast.unparse(node.value) in {"self", "super()"}}
    used -= stored | {name for name in vars(GuardedProtocol) if not hasattr(H11Protocol, name)}
    assert {name for name in used if not hasattr(plain, name)} == {"_lingering"} & used
    cycle = {node.attr for node in nodes if ast.unparse(node.value) == "self.cycle"}
    missing = [name for name in cycle if f"self.{name} = " not in inspect.getsource(RequestResponseCycle)]
    assert cycle and not missing


def test_dripped_headers_are_cut(program):
    said = drip(program, HEAD + BODY)
    assert said.startswith(b"HTTP/1.1 408 ") and b'"header_timeout"' in said


def test_a_dripped_body_is_cut(program):
    with connect(program) as connection:
        connection.sendall(HEAD + BODY[:5])
        for _ in range(200):
            try:
                connection.sendall(b" ")
            except OSError:
                break
            connection.settimeout(0.05)
            try:
                said = connection.recv(65536)
                break
            except TimeoutError:
                continue
        connection.settimeout(10)
        said += read_all(connection)
    assert said.startswith(b"HTTP/1.1 408 ") and b'"body_timeout"' in said


def test_a_silent_connection_is_closed_without_a_word(program):
    with connect(program) as connection:
        assert read_all(connection) == b""


def test_dripped_headers_on_a_used_connection_are_cut_too(program):
    with connect(program) as connection:
        connection.sendall(HEAD + BODY)
        time.sleep(0.1)
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
        connection.sendall(b"GET / HT")
        assert b"408" in read_all(connection)


def test_a_request_in_two_pieces_is_answered(program):
    with connect(program) as connection:
        for piece in (HEAD[:30], HEAD[30:] + BODY[:10], BODY[10:]):
            connection.sendall(piece)
            time.sleep(0.1)
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")


def test_what_is_no_http_gets_400_in_our_form(program):
    for junk in (
        b"\x16\x03\x01\x02\x00\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: localhost\r\nx" + b"y" * 200_000,
    ):
        with connect(program) as connection:
            try:
                connection.sendall(junk)
            except OSError:
                continue
            said = read_all(connection)
        assert said.startswith(b"HTTP/1.1 400 ") or said == b"", said[:100]
    with connect(program) as connection:
        connection.sendall(b"nonsense\r\n\r\n")
        _, _, body = read_all(connection).partition(b"\r\n\r\n")
        assert json.loads(body)["code"] == "invalid_http"
    assert httpx.get(program.url + "/health").status_code == 200


def test_a_broken_chunk_ends_the_request(program):
    with connect(program) as connection:
        connection.sendall(HEAD.replace(b"content-length: %d" % len(BODY), b"transfer-encoding: chunked"))
        connection.sendall(b'5\r\n{"inp\r\nzz\r\n')
        assert read_all(connection).startswith(b"HTTP/1.1 400 ")


def test_requests_in_a_pipeline_are_all_answered(program):
    with connect(program) as connection:
        connection.sendall(
            (HEAD + BODY) * 3
            + HEAD.replace(b"host: localhost", b"host: localhost\r\nconnection: close")
            + BODY
        )
        assert read_all(connection).count(b"HTTP/1.1 200 OK") == 4


def test_a_connection_too_many_gets_503_and_the_others_go_on(program):
    with ExitStack() as stack, httpx.Client(base_url=program.url) as web:
        assert web.get("/health").status_code == 200
        held = [stack.enter_context(connect(program)) for _ in range(70)]
        said = read_all(held[-1])
        assert said.startswith(b"HTTP/1.1 503 ") and b'"connections"' in said
        assert web.get("/health").status_code == 200
        for connection in held[:50]:
            assert read_all(connection) == b""  # idle ones are closed in time
        assert httpx.get(program.url + "/health").status_code == 200


def test_a_client_that_leaves_frees_its_place(programs):
    slow = programs("--max-queue", "1", FAKE_SECONDS="0.4")
    with connect(slow) as connection:
        connection.sendall(HEAD + BODY)
        time.sleep(0.2)
        assert (
            httpx.post(
                slow.url + "/predict", content=BODY, headers={"content-type": "application/json"}
            ).status_code
            == 429
        )
    deadline = time.monotonic() + 120
    while "komrc_queue_length 0.0" not in httpx.get(slow.url + "/metrics").text:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    metrics = httpx.get(slow.url + "/metrics").text
    assert 'route="/predict",status="499"} 1.0' in metrics
