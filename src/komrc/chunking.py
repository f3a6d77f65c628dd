"""A stream of examples in chunks, each processed one chunk ahead of the consumer on another thread."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")
Chunk = TypeVar("Chunk")
Result = TypeVar("Result")

_FIRST_CHUNK, _LARGEST_CHUNK = 16, 256  # examples


def growing_chunks(items: Iterable[Item]) -> Iterator[list[Item]]:
    """The items in chunks of 16, 32, 64, 128 and then always 256; the last one may be shorter.

    A small first chunk brings the first answers, and an estimate of the time left, early.
    """
    iterator, size = iter(items), _FIRST_CHUNK
    while chunk := list(islice(iterator, size)):
        yield chunk
        size = min(2 * size, _LARGEST_CHUNK)


def process_ahead(process: Callable[[Chunk], Result], chunks: Iterable[Chunk]) -> Iterator[Result]:
    """``process(chunk)`` of each chunk, in order; the next chunk is processed on one other thread meanwhile.

    An exception of ``process`` is raised at the place of its chunk's result.
    """
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="komrc-windows") as executor:
        current: Future[Result] | None = None
        for chunk in chunks:
            following = executor.submit(process, chunk)
            if current is not None:
                yield current.result()
            current = following
        if current is not None:
            yield current.result()
