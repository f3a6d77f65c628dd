"""Two processes share every epoch's windows out: each once, in another order than the epoch before."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from support.faults import in_child

pytest.importorskip("torch")

from support import ranks
from support.resuming import before_batch, whole
from support.tiny_run import material

MORE = {"per_gpu_train_batch_size": 2, "save_steps": -1, "predict_file": None, "num_train_epochs": 2.0}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return material(tmp_path_factory.mktemp("sharing"), train=14, dev=8)


def windows_seen(made: Path, output: Path, **more: Any) -> list[list[str]]:
    """The tokens of the windows of each micro-batch, without those that only keep the others company."""
    seen = list[list[str]]()

    def look(_state: Any, inputs: dict[str, Any], _count: int) -> None:
        rows = zip(inputs["input_ids"].tolist(), inputs["attention_mask"].sum(1).tolist(), strict=True)
        texts = [str(row[:length]) for row, length in rows]
        seen.append([t for t, w in zip(texts, inputs["weight"].tolist(), strict=True) if w])

    whole(made, output, callbacks=[before_batch(look)], **MORE, **more)
    return seen


def test_every_epoch_deals_out_each_window_once_in_an_order_of_its_own(made: Path, tmp_path: Path) -> None:
    alone = in_child(lambda: windows_seen(made, tmp_path / "one", boundary_head=False))
    both = ranks.together(lambda: windows_seen(made, tmp_path / "two", boundary_head=False))
    assert [one.error for one in (alone, *both)] == [None] * 3
    every = Counter(text for batch in alone.value for text in batch)
    first, second = (one.value for one in both)
    epoch = len(first) // 2
    assert len(first) == len(second) == 2 * epoch
    orders = []
    for part in (slice(epoch), slice(epoch, None)):
        batches = list(zip(first[part], second[part], strict=True))
        dealt = Counter(text for shares in batches for share in shares for text in share)
        assert {text: 2 * times for text, times in dealt.items()} == every
        orders.append(batches)
    assert orders[0] != orders[1]
