"""What can't be read in time is refused before it is computed, with a true reason."""

from __future__ import annotations

import json
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from support.fake_server import make_reader

from komrc import long_texts
from komrc.serving.pace import Pace

TEXT = "훈민정음은 1443년에 세종이 창제하였다. "  # a token for each character
LONG = TEXT * 1_500


class Clock:
    now = 1_000.0

    def __call__(self):
        return self.now


def test_the_speed_is_that_of_full_batches_and_forgets():
    clock = Clock()
    pace = Pace(full=500, clock=clock)
    assert not pace.measured
    pace.record(500, 60.0, 500)  # the first one: the engine prepares itself
    for _ in range(10):
        pace.record(20, 1.0, 20)  # a short text alone says nothing
    assert not pace.measured
    for _ in range(10):
        pace.record(500, 0.1, 500)
    assert pace.measured
    assert pace.seconds_alone([400] * 10) == pytest.approx(0.8)
    clock.now += 3_600
    assert not pace.measured
    for _ in range(10):
        pace.record(500, 0.2, 500)
    assert pace.seconds_alone([400] * 10) == pytest.approx(1.6, rel=0.01)


def test_a_crowd_makes_a_long_text_wait_at_each_window():
    clock = Clock()
    pace = Pace(full=500, clock=clock)
    for _ in range(200):
        pace.record(500, 0.1, 4_000)  # ten others wait with 400 tokens each
        clock.now += 0.1
    alone, beside = pace.seconds_alone([400] * 10), pace.seconds_shared([400] * 10)
    assert alone == pytest.approx(0.8)
    assert beside == pytest.approx(alone * 11, rel=0.05)
    with_it = pace.seconds_shared([400] * 10, present=60)  # it was one of the ten itself
    assert with_it == pytest.approx(alone * 10, rel=0.05)
    clock.now += 8  # they are gone; the speed is known still
    pace.record(500, 0.1, 0)
    assert pace.seconds_shared([400] * 10) < 1.2 * alone


def ask(web, context, question="언제?", **headers):
    return web.post("/predict", json={"inputs": {"question": question, "context": context}}, headers=headers)


def test_a_text_too_long_for_the_time_is_refused_with_the_length_that_is_not(client, monkeypatch):
    monkeypatch.setattr(long_texts, "LONG", len(LONG))  # all of it is read
    reader = make_reader(seconds=0.05)
    web = client(reader, request_timeout=4, cache_answers=0)
    first = ask(web, LONG)
    assert first.status_code == 413, first.text
    body = first.json()
    assert (body["code"], body["field"]) == ("too_long", "inputs.context")
    assert "retry-after" not in first.headers
    windows = sum(make_reader().prepare([_example(LONG)]).windows.lengths > 0)
    assert sum(reader.engine.batches) < windows / 2  # it was given up long before the end of its time
    ran = len(reader.engine.batches)
    assert ask(web, LONG, "누가?").status_code == 413
    assert len(reader.engine.batches) <= ran + 2  # and at once where the speed is known
    most = int(re.search(r"at most (\d+) characters", body["error"])[1])
    assert 0 < most < len(LONG)
    assert ask(web, LONG[:most]).status_code == 200


def test_a_short_text_is_always_tried(client):
    web = client(make_reader(seconds=0.3), request_timeout=2, cache_answers=0)
    assert [ask(web, TEXT, f"{n}?").status_code for n in range(4)] == [200] * 4


def test_a_long_text_beside_many_short_ones_gets_429_and_not_504(client):
    reader = make_reader(seconds=0.05)
    web = client(reader, request_timeout=6, cache_answers=0)
    context = TEXT * 60  # some 10 windows, which take a second alone
    stop = threading.Event()

    def short(number):
        turn = 0
        while not stop.is_set():
            turn += 1
            assert ask(web, TEXT * 12, f"{number} {turn}?").status_code == 200

    assert ask(web, context).status_code == 200
    with ThreadPoolExecutor(24) as pool:
        others = [pool.submit(short, n) for n in range(24)]
        time.sleep(4)
        reply = ask(web, context, "누가?")
        stop.set()
        for one in others:
            one.result()
    assert (reply.status_code, reply.json()["code"]) == (429, "busy"), reply.text
    assert int(reply.headers["retry-after"]) >= 1
    deadline = time.monotonic() + 120
    while (again := ask(web, context, "누가?")).status_code == 429:
        assert time.monotonic() < deadline
    assert again.status_code == 200


def test_a_text_that_takes_most_of_the_time_is_read_where_nobody_else_asks(client):
    web = client(make_reader(seconds=0.05), request_timeout=3, cache_answers=0)
    context = TEXT * 120  # some 40 batches: two thirds of the time
    assert [ask(web, context, f"{n}?").status_code for n in range(2)] == [200, 200]


def test_a_long_text_that_comes_with_the_crowd_is_given_up_early(client):
    reader = make_reader(seconds=0.05)
    web = client(reader, request_timeout=8, cache_answers=0, max_queue=64)
    context = TEXT * 60
    assert ask(web, context).status_code == 200
    stop = threading.Event()

    def short(number):
        turn = 0
        while not stop.is_set():
            turn += 1
            assert ask(web, TEXT * 12, f"{number} {turn}?").status_code == 200

    with ThreadPoolExecutor(33) as pool:
        long = pool.submit(ask, web, context, "누가?")
        others = [pool.submit(short, n) for n in range(32)]
        reply = long.result()
        stop.set()
        for one in others:
            one.result()
    assert (reply.status_code, reply.json()["code"]) == (429, "busy"), reply.text


def test_a_stream_is_not_cut_while_it_makes_progress(client):
    web = client(make_reader(seconds=0.05), request_timeout=1, max_batch_tokens=400)
    body = {"question": "언제?", "context": TEXT * 200}
    reply = web.post("/v1/answers", json=body, headers={"accept": "application/x-ndjson"})
    *progress, last = map(json.loads, reply.text.splitlines())
    assert len(progress) * 0.05 > 1.0
    assert last["result"]["results"][0]["answers"], last


def test_a_stream_without_progress_is_cut(client):
    web = client(make_reader(seconds=1.5), request_timeout=0.5)
    body = {"question": "언제?", "context": TEXT}
    reply = web.post("/v1/answers", json=body, headers={"accept": "application/x-ndjson"})
    assert json.loads(reply.text.splitlines()[-1])["failure"]["code"] == "deadline"


def _example(context):
    from komrc.types import Example

    return Example("", "언제?", context)
