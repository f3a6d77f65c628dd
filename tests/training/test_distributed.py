"""What the first process of several tells the others."""

from __future__ import annotations

import json
from typing import Any

import pytest

pytest.importorskip("torch")

from komrc.errors import DataError, KomrcError, Problem, TrainingError
from komrc.training import distributed
from komrc.training.distributed import ProcessLostError, on_rank0

FOUND = Problem("$.data[0]", "no context", "add one", "q1")


def in_both(monkeypatch: pytest.MonkeyPatch, error: Exception) -> tuple[BaseException, BaseException]:
    """What the first and the second process raise where the first one's action does."""
    sent: list[str] = []
    raised: list[BaseException] = []

    def gather(value: Any) -> list[Any]:
        sent.append(json.dumps(value))
        return [json.loads(sent[0]), {}]

    def action() -> None:
        raise error

    monkeypatch.setattr(distributed, "gather_json", gather)
    monkeypatch.setattr(distributed, "world_size", lambda: 2)
    for number in (0, 1):
        monkeypatch.setattr(distributed, "rank", lambda number=number: number)
        with pytest.raises(Exception) as caught:
            on_rank0(action)
        raised.append(caught.value)
    return raised[0], raised[1]


@pytest.mark.parametrize(
    "error",
    [
        DataError("1 problem", where="train.json", fix="correct it", problems=[FOUND]),
        ProcessLostError("another process ended", fix="run it again"),
    ],
)
def test_every_process_raises_the_whole_error(monkeypatch: pytest.MonkeyPatch, error: KomrcError) -> None:
    first, second = in_both(monkeypatch, error)
    assert first is error
    assert (type(second), str(second)) == (type(error), str(error))


def test_an_exception_that_is_not_ours_ends_the_others_with_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = in_both(monkeypatch, RuntimeError("out of memory"))
    assert type(first) is RuntimeError
    assert isinstance(second, TrainingError)
    assert "RuntimeError: out of memory" in str(second)
