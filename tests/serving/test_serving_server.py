"""The server as a program: start, failure to start, several processes, and an end that loses nothing."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from support.fake_server import SOURCE

from komrc.serving import server
from komrc.serving.options import ServeOptions

BODY = {"inputs": {"question": "언제?", "context": "1443년에."}}


def test_one_line_when_ready_and_quiet_after(programs):
    one = programs()
    httpx.get(one.url + "/health")
    assert one.log.read_text().count("\n") == 1


def test_no_reply_waits_for_the_acknowledgement_of_its_head():
    with server._listen(ServeOptions(port=0)) as listener:
        with socket.create_connection(listener.getsockname()):
            accepted, _ = listener.accept()
            with accepted:
                assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_sigterm_answers_what_was_accepted(programs):
    one = programs("--request-timeout", "20", "--cache-answers", "0", FAKE_SECONDS="2")

    def ask(n):
        body = {"inputs": {"question": f"{n}?", "context": "1443년에."}}
        return httpx.post(one.url + "/predict", json=body, timeout=20).status_code

    with ThreadPoolExecutor(13) as pool:
        asked = [pool.submit(ask, n) for n in range(12)]
        deadline = time.monotonic() + 10
        while "komrc_queue_length 12.0" not in httpx.get(one.url + "/metrics").text:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        one.process.send_signal(signal.SIGTERM)
        time.sleep(0.1)
        assert httpx.get(one.url + "/ready").json() == {"status": "draining"}
        assert httpx.post(one.url + "/predict", json=BODY).status_code == 503
        assert [one.result() for one in asked] == [200] * 12
    assert one.process.wait(10) == -signal.SIGTERM


def test_shutdown_ends_in_time_whatever_runs(programs):
    one = programs("--shutdown-timeout", "0.5", FAKE_SECONDS="3")
    with socket.create_connection((one.host, one.port)) as connection:
        text = json.dumps(BODY).encode()
        connection.sendall(
            b"POST /predict HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
            b"content-length: %d\r\n\r\n%s" % (len(text), text)
        )
        time.sleep(0.3)
        one.process.send_signal(signal.SIGTERM)
        assert one.process.wait(8) == -signal.SIGTERM


def test_sigterm_while_loading_ends_at_once(programs):
    one = programs(wait=False, FAKE_LOAD_SECONDS="60")
    time.sleep(3)
    one.process.send_signal(signal.SIGTERM)
    one.process.wait(10)


def test_a_model_that_can_not_be_loaded_ends_the_server(programs):
    started = [programs(*flags, wait=False, FAKE_LOAD_ERROR="1") for flags in ((), ("--workers", "2"))]
    for one in started:
        assert one.process.wait(30) == 4
        log = one.log.read_text()
        assert "look elsewhere" in log.lower() and "Traceback" not in log


def test_several_workers_answer_and_end_together(programs):
    two = programs("--workers", "2")
    time.sleep(1.5)
    with ThreadPoolExecutor(8) as pool:
        codes = list(pool.map(lambda _: httpx.post(two.url + "/forward", json=BODY).status_code, range(24)))
    assert set(codes) <= {200, 503}  # 503: the second one is still loading
    metrics = httpx.get(two.url + "/metrics").text
    line = next(
        row
        for row in metrics.splitlines()
        if row.startswith('komrc_requests_total{route="/forward",status="200"')
    )
    assert float(line.split()[-1]) == codes.count(200)
    two.process.send_signal(signal.SIGTERM)
    assert two.process.wait(15) == 128 + signal.SIGTERM


def test_a_taken_port_is_said_plainly(programs, program):
    second = subprocess.run(
        [sys.executable, "-m", "komrc", "serve", "--port", str(program.port)],
        env={"PYTHONPATH": str(SOURCE), "PATH": ""},
        check=False,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert second.returncode == 2
    assert "--port" in second.stderr and "Traceback" not in second.stderr


def test_listening_beyond_this_machine_is_warned_of(programs, program):
    open_to_all = programs("--host", "0.0.0.0")
    open_to_all.end()
    assert "other machines" in open_to_all.log.read_text()
    assert "other machines" not in program.log.read_text()


def test_the_hugging_face_client_works_unchanged(program):
    from huggingface_hub import InferenceClient

    context = "훈민정음은 1443년에 창제되었다."
    for address in (program.url + "/predict", program.url):
        client = InferenceClient(address)
        best = client.question_answering(question="언제?", context=context)
        assert best.answer == context[best.start : best.end]
        listed = client.question_answering(
            question="언제?",
            context=context,
            top_k=3,
            align_to_words=False,
            max_answer_len=5,
            max_seq_len=128,
            max_question_len=20,
            doc_stride=16,
            handle_impossible_answer=False,
        )
        assert len(listed) == 3 and all(0 <= one.score <= 1 for one in listed)


def test_the_embedded_model_is_served_without_torch_or_transformers():
    code = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "transformers"):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Refuse())
from komrc.serving.app import create_app
from komrc.serving.loading import load
from komrc.serving.options import ServeOptions
from starlette.testclient import TestClient
with TestClient(create_app(ServeOptions(), load), "http://localhost") as web:
    while web.get("/ready").status_code != 200:
        pass
    pair = {"question": "누가 만들었나?", "context": "훈민정음은 세종이 만들었다."}
    reply = web.post("/forward", json={"inputs": pair})
    best = reply.json()["output"]
    assert best["answer"] == pair["context"][best["start"]:best["end"]] != ""
assert not {"torch", "transformers", "plotly", "kiwipiepy"} & set(sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(SOURCE)},
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr


def ten_under_way(one, pool):
    """Ten requests that the engine will not answer soon, as futures of (status, code)."""

    def ask(n):
        body = {"inputs": {"question": f"{n}?", "context": "1443년에."}}
        reply = httpx.post(one.url + "/predict", json=body, timeout=20)
        return reply.status_code, reply.json().get("code")

    asked = [pool.submit(ask, n) for n in range(10)]
    deadline = time.monotonic() + 10
    while "komrc_queue_length 10.0" not in httpx.get(one.url + "/metrics").text:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return asked


def test_a_second_ctrl_c_refuses_what_is_under_way_in_one_line(programs):
    one = programs("--request-timeout", "20", "--cache-answers", "0", FAKE_SECONDS="3")
    with ThreadPoolExecutor(10) as pool:
        asked = ten_under_way(one, pool)
        before = one.log.read_text()
        for _ in range(2):
            one.process.send_signal(signal.SIGINT)
            time.sleep(0.3)
        assert [one.result() for one in asked] == [(503, "draining")] * 10
    one.process.wait(10)
    said = one.log.read_text().removeprefix(before)
    assert "10 requests" in said.splitlines()[0]
    assert "ASGI" not in said and "ERROR" not in said


@pytest.mark.usefixtures("hangup_by_default")
def test_a_closed_terminal_ends_the_server_as_sigterm_does(programs):
    one = programs("--request-timeout", "20", "--cache-answers", "0", FAKE_SECONDS="1")
    with ThreadPoolExecutor(10) as pool:
        asked = ten_under_way(one, pool)
        one.process.send_signal(signal.SIGHUP)
        assert [one.result()[0] for one in asked] == [200] * 10
    assert one.process.wait(10) == -signal.SIGHUP
