"""``python train_with_accident.py train …``: komrc as torchrun starts it, with an accident on the way.

KOMRC_ACCIDENT: "kill RANK COUNT FILE" kills process RANK, once, before its COUNT-th micro-batch, and makes
FILE; "slow SECONDS" makes every micro-batch take so long.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

from komrc.cli import main
from komrc.training import train as training
from komrc.training.callbacks import Callback


class Accident(Callback):
    def __init__(self) -> None:
        self.kind, *self.rest = os.environ.get("KOMRC_ACCIDENT", "none").split()
        self.count = 0

    def on_batch(self, state: Any, batch: dict[str, Any]) -> None:
        self.count += 1
        if self.kind == "slow":
            time.sleep(float(self.rest[0]))
        if self.kind == "kill" and os.environ["RANK"] == self.rest[0] and self.count == int(self.rest[1]):
            done = Path(self.rest[2])
            if not done.exists():
                done.touch()
                os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    training.train = partial(training.train, callbacks=[Accident()])  # type: ignore[assignment]
    sys.exit(main())
