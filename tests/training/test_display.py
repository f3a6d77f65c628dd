"""What a run shows about its steps."""

from __future__ import annotations

import logging
import types
from typing import Any

import pytest

pytest.importorskip("torch")

from komrc.progress import Bars
from komrc.training.display import ProgressCallback


def state(step: int, tokens: int) -> Any:
    return types.SimpleNamespace(step=step, total_steps=10, tokens_seen=tokens)


def test_without_a_terminal_loss_and_scores_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    callback = ProgressCallback(Bars(shown=False))
    with caplog.at_level(logging.INFO):
        callback.on_start(state(0, 0), None, None)  # type: ignore[arg-type]
        callback.on_step(state(1, 50))
        callback.on_log(state(1, 50), {"loss": 1.25, "learning_rate": 5e-5})
        scores = {"exact_match": 50.0, "f1": 75.0}
        callback.on_evaluate(state(1, 50), types.SimpleNamespace(scores=scores, seconds=1.0))  # type: ignore[arg-type]
    first, second = (record.getMessage() for record in caplog.records)
    assert first.startswith("step 1 of 10: loss 1.2500") and "learning rate 5.00e-05" in first
    assert second.startswith("step 1: EM 50.00, F1 75.00")
