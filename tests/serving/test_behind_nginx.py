"""deploy/nginx.conf as it is, on Debian's nginx, before real server processes: killed, drained, all gone."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from support.fake_server import make_reader

CONFIGURATION = Path(__file__).parents[2] / "deploy/nginx.conf"
NGINX = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
CONTEXT = "훈민정음은 1443년에 세종이 창제하였다. 해설서는 1446년에 나왔다!"
CLIENTS = 8

pytestmark = pytest.mark.skipif(NGINX is None, reason="nginx is not installed (Debian: nginx-light)")


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as one:
        return one.getsockname()[1]


def until(true, what, seconds=60.0):
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


@pytest.fixture
def nginx(tmp_path):
    """``nginx(port, port)``: the address of an nginx before two replicas on these ports, and its log."""
    with ExitStack() as stack:

        def start(*ports):
            port, log = free_port(), tmp_path / "nginx.log"
            text = CONFIGURATION.read_text(encoding="utf-8")
            for number, replica in enumerate(ports, 1):
                text = text.replace(f"replica-{number}:8888", f"127.0.0.1:{replica}")
            text = text.replace("listen 8080", f"listen 127.0.0.1:{port}").replace("/tmp/", f"{tmp_path}/")
            text = text.replace("/dev/stderr", str(log)).replace("processes auto", "processes 2")
            if os.getuid() == 0:  # its workers would otherwise give that up, and could not enter the folder
                text = f"user root;\n{text}"
            (tmp_path / "nginx.conf").write_text(text, encoding="utf-8")
            process = subprocess.Popen(
                [NGINX, "-p", tmp_path, "-c", tmp_path / "nginx.conf", "-e", log, "-g", "daemon off;"]
            )
            stack.callback(process.wait, 10)
            stack.callback(process.terminate)

            def listens():
                assert process.poll() is None, log.read_text()
                with socket.socket() as one:
                    return one.connect_ex(("127.0.0.1", port)) == 0

            until(listens, "nginx does not listen")
            return f"http://127.0.0.1:{port}", log

        yield start


class Load:
    """Clients that ask one thing after the other, each something new; what they were told."""

    def __init__(self, url):
        self.url = url
        self.replies: list[tuple[str, int, str]] = []  # question, status (0: the connection broke), body
        self._stop = threading.Event()
        self._pool = ThreadPoolExecutor(CLIENTS)
        self._running = [self._pool.submit(self._ask, n) for n in range(CLIENTS)]

    def _ask(self, number):
        with httpx.Client(base_url=self.url, timeout=60) as web:
            turn = 0
            while not self._stop.is_set():
                turn += 1
                question = f"{number} {turn}?"
                body = {"inputs": {"question": question, "context": CONTEXT}}
                try:
                    reply = web.post("/predict", json=body)
                    self.replies.append((question, reply.status_code, reply.text))
                except httpx.HTTPError as error:
                    self.replies.append((question, 0, repr(error)))

    def more(self, count):
        wanted = len(self.replies) + count
        until(lambda: len(self.replies) >= wanted, "no more answers")

    def end(self):
        self._stop.set()
        for one in self._running:
            one.result(60)
        self._pool.shutdown()


def figure(program, name):
    found = re.search(rf"^{re.escape(name)} (\S+)$", httpx.get(program.url + "/metrics").text, re.MULTILINE)
    return float(found[1]) if found else 0.0


def test_a_killed_and_a_drained_replica_cost_no_request(programs, nginx):
    def replica(port=0):
        return programs("--cache-answers", "0", "--port", str(port), FAKE_SECONDS="0.05")

    first, second = replica(), replica()
    url, log = nginx(first.port, second.port)
    load = Load(url)
    try:
        load.more(3 * CLIENTS)
        until(lambda: figure(first, "komrc_queue_length") >= 2, "the first replica has nothing to do")
        first.process.kill()
        first.process.wait(10)
        load.more(3 * CLIENTS)
        third = replica(first.port)
        answered = 'komrc_requests_total{route="/predict",status="200"}'
        until(lambda: figure(third, answered) >= CLIENTS, "nginx does not come back to a replica")
        until(lambda: figure(second, "komrc_queue_length") >= 2, "the second replica has nothing to do")
        second.process.send_signal(signal.SIGTERM)
        assert second.process.wait(30) == -signal.SIGTERM
        load.more(3 * CLIENTS)
    finally:
        load.end()
    failed = [one for one in load.replies if one[1] != 200]
    assert not failed, failed[:5]
    reader = make_reader()
    for question, _, text in load.replies[:: max(1, len(load.replies) // 20)]:
        assert httpx.Response(200, text=text).json()["answer"] == reader.read(question, CONTEXT)[0].text
    # The kill did meet requests under way: nginx saw their connections break, and asked the other replica.
    broken = re.findall(r"(?:prematurely closed|reset by peer).*?POST /predict", log.read_text())
    assert broken, log.read_text()


def test_a_server_that_is_not_there_is_said_in_the_form_of_all_errors(nginx):
    url, _ = nginx(free_port(), free_port())
    reply = httpx.post(url + "/predict", json={"inputs": {"question": "?", "context": "가"}})
    assert (reply.status_code, reply.json()["code"], reply.headers["retry-after"]) == (
        503, "unavailable", "2",
    )  # fmt: skip
    assert httpx.get(url + "/metrics").status_code == 404


@pytest.mark.parametrize(
    ("path", "times"),
    [("/predict", 2), ("/", 2), ("/v1/answers", 2), ("/v2/models/komrc/infer", 2), ("/other", 1)],
)
def test_only_what_changes_nothing_is_sent_twice(nginx, path, times):
    """Before two replicas that read a request and die."""
    seen = []
    with ExitStack() as stack:

        def die(listener):
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    connection.settimeout(10)
                    if data := connection.recv(65536):
                        seen.append(data.split(b" ")[1])

        ports = []
        for _ in range(2):
            listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            stack.callback(listener.shutdown, socket.SHUT_RDWR)
            threading.Thread(target=die, args=[listener], daemon=True).start()
            ports.append(listener.getsockname()[1])
        url, _ = nginx(*ports)
        assert httpx.post(url + path, json={}).status_code == 503
    assert seen == [path.encode()] * times


class Replicas:
    """Stand-ins that answer at once, but for the first request of all, which is held until ``release``."""

    def __init__(self, stack, count):
        self.asked = [0] * count
        self.holding, self.release = threading.Event(), threading.Event()
        self._lock = threading.Lock()
        listeners = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        self.ports = [one.getsockname()[1] for one in listeners]
        for number, listener in enumerate(listeners):
            threading.Thread(target=self._serve, args=[number, listener], daemon=True).start()
            stack.callback(listener.shutdown, socket.SHUT_RDWR)
        stack.callback(self.release.set)

    def _serve(self, number, listener):
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=[number, connection], daemon=True).start()

    def _answer(self, number, connection):
        with connection:
            connection.recv(65536)
            with self._lock:
                self.asked[number] += 1
                first = not self.holding.is_set()
                self.holding.set()
            if first:
                self.release.wait(60)
            connection.sendall(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok")


def test_who_is_busy_is_not_asked(nginx):
    with ExitStack() as stack:
        replicas = Replicas(stack, 2)
        url, _ = nginx(*replicas.ports)
        pool = stack.enter_context(ThreadPoolExecutor(1))
        held = pool.submit(httpx.post, url + "/predict", json={}, timeout=60)
        assert replicas.holding.wait(30)
        for _ in range(6):
            assert httpx.post(url + "/predict", json={}).status_code == 200
        assert sorted(replicas.asked) == [1, 6]
        replicas.release.set()
        assert held.result(30).status_code == 200


def test_who_is_gone_is_left_alone_for_a_while(nginx):
    with ExitStack() as stack:
        replicas = Replicas(stack, 1)
        replicas.holding.set()
        url, log = nginx(free_port(), *replicas.ports)
        began = time.monotonic()
        for _ in range(30):
            assert httpx.post(url + "/predict", json={}).status_code == 200
        tries = len(re.findall(r"connect\(\) failed", log.read_text()))
        assert 1 <= tries <= 1 + (time.monotonic() - began) / 2
