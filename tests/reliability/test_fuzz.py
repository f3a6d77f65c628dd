"""Random texts and damaged files: answers that stand in the text, or errors of komrc.errors, nothing else."""

from __future__ import annotations

from itertools import islice
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.hostile import CONTEXT, TARGETS, check_answers, check_same, mutated, pairs, reader


@pytest.mark.parametrize("name", TARGETS)
def test_damaged_input_is_refused_clearly(name: str) -> None:
    if name in ("config", "weights"):
        pytest.importorskip("torch")
    target, seed = TARGETS[name]
    draw = Random(11)
    target(seed())
    for _ in range(60):
        target(mutated(seed(), draw))


@pytest.mark.parametrize("name", ["squad", "settings", "weights", "manifest", "features", "text", "decoding"])
@settings(max_examples=25, deadline=None)
@given(data=st.binary(max_size=400))
def test_any_bytes_are_refused_clearly(name: str, data: bytes) -> None:
    if name == "weights":
        pytest.importorskip("torch")
    TARGETS[name][0](data)


def test_answers_stand_in_the_text_alone_and_in_company() -> None:
    some = list(islice(pairs(3), 320))
    together = reader().read_many(some, top_k=3)
    assert sum(map(bool, together)) > 300
    for (question, context), answers in zip(some, together, strict=True):
        check_answers(context, answers)
        check_same(reader().read(question, context, top_k=3), answers)


@settings(max_examples=40, deadline=None)
@given(st.text(min_size=1, max_size=60), st.lists(st.sampled_from(CONTEXT), max_size=30))
def test_any_text_is_answered_or_refused(head: str, tail: list[str]) -> None:
    context = head + "".join(tail)
    if context.strip():
        check_answers(context, reader().read("누구?", context))
