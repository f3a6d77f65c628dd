"""Questions that no model can answer right with given settings: counted, with the option that helps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from komrc.config import ReaderConfig
from komrc.types import Example
from komrc.windows import Windows


@dataclass(frozen=True, slots=True)
class Unreachable:
    """Counts of questions, by the first reference answer of each.

    ``too_long``: the answer has more than ``max_answer_length`` tokens, up to ``longest``. ``no_window``: no
    window of ``max_seq_length`` tokens has all of it. ``unanswerable``: there is no answer, and the settings
    don't allow "no answer".
    """

    questions: int
    too_long: int
    longest: int
    no_window: int
    unanswerable: int
    max_answer_length: int
    max_seq_length: int

    def warnings(self) -> list[str]:
        """One sentence for each count above 0, with the option to change."""
        of = f"of {self.questions:,} questions"
        sentences = []
        if self.too_long:
            sentences.append(
                f"{self.too_long:,} {of} have an answer of more than {self.max_answer_length} tokens, which"
                f" is never given: raise --max-answer-length (the longest answer has {self.longest:,})"
            )
        if self.no_window:
            sentences.append(
                f"{self.no_window:,} {of} have an answer that no window of {self.max_seq_length} tokens"
                " contains whole: raise --max-seq-length"
            )
        if self.unanswerable:
            sentences.append(
                f"{self.unanswerable:,} {of} have no answer (is_impossible), and are always answered wrong"
                " without --version_2_with_negative"
            )
        return sentences


def count_unreachable(
    examples: Sequence[Example],
    windows: Windows | None,
    config: ReaderConfig,
) -> Unreachable:
    """Count over all examples.

    Args:
        windows: of the examples, with labels; None counts only the questions without an answer.
        config: of the windows and of decoding.
    """
    too_long = longest = no_window = 0
    if windows is not None:
        held = windows.start_position > 0
        tokens = np.zeros(len(examples), np.int64)  # of the answer; 0 where no window contains it
        lengths = windows.end_position[held] - windows.start_position[held] + 1
        np.maximum.at(tokens, windows.example[held], lengths)
        answered = np.array([bool(e.answers) and not e.is_impossible for e in examples], np.bool_)
        too_long = int((tokens > config.decoding.max_answer_tokens).sum())
        longest = int(tokens.max(initial=0))
        no_window = int((answered & (tokens == 0)).sum())
    impossible = sum(example.is_impossible or not example.answers for example in examples)
    return Unreachable(
        questions=len(examples),
        too_long=too_long,
        longest=longest,
        no_window=no_window,
        unanswerable=0 if config.decoding.allow_no_answer else impossible,
        max_answer_length=config.decoding.max_answer_tokens,
        max_seq_length=0 if windows is None else config.windows.max_seq_length,
    )
