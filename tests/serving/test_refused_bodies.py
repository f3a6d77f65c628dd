"""Real clients that are refused while they send: each sees the answer, not a reset connection."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

MEGABYTE = 1_000_000
JSON = {"content-type": "application/json"}


@pytest.fixture(scope="module")
def strict(programs):
    """A server with a key and a small limit."""
    return programs("--api-key", "right", "--max-body-bytes", "1000")


def with_urllib(url, body, headers):
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=60) as reply:
            return reply.status, reply.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def with_http_client(url, body, headers):
    connection = http.client.HTTPConnection(url.split("/")[2], timeout=60)
    connection.request("POST", "/predict", body, headers)
    reply = connection.getresponse()
    return reply.status, reply.read()


def with_chunks(url, body, headers):
    connection = http.client.HTTPConnection(url.split("/")[2], timeout=60)
    pieces = (body[at : at + 65536] for at in range(0, len(body), 65536))
    connection.request("POST", "/predict", pieces, headers, encode_chunked=True)
    reply = connection.getresponse()
    return reply.status, reply.read()


def with_httpx(url, body, headers):
    reply = httpx.post(url, content=body, headers=headers, timeout=60)
    return reply.status_code, reply.content


def with_requests(url, body, headers):
    requests = pytest.importorskip("requests", reason="requests is not installed")
    reply = requests.post(url, data=body, headers=headers, timeout=60)
    return reply.status_code, reply.content


CLIENTS = [with_urllib, with_http_client, with_chunks, with_httpx, with_requests]


@pytest.mark.parametrize("ask", CLIENTS)
@pytest.mark.parametrize("size", [3000, 5 * MEGABYTE, 50 * MEGABYTE])
@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (413, {**JSON, "x-api-key": "right"}),
        (401, JSON),
        (415, {"content-type": "text/plain", "x-api-key": "right"}),
        (403, {**JSON, "origin": "http://evil.example"}),
    ],
)
def test_the_refusal_is_seen(strict, ask, size, status, headers):
    found, body = ask(strict.url + "/predict", b"x" * size, headers)
    assert found == status
    assert {"code", "error"} <= set(json.loads(body))


@pytest.mark.parametrize("ask", CLIENTS)
def test_a_full_queue_is_seen_by_those_who_send_much(programs, ask):
    busy = programs("--max-queue", "1", FAKE_SECONDS="3")
    large = json.dumps(
        {"inputs": {"question": "언제?", "context": "1443년에. ", "x": "x" * MEGABYTE}}
    ).encode()
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(with_httpx, busy.url + "/predict", large, JSON)
        deadline = time.monotonic() + 120
        while "komrc_queue_length 1.0" not in httpx.get(busy.url + "/metrics").text:
            assert time.monotonic() < deadline
        assert ask(busy.url + "/predict", large, JSON)[0] == 429
        assert first.result()[0] == 200


def test_a_client_that_never_stops_sending_is_closed(programs):
    one = programs("--max-body-bytes", "1000", "--body-timeout", "1")
    with socket.create_connection((one.host, one.port), timeout=60) as connection:
        connection.sendall(b"POST /predict HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n")
        connection.sendall(b"content-length: 100000000000\r\n\r\n")
        assert b" 413 " in connection.recv(65536)
        closed = threading.Event()
        timer = threading.Timer(30, closed.set)
        timer.start()
        with pytest.raises(OSError):
            while not closed.is_set():
                connection.sendall(b"x" * 65536)
        timer.cancel()
        assert not closed.is_set()
    assert httpx.get(one.url + "/health").status_code == 200


def test_a_refused_client_does_not_hold_up_the_end(programs):
    one = programs("--max-body-bytes", "1000", "--body-timeout", "60", "--shutdown-timeout", "50")
    with socket.create_connection((one.host, one.port), timeout=60) as connection:
        connection.sendall(b"POST /predict HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n")
        connection.sendall(b"content-length: 5000\r\n\r\nx")
        assert b" 413 " in connection.recv(65536)
        one.process.terminate()
        one.process.wait(20)
