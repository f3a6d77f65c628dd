"""``python doomed.py train …``: komrc as torchrun starts it, with an accident on the way.

KOMRC_ACCIDENT: "kill RANK COUNT FILE" kills process RANK, once, before its COUNT-th micro-batch, and makes
FILE; "slow SECONDS" makes every micro-batch take so long.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from komrc.cli import main
from komrc.training.trainer import SpanTrainer


def prepare() -> None:
    kind, *rest = os.environ.get("KOMRC_ACCIDENT", "none").split()
    true, count = SpanTrainer.training_step, 0

    def step(self: Any, *args: Any, **more: Any) -> Any:
        nonlocal count
        count += 1
        if kind == "slow":
            time.sleep(float(rest[0]))
        if kind == "kill" and os.environ["RANK"] == rest[0] and count == int(rest[1]):
            done = Path(rest[2])
            if not done.exists():
                done.touch()
                os.kill(os.getpid(), signal.SIGKILL)
        return true(self, *args, **more)

    SpanTrainer.training_step = step  # type: ignore[method-assign]


if __name__ == "__main__":
    prepare()
    sys.exit(main())
