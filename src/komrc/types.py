"""The records that travel between the rooms. Offsets are half-open code-point offsets into the raw text."""

from __future__ import annotations

import typing
from dataclasses import dataclass, field
from typing import Any, Literal

BOUNDARY_CLASSES = 8  # characters to drop at a token's edge: 0..7
HEAD_WIDTH = BOUNDARY_CLASSES  # outputs of the widest head: so narrow a layer stays in float32

EngineName = Literal["auto", "torch", "torch-bf16", "onnx", "onnx-int8", "openvino", "openvino-bf16"]
ENGINES: tuple[EngineName, ...] = typing.get_args(EngineName)


@dataclass(frozen=True, slots=True)
class Span:
    """Characters ``[start, end)`` of a context, in code points."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Gold:
    """A reference answer: ``context[start:start + len(text)] == text``."""

    text: str
    start: int

    @property
    def end(self) -> int:
        """Where it ends in the context, exclusive."""
        return self.start + len(self.text)


@dataclass(frozen=True, slots=True)
class Example:
    """A question on a context, with its reference answers where they are known."""

    id: str
    question: str
    context: str
    answers: tuple[Gold, ...] = ()
    is_impossible: bool = False
    title: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer: ``text == context[start:end]``; the empty answer (no answer) has start == end == 0.

    ``score`` is a probability in [0, 1]. ``untrimmed`` is the span before particles were cut off,
    where they were.
    """

    text: str
    start: int
    end: int
    score: float
    untrimmed: Span | None = field(default=None)

    def to_dict(self) -> dict[str, Any]:
        """text, start, end and score; ``untrimmed`` as [start, end] where particles were cut off."""
        values: dict[str, Any] = {
            "text": self.text,
            "start": self.start,
            "end": self.end,
            "score": self.score,
        }
        if self.untrimmed is not None:
            values["untrimmed"] = [self.untrimmed.start, self.untrimmed.end]
        return values


NO_ANSWER = Answer("", 0, 0, 0.0)  # the best answer of a text that has none
