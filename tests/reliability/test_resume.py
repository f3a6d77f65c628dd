"""A run that is killed and resumed ends bit for bit like one that was not, whatever the options."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest
from support.faults import in_child

pytest.importorskip("torch")

from support.resuming import CASES, differences, killed, whole
from support.tiny_run import material


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return material(tmp_path_factory.mktemp("resume"))


# Six micro-batches an epoch, three or four of them a step: 7 is the first behind the edge; 0 stands for
# the end.
@pytest.mark.parametrize(
    ("cases", "kill_at"),
    [
        (["plain"], 0),
        (["remainder", "evaluation in between"], 9),
        (["token budget", "bf16", "every token's particles"], 7),
        (["two workers"], 8),
    ],
)
def test_a_kill_changes_nothing(made: Path, tmp_path: Path, cases: list[str], kill_at: int) -> None:
    options: dict[str, Any] = {}
    for case in cases:
        options |= CASES[case]
    ended = in_child(lambda: whole(made, tmp_path / "whole", **options))
    assert ended.error is None and ended.value.exit_code == 0, ended
    cut = tmp_path / "cut"
    assert in_child(lambda: killed(made, cut, kill_at, **options)).code == -signal.SIGKILL
    assert not (cut / "model.safetensors").exists()
    ended = in_child(lambda: whole(made, cut, resume=True, **options))
    assert ended.error is None, ended.error
    assert differences(tmp_path / "whole", cut) == []
