"""Several processes of one run in forked children, each told its place as torchrun tells it."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from typing import Any

from support.faults import Child, Ended, start_child


def start(action: Callable[[], Any], count: int = 2) -> list[Child]:
    """Start ``action`` in so many processes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    def placed(rank: int) -> Any:
        place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count}
        os.environ.update({name: str(value) for name, value in place.items()})
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
        return action()

    return [start_child(lambda rank=rank: placed(rank)) for rank in range(count)]


def together(action: Callable[[], Any], count: int = 2) -> list[Ended]:
    """Run ``action`` in so many processes to their ends."""
    return [child.wait() for child in start(action, count)]
