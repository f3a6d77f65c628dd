"""The order in which the engine reads the windows of waiting requests.

Requests are of two classes, short and long ones. Start-time fair queueing (Goyal, Vin and Cheng, "Start-time
Fair Queuing: A Scheduling Algorithm for Integrated Services Packet Switching Networks", SIGCOMM 1996, section
2) shares the engine between the classes: while both wait, the long ones together get LONG_SHARE of the tokens
that are read, however many short ones there are, and the short ones the rest. A class that waits alone gets
all. Within a class, requests take turns of one window (round robin).
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Generic, Literal, TypeVar

J = TypeVar("J", bound=Hashable)
RequestClass = Literal["short", "long"]

LONG_SHARE = 1 / 3  # with it, short requests take at most 1.5 times as long beside long ones
_SHORT_BATCHES = 8  # a request of more full batches is a long one
WEIGHTS: dict[RequestClass, float] = {"short": 1 - LONG_SHARE, "long": LONG_SHARE}


@dataclass(slots=True)
class _Windows:
    lengths: Sequence[int]  # tokens of each window
    next: int  # the first window that no batch has taken


@dataclass(slots=True)
class _Class(Generic[J]):
    weight: float
    start: float = 0.0  # the start tag of its next window: tokens it was given, over its weight
    waiting: dict[J, _Windows] = field(default_factory=dict)  # in the order of their turns
    served: dict[J, _Windows] = field(default_factory=dict)  # had a turn in the last batch, and have more

    @property
    def backlogged(self) -> bool:
        return bool(self.waiting or self.served)


class FairQueue(Generic[J]):
    """Requests with windows that no batch has taken.

    Args:
        batch_tokens: tokens of a full batch. A request of more than eight full batches is a long one.
    """

    def __init__(self, batch_tokens: int) -> None:
        self._batch_tokens = batch_tokens
        self._classes: dict[RequestClass, _Class[J]] = {
            name: _Class(weight) for name, weight in WEIGHTS.items()
        }
        self._virtual_time = 0.0  # the start tag of the last window that was taken

    def __bool__(self) -> bool:
        return any(one.backlogged for one in self._classes.values())

    def class_of(self, lengths: Sequence[int]) -> RequestClass:
        """The class of a request whose windows have these lengths, in tokens."""
        return "long" if sum(lengths) > _SHORT_BATCHES * self._batch_tokens else "short"

    def add(self, job: J, lengths: Sequence[int], first: int = 0) -> None:
        """Add a request.

        Args:
            job: the request.
            lengths: tokens of each of its windows; at least one beyond ``first``.
            first: windows before this one are not needed.
        """
        own = self._classes[self.class_of(lengths)]
        if not own.backlogged:
            own.start = max(own.start, self._virtual_time)  # an idle class saves nothing up
        own.waiting[job] = _Windows(lengths, first)

    def discard(self, job: J) -> None:
        """Remove a request, if it is there."""
        for one in self._classes.values():
            one.waiting.pop(job, None)
            one.served.pop(job, None)

    def tokens_left(self, name: RequestClass) -> dict[J, int]:
        """Tokens of the windows that no batch has taken, for each request of a class."""
        own = self._classes[name]
        return {
            job: sum(windows.lengths[windows.next :])
            for job, windows in [*own.waiting.items(), *own.served.items()]
        }

    def window_lengths(self) -> Iterator[int]:
        """Tokens of each window that no batch has taken, in any order."""
        for one in self._classes.values():
            for windows in [*one.waiting.values(), *one.served.values()]:
                yield from windows.lengths[windows.next :]

    def take(self) -> list[tuple[J, list[int]]]:
        """Remove the windows of the next batch: the first ones in order that fit, at least one.

        Each request with the numbers of its windows.
        """
        for one in self._classes.values():  # requests that came meanwhile are before those of the last batch
            one.waiting |= one.served
            one.served.clear()
        taken: dict[J, list[int]] = {}
        room = self._batch_tokens
        while room > 0 and (backlogged := [one for one in self._classes.values() if one.backlogged]):
            own = min(backlogged, key=lambda one: one.start)
            job, windows = next(iter((own.waiting or own.served).items()))
            length = windows.lengths[windows.next]
            if taken and length > room:
                break
            room -= length
            taken.setdefault(job, []).append(windows.next)
            self._virtual_time = own.start
            own.start += length / own.weight
            if not own.waiting:  # each had its turn in this batch
                own.waiting, own.served = own.served, own.waiting
            del own.waiting[job]
            windows.next += 1
            if windows.next < len(windows.lengths):
                own.served[job] = windows
        return list(taken.items())
