"""Which window is read next. Time is counted in batches, so nothing here depends on a clock."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from komrc.serving.fair_queue import LONG_SHARE, FairQueue

BATCH = 100
BOOK = [100] * 400


class Load:
    """Clients that ask again as soon as they are answered; a batch of the engine is a step."""

    def __init__(self, short: int, books: int = 0, short_lengths: tuple[int, ...] = (50,)):
        self.queue = FairQueue(BATCH)
        self.short_lengths = list(short_lengths)
        self.numbers = itertools.count()
        self.left = {}  # windows left of each request
        self.asked = {}  # the step at which it came
        self.step = 0
        self.tokens = Counter()
        self.waits = []  # batches until a short request was answered
        for _ in range(short):
            self.ask("short")
        for _ in range(books):
            self.ask("book")

    def ask(self, kind):
        job = (kind, next(self.numbers))
        lengths = BOOK if kind == "book" else self.short_lengths
        self.left[job], self.asked[job] = len(lengths), self.step
        self.queue.add(job, lengths)
        return job

    def leave(self, job):
        self.queue.discard(job)
        del self.left[job]

    def run(self, batches):
        for _ in range(batches):
            parts = self.queue.take()
            if not parts:
                return
            self.step += 1
            for job, windows in parts:
                kind = job[0]
                lengths = BOOK if kind == "book" else self.short_lengths
                self.tokens[kind] += sum(lengths[n] for n in windows)
                self.left[job] -= len(windows)
                if not self.left[job]:
                    if kind == "short":
                        self.waits.append(self.step - self.asked[job])
                    self.leave(job)
                    self.ask(kind)


def long_share(load):
    return load.tokens["book"] / sum(load.tokens.values())


@pytest.mark.parametrize("short", [2, 5, 30, 60])
@pytest.mark.parametrize("books", [1, 3])
def test_long_requests_together_get_a_third_however_many_short_ones_there_are(short, books):
    load = Load(short, books)
    load.run(900)
    assert long_share(load) == pytest.approx(LONG_SHARE, abs=0.02)


@pytest.mark.parametrize("lengths", [(50,), (30, 30), (60,), (90, 40)])
@pytest.mark.parametrize("short", [1, 4, 30])
def test_no_short_request_waits_twice_as_long_beside_long_ones(short, lengths):
    alone, beside = Load(short, 0, lengths), Load(short, 2, lengths)
    alone.run(300)
    beside.run(450)
    # One batch more: the one that is running when the request comes.
    assert max(beside.waits) <= 2 * max(alone.waits) + 1
    if short == 30:
        mean = [sum(one.waits) / len(one.waits) for one in (alone, beside)]
        assert mean[1] <= 1.7 * mean[0]  # batches have room for a part of the tokens only


def test_many_long_requests_do_not_hold_up_a_short_one():
    load = Load(0, 40)
    load.run(50)
    load.ask("short")
    load.run(1)
    assert load.waits == [1]


def test_a_class_that_waits_alone_gets_all():
    load = Load(0, 2)
    load.run(50)
    assert load.tokens == {"book": 50 * BATCH}
    load = Load(5, 0)
    load.run(50)
    assert load.tokens == {"short": 50 * BATCH}


@pytest.mark.parametrize(("first", "then"), [("book", "short"), ("short", "book")])
def test_what_a_class_used_alone_is_not_held_against_it(first, then):
    load = Load(*((0, 1) if first == "book" else (30, 0)))
    load.run(500)
    load.tokens.clear()
    for _ in range(30 if then == "short" else 1):
        load.ask(then)
    load.run(60)
    assert long_share(load) == pytest.approx(LONG_SHARE, abs=0.04)


def test_requests_of_a_class_take_turns_of_a_window():
    queue = FairQueue(BATCH)
    queue.add("a", [80] * 3)
    queue.add("b", [80] * 2)
    queue.add("c", [30])
    assert [queue.take() for _ in range(5)] == [
        [("a", [0])],
        [("b", [0])],
        [("c", [0])],
        [("a", [1])],
        [("b", [1])],
    ]
    assert queue.take() == [("a", [2])]
    assert not queue


def test_those_that_came_during_a_batch_are_before_those_that_were_in_it():
    queue = FairQueue(BATCH)
    queue.add("a", [80] * 2)
    assert queue.take() == [("a", [0])]
    queue.add("b", [80])
    assert [queue.take(), queue.take()] == [[("b", [0])], [("a", [1])]]


def test_those_who_leave_give_their_share_back():
    load = Load(4, 0)
    books = [load.ask("book") for _ in range(3)]
    load.run(90)
    for book in books[1:]:
        load.leave(book)
    load.tokens.clear()
    load.run(90)
    assert long_share(load) == pytest.approx(LONG_SHARE, abs=0.03)  # all of it for the one that stayed
    load.leave(books[0])
    load.tokens.clear()
    load.run(10)
    assert load.tokens == {"short": 10 * BATCH}


def test_windows_that_were_read_before_are_left_out():
    queue = FairQueue(BATCH)
    queue.add("a", [40] * 5, first=3)
    assert queue.tokens_left("short") == {"a": 80}
    assert queue.take() == [("a", [3, 4])]


def test_a_request_of_more_than_eight_batches_is_a_long_one():
    queue = FairQueue(BATCH)
    assert [queue.class_of([BATCH] * 8), queue.class_of([BATCH] * 8 + [1])] == ["short", "long"]


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_the_shares_of_two_busy_classes_never_differ_by_more_than_a_window_each(data):
    """Goyal, Vin and Cheng 1996, theorem 1: |W_s / w_s - W_l / w_l| <= l_s / w_s + l_l / w_l."""
    length = st.integers(1, 130)
    queue = FairQueue(BATCH)
    lengths = {}
    for n in range(data.draw(st.integers(1, 6))):
        lengths[f"long {n}"] = data.draw(st.lists(length, min_size=8, max_size=12)) + [BATCH] * 40
    for n in range(300):
        lengths[f"short {n}"] = data.draw(st.lists(length, min_size=1, max_size=2)) if n < 20 else [50]
    for job, own in lengths.items():
        queue.add(job, own)
    read = {"short": 0, "long": 0}
    weights = {"short": 1 - LONG_SHARE, "long": LONG_SHARE}
    bound = sum(130 / weight for weight in weights.values())
    for _ in range(60):
        if not (queue.tokens_left("short") and queue.tokens_left("long")):
            break
        for job, windows in queue.take():
            read[job.split()[0]] += sum(lengths[job][n] for n in windows)
        assert abs(read["short"] / weights["short"] - read["long"] / weights["long"]) <= bound
