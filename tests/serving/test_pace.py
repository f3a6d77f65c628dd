"""What can't be read in time is refused before it is computed, with a true reason."""

from __future__ import annotations

import json
import re
import threading

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
    pace.record({"long": 500}, 60.0)  # the first one: the engine prepares itself
    for _ in range(10):
        pace.record({"short": 20}, 1.0)  # a short text alone tells nothing
    assert not pace.measured
    for _ in range(10):
        pace.record({"long": 300, "short": 200}, 0.1)
    assert pace.measured
    assert pace.seconds_alone(4_000) == pytest.approx(0.8)
    pace.record({"long": 500}, 30.0)  # something else held the engine up once
    assert pace.seconds_alone(4_000) == pytest.approx(0.8)
    clock.now += 3_600
    assert not pace.measured
    for _ in range(10):
        pace.record({"long": 500}, 0.2)
    assert pace.seconds_alone(4_000) == pytest.approx(1.6)


def test_a_class_gets_its_share_and_what_the_other_one_leaves():
    clock = Clock()
    pace = Pace(full=500, clock=clock)

    def load(short, long):
        for _ in range(400):
            clock.now += 0.1
            pace.record({"short": short, "long": long}, 0.1 * (short + long) / 500)

    load(500, 0)
    assert pace.share("long") == pytest.approx(1 / 3, abs=0.03)
    assert pace.share("short") == pytest.approx(1, abs=0.03)
    load(100, 400)
    assert pace.share("long") == pytest.approx(0.8, abs=0.03)
    assert pace.share("short") == pytest.approx(2 / 3, abs=0.03)  # though the long ones use more now
    clock.now += 60
    assert pace.share("long") == pytest.approx(1)


def test_requests_that_take_turns_end_in_the_order_of_their_lengths():
    pace = Pace(full=500, clock=Clock())
    for _ in range(10):
        pace.record({"short": 500}, 0.1)
    seconds = pace.seconds_together([1_000, 3_000, 2_000], "short")
    # 1,000 tokens of each; then 1,000 of the two others; then the rest of the second.
    assert seconds == pytest.approx([0.6, 1.2, 1.0])


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


def test_what_to_do_with_all_of_a_long_text_is_in_the_refusal(client):
    web = client(make_reader(seconds=0.01), request_timeout=2, cache_answers=0)
    body = {"question": "언제?", "context": LONG, "exhaustive": True}
    refused = web.post("/v1/answers", json=body)
    assert (refused.status_code, refused.json()["code"]) == (413, "too_long"), refused.text
    assert "leave exhaustive out, or ask /v1/answers for application/x-ndjson" in refused.json()["error"]
    promising = web.post("/v1/answers", json={**body, "exhaustive": False})
    assert promising.status_code == 200, promising.text
    stream = web.post("/v1/answers", json=body, headers={"accept": "application/x-ndjson"})
    last = json.loads(stream.text.splitlines()[-1])
    assert last["result"]["windows"] > 5 * promising.json()["windows"]


def test_a_short_text_is_always_tried(client):
    web = client(make_reader(seconds=0.3), request_timeout=2, cache_answers=0)
    assert [ask(web, TEXT, f"{n}?").status_code for n in range(4)] == [200] * 4


def test_a_text_that_takes_most_of_the_time_is_read_where_nobody_else_asks(client):
    web = client(make_reader(seconds=0.05), request_timeout=3, cache_answers=0)
    context = TEXT * 120  # some 40 batches: two thirds of the time
    assert [ask(web, context, f"{n}?").status_code for n in range(2)] == [200, 200]


def test_what_was_read_before_the_deadline_is_not_read_again(client):
    reader = make_reader()
    engine, run, held = reader.engine, reader.engine.run, threading.Event()

    def holding(batch):
        if len(engine.batches) >= 5:
            assert held.wait(120)
        return run(batch)

    engine.run = holding
    web = client(reader, request_timeout=2, cache_answers=0)
    context = TEXT * 200
    windows = len(make_reader().prepare([_example(context)]).windows)
    late = ask(web, context)
    assert (late.status_code, late.json()["code"]) == (504, "deadline"), late.text
    assert "the same request again: what was read of the text is kept" in late.json()["error"]
    assert 0 < sum(engine.batches) < windows
    held.set()
    again = ask(web, context)
    assert again.status_code == 200, again.text
    # Only the batch that was running at the deadline is read twice.
    assert windows <= sum(engine.batches) <= windows + max(engine.batches)
    fresh = ask(client(make_reader(), cache_answers=0), context)
    assert again.json() == fresh.json()
    assert ask(web, context).status_code == 200  # nothing is kept of what was answered
    assert sum(engine.batches) >= 2 * windows


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
