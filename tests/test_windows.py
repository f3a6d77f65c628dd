"""Windows against the tokenizer library's own, labels against the text."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.own_tokenizers import EVERYDAY
from support.word_tokenizer import WORDS, word_tokenizer

from komrc.config import WindowConfig
from komrc.data import load_squad
from komrc.errors import UsageError
from komrc.tokenization import PairTemplate, load_tokenizer
from komrc.types import Example, Gold
from komrc.windows import Windows, batches, build_windows, collate


@dataclass
class Encoded:
    ids: list[int]
    offsets: list[tuple[int, int]]


class GivenTokens:
    """A tokenizer that gives the offsets it was made with, whatever the text; it notes what it encoded."""

    template = PairTemplate((2,), (3,), (3,), (0,), (0,), (1,), 0, 1)
    pad_id = 1
    model_max_length = 512
    fingerprint = "given"

    def __init__(self, **offsets: list[tuple[int, int]]) -> None:
        self.offsets = offsets
        self.encoded: list[str] = []

    def encode_many(self, texts: list[str]) -> list[Encoded]:
        self.encoded += texts
        found = [self.offsets.get(text.split(maxsplit=1)[0], [(0, 1)]) for text in texts]
        return [Encoded([4 + n % 40 for n in range(len(spans))], spans) for spans in found]


def built(
    context: str,
    offsets: list[tuple[int, int]],
    answer: tuple[int, int] | None,
    config: WindowConfig | None = None,
) -> Windows:
    """The windows of one example whose context has these tokens."""
    golds = () if answer is None else (Gold(context[slice(*answer)], answer[0]),)
    tokenizer = GivenTokens(**{context.split(maxsplit=1)[0]: offsets})
    example = Example("1", "?", context, golds)
    return build_windows([example], tokenizer, config or WindowConfig(), labels=True)  # type: ignore[arg-type]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.lists(st.sampled_from(WORDS), min_size=1, max_size=5),
            st.lists(st.sampled_from(WORDS), min_size=0, max_size=40),
        ),
        min_size=1,
        max_size=4,
    ),
    st.integers(10, 25),
    st.integers(1, 10),
)
def test_windows_are_those_of_the_tokenizer_library(
    pairs: list[tuple[list[str], list[str]]], longest: int, stride: int
) -> None:
    tokenizer = word_tokenizer()
    examples = [Example(str(n), " ".join(q), " ".join(c)) for n, (q, c) in enumerate(pairs)]
    windows = build_windows(examples, tokenizer, WindowConfig(longest, stride, 5), labels=False)
    batch = collate(windows, np.arange(len(windows)))
    at = 0
    for number, example in enumerate(examples):
        reference = word_tokenizer().backend
        room = longest - 3 - len(example.question.split())
        reference.enable_truncation(longest, stride=max(0, room - stride), strategy="only_second")
        first = reference.encode(example.question, example.context)
        for expected in [first, *first.overflowing]:
            size = len(expected.ids)
            assert windows.example[at] == number
            assert windows.lengths[at] == size
            assert batch.lengths[at] == size
            part = slice(int(batch.indptr[at]), int(batch.indptr[at + 1]))
            assert batch.input_ids[part].tolist() == expected.ids
            assert batch.token_type_ids[part].tolist() == expected.type_ids
            start = windows.context_start[at]
            inside = [n for n, side in enumerate(expected.sequence_ids) if side == 1]
            assert list(range(start, start + windows.context_length[at])) == inside
            at += 1
    assert at == len(windows)


def test_labels_give_back_every_gold_of_real_text() -> None:
    examples = [example for example in load_squad(EVERYDAY / "dev.json") if example.answers]
    tokenizer = load_tokenizer(None)
    windows = build_windows(examples, tokenizer, WindowConfig(160, 64, 48), labels=True)
    answered = set()
    for n, number in enumerate(windows.example):
        gold = examples[number].answers[0]
        begin = windows.context_indptr[windows.context[number]] + windows.first_token[n]
        held = slice(begin, begin + windows.context_length[n])
        whole = windows.char_start[held][0] <= gold.start and windows.char_end[held][-1] >= gold.start + len(
            gold.text.rstrip()
        )
        assert (windows.start_position[n] > 0) == whole
        if whole:
            first = begin + windows.start_position[n] - windows.context_start[n]
            last = begin + windows.end_position[n] - windows.context_start[n]
            start = windows.char_start[first] + windows.drop_front[n]
            end = windows.char_end[last] - windows.drop_back[n]
            assert examples[number].context[start:end] == gold.text.strip()
            answered.add(int(number))
        else:
            assert (windows.end_position[n], windows.drop_front[n], windows.drop_back[n]) == (0, -1, -1)
    assert len(answered) == len(examples)


@pytest.mark.parametrize(
    ("context", "offsets", "answer", "label"),
    [
        ("셰베리는 왔다", [(0, 1), (1, 4), (5, 7)], (0, 3), (0, 1, 0, 1)),
        ("'명의' 책", [(0, 4), (5, 6)], (1, 3), (0, 0, 1, 1)),
        # byte pieces: from the first piece of the first character to the last piece of the last one
        ("🙂🙃", [(0, 1), (0, 1), (1, 2), (1, 2)], (0, 2), (0, 3, 0, 0)),
        ("🙂🙃", [(0, 1), (0, 1), (1, 2), (1, 2)], (1, 2), (2, 3, 0, 0)),
        # marks of a word's start have no characters
        ("가 나", [(0, 0), (0, 1), (2, 2), (2, 3)], (2, 3), (3, 3, 0, 0)),
        # ㈜ as three tokens
        ("㈜대한", [(0, 1), (0, 1), (0, 1), (1, 3)], (0, 3), (0, 3, 0, 0)),
        # white space inside tokens is left aside, in the answer too
        ("가 나 다", [(0, 2), (2, 4), (3, 5)], (1, 4), (1, 1, 0, 0)),
        # more outside the answer than the boundary head has classes for
        ("가나다라마바사아자", [(0, 9)], (8, 9), (0, 0, -1, 0)),
        ("가나다라마바사아자", [(0, 9)], (0, 2), (0, 0, 0, 7)),
    ],
)
def test_labels(
    context: str, offsets: list[tuple[int, int]], answer: tuple[int, int], label: tuple[int, int, int, int]
) -> None:
    windows = built(context, offsets, answer)
    start = windows.context_start[0]
    found = (windows.start_position[0] - start, windows.end_position[0] - start)
    assert (*found, windows.drop_front[0], windows.drop_back[0]) == label


@pytest.mark.parametrize(
    ("context", "offsets", "answer"),
    [
        ("가나다", [(0, 1), (2, 3)], (1, 2)),  # no token covers the answer
        ("가 나", [(0, 1), (2, 3)], None),
        ("가나", [], (0, 1)),
    ],
)
def test_no_label(context: str, offsets: list[tuple[int, int]], answer: tuple[int, int] | None) -> None:
    windows = built(context, offsets, answer)
    labels = (windows.start_position, windows.end_position, windows.drop_front, windows.drop_back)
    assert [int(values[0]) for values in labels] == [0, 0, -1, -1]


def test_impossible_example_has_no_label() -> None:
    example = Example("1", "w1", "w2 w3", (Gold("w2", 0),), is_impossible=True)
    assert build_windows([example], word_tokenizer(), WindowConfig(), labels=True).start_position[0] == 0


def test_long_question_is_cut_and_said_so() -> None:
    examples = [Example("1", "w1 w2 w3", "w4"), Example("2", "w1 w2", "w4")]
    windows = build_windows(examples, word_tokenizer(), WindowConfig(16, 8, 2), labels=False)
    assert windows.question_truncated.tolist() == [True, False]
    assert windows.lengths.tolist() == [6, 6]


def test_each_context_is_tokenized_once() -> None:
    tokenizer = GivenTokens()
    examples = [Example(str(n), f"q{n}", f"context {n % 3}") for n in range(600)]
    windows = build_windows(examples, tokenizer, WindowConfig(), labels=False)  # type: ignore[arg-type]
    assert sorted(text for text in tokenizer.encoded if text.startswith("context")) == [
        "context 0", "context 1", "context 2",
    ]  # fmt: skip
    assert windows.context.tolist() == [n % 3 for n in range(600)]


@pytest.mark.parametrize(
    "config",
    [
        WindowConfig(20, 8, 17),
        WindowConfig(20, 0, 5),
        WindowConfig(20, 8, 0),
        WindowConfig(513, 128, 64),
        WindowConfig(384, 9, 64),  # a token would be read 35 times
        WindowConfig("384"),  # type: ignore[arg-type]
        WindowConfig(384.0),  # type: ignore[arg-type]
        WindowConfig(384, True),
    ],
)
def test_lengths_that_leave_no_room(config: WindowConfig) -> None:
    with pytest.raises(UsageError):
        build_windows([Example("1", "w1", "w2")], word_tokenizer(), config, labels=False)


def test_invisible_characters_change_no_label() -> None:
    plain = built("셰베리는 왔다", [(0, 1), (1, 4), (5, 7)], (0, 3))
    raw = built("셰\u200b베\u200c리\u00ad는 왔다", [(0, 1), (2, 7), (8, 10)], (0, 5))
    for name in ("start_position", "end_position", "drop_front", "drop_back"):
        assert getattr(raw, name).tolist() == getattr(plain, name).tolist()


@given(st.lists(st.integers(1, 60), max_size=50), st.integers(1, 200))
def test_batches_hold_every_window_once_within_the_budget(lengths: list[int], budget: int) -> None:
    sizes = np.array(lengths, np.int64)
    found = list(batches(sizes, token_budget=budget))
    assert sorted(int(n) for batch in found for n in batch) == list(range(len(lengths)))
    for batch in found:
        assert len(batch) == 1 or len(batch) * sizes[batch].max() <= budget
