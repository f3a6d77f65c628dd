"""Checks of what a caller gives a reader: questions, contexts and options."""

from __future__ import annotations

from typing import Any

from komrc.errors import InputError, UsageError, check_whole_number
from komrc.types import Example


def check_answer_options(top_k: object, *, distinct: object, allow_no_answer: object) -> None:
    """Raise UsageError if top_k is no whole number from 1 on, or another option has the wrong type."""
    check_whole_number(top_k, "top_k")
    if not isinstance(allow_no_answer, bool | None):
        raise UsageError(f"must be True, False or None, found {allow_no_answer!r}", where="allow_no_answer")
    if not isinstance(distinct, bool):
        raise UsageError(f"must be True or False, found {distinct!r}", where="distinct")


def check_trim_particles(trim_particles: object) -> None:
    """Raise UsageError unless it is None or "kiwi"."""
    if trim_particles not in (None, "kiwi"):
        raise UsageError(
            f"no way to trim particles is called {trim_particles!r}",
            where="trim_particles",
            fix='use "kiwi"',
        )


def check_shard(shard: tuple[int, int]) -> None:
    """Raise UsageError unless it is (index, count) with 0 <= index < count."""
    index, count = shard
    check_whole_number(count, "shard")
    check_whole_number(index, "shard", least=0)
    if index >= count:
        raise UsageError(f"must be below the number of parts, {count}, found {index}", where="shard")


def check_example(example: object) -> None:
    """Raise InputError unless it is an Example whose question and context are text that is not blank."""
    if not isinstance(example, Example):
        raise InputError(f"must be an Example, found {type(example).__name__}", where="examples")
    _check_text(example.question, "question", example.id)
    _check_text(example.context, "context", example.id)


def check_question(question: object) -> None:
    """Raise InputError unless it is text that is not blank."""
    _check_text(question, "question", "")


def question_and_context(pair: object, number: int) -> tuple[Any, Any]:
    """The two parts of a pair. Raises InputError if it is no tuple or list of two."""
    if not isinstance(pair, (tuple, list)) or len(pair) != 2:
        raise InputError(
            f"must be a question and a context, found {type(pair).__name__}", where=f"pair {number}"
        )
    return pair[0], pair[1]


def _check_text(text: object, what: str, example_id: str) -> None:
    where = f"{what} of {example_id}" if example_id else what
    if not isinstance(text, str):
        raise InputError(f"must be text, found {type(text).__name__}", where=where)
    if not text.strip():
        raise InputError("is empty", where=where, fix=f"give a {what} with at least one character")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InputError(
            f"contains half of a surrogate pair at character {error.start}",
            where=where,
            fix="decode the text as UTF-8 or UTF-16 again",
        ) from error
