"""Questions that no model can answer right are counted, and the option is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from komrc.config import DecodingConfig, ReaderConfig, WindowConfig
from komrc.report.dataset_stats import reach
from komrc.tokenization import ReaderTokenizer, load_tokenizer
from komrc.types import Example, Gold
from komrc.unreachable import Unreachable, count_unreachable
from komrc.windows import build_windows

WORDS = [f"w{n}" for n in range(10)]
CONTEXT = " ".join(WORDS * 10)  # 100 tokens


@pytest.fixture
def tokenizer(tmp_path: Path) -> ReaderTokenizer:
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "?", *WORDS]
    (tmp_path / "vocab.txt").write_text("\n".join(pieces) + "\n", encoding="utf-8")
    return load_tokenizer(tmp_path)


def example(words: int) -> Example:
    """A question whose answer has so many tokens; none for 0."""
    text = " ".join((WORDS * 10)[:words])
    return Example(f"{words}", "?", CONTEXT, (Gold(text, 0),) if words else (), not words)


def count(tokenizer: ReaderTokenizer, sizes: list[int], *, no_answer: bool = False) -> Unreachable:
    examples = [example(words) for words in sizes]
    config = ReaderConfig(WindowConfig(64, 20, 4), DecodingConfig(allow_no_answer=no_answer))
    windows = build_windows(examples, tokenizer, config.windows, labels=True)
    return count_unreachable(examples, windows, config)


def test_each_kind_is_counted_with_its_option(tokenizer: ReaderTokenizer) -> None:
    found = count(tokenizer, [1, 30, 31, 50, 90, 100, 0])
    assert (found.too_long, found.longest, found.no_window, found.unanswerable) == (2, 50, 2, 1)
    first, second, third = found.warnings()
    assert "2 of 7" in first and "--max-answer-length" in first and "50" in first
    assert "2 of 7" in second and "--max-seq-length" in second
    assert "1 of 7" in third and "--version_2_with_negative" in third


def test_nothing_to_say(tokenizer: ReaderTokenizer) -> None:
    assert count(tokenizer, [1, 30]).warnings() == []
    assert count(tokenizer, [1, 0], no_answer=True).warnings() == []
    assert count_unreachable([example(0)], None, ReaderConfig()).unanswerable == 1


def test_the_ceiling_knows_the_longest_answer(tokenizer: ReaderTokenizer) -> None:
    examples = [example(30), example(60)]
    assert (found := reach(examples, tokenizer)) is not None and found.em == 100.0
    limited = reach(examples, tokenizer, max_answer_tokens=30)
    assert limited is not None and limited.em == 50.0
    assert limited.f1 == pytest.approx((100 + 100 * 2 / 3) / 2)
