"""Long texts: the windows that are read, and the reader with and without the others."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from support.fake_engine import FakeEngine

from komrc import long_texts
from komrc.config import ReaderConfig
from komrc.engines import Batch, Logits
from komrc.long_texts import promising_windows, with_prior
from komrc.reader import Reader
from komrc.tokenization import load_tokenizer
from komrc.types import Example
from komrc.windows import Windows, build_windows, collate

TOKENIZER = load_tokenizer(None)
CONFIG = ReaderConfig.of(max_seq_length=48, doc_stride=16, max_query_length=16)
FILLER = "옛날 어느 마을에 나무꾼이 살았는데 날마다 산에 올라 나무를 하였다. "
FACT = "등대의 높이는 31미터이다. "
QUESTION = "등대의 높이는?"


class CountingEngine(FakeEngine):
    """Counts the windows that it runs."""

    def __init__(self) -> None:
        super().__init__(boundary=True)
        self.windows = 0

    def run(self, batch: Batch) -> Logits:
        self.windows += len(batch)
        return super().run(batch)


class FlatEngine:
    """All spans have the same logit: the earliest ones win."""

    name = "flat"

    def run(self, batch: Batch) -> Logits:
        return Logits.of([np.zeros(len(batch.input_ids), np.float32)] * 2)


def windows_of(*examples: Example) -> Windows:
    return build_windows(examples, TOKENIZER, CONFIG.windows, labels=False)


def ranges(windows: Windows, example: int) -> list[tuple[int, int]]:
    """The characters of each window of an example."""
    result = []
    for number in np.nonzero(windows.example == example)[0]:
        begin = windows.context_indptr[windows.context[example]] + windows.first_token[number]
        end = begin + windows.context_length[number] - 1
        result.append((int(windows.char_start[begin]), int(windows.char_end[end])))
    return result


@pytest.fixture
def short_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Long begins at 500 characters, so that the tests are fast."""
    monkeypatch.setattr(long_texts, "LONG", 500)
    monkeypatch.setattr(long_texts, "READ_TOKENS", 96)


@pytest.mark.usefixtures("short_limit")
@pytest.mark.parametrize("before", [0, 7, 30, 60])
def test_the_windows_around_the_fact_are_read(before: int) -> None:
    text = FILLER * before + FACT + FILLER * (60 - before)
    example = Example("", QUESTION, text)
    windows, shares = promising_windows(windows_of(example), [example])
    assert shares is not None and shares.max() == 1 and (shares >= 0).all()
    assert len(windows) == len(shares)
    assert len(windows) == 96 // 16
    start = text.index("31미터")
    assert any(low <= start and start + 4 <= high for low, high in ranges(windows, 0))


@pytest.mark.usefixtures("short_limit")
def test_short_texts_keep_all_windows_beside_long_ones() -> None:
    examples = [
        Example("a", QUESTION, FILLER * 12),
        Example("b", QUESTION, FILLER * 40 + FACT),
        Example("c", "다른 질문", FILLER * 40 + FACT),
    ]
    examples[0] = Example("a", QUESTION, (FILLER * 20)[:500])
    all_windows = windows_of(*examples)
    windows, shares = promising_windows(all_windows, examples)
    assert shares is not None and (shares[windows.example == 0] == 1).all()
    assert ranges(windows, 0) == ranges(all_windows, 0)
    for number in (1, 2):
        assert len(ranges(windows, number)) == 6 < len(ranges(all_windows, number))
        assert set(ranges(windows, number)) <= set(ranges(all_windows, number))


def test_texts_up_to_the_limit_are_unchanged() -> None:
    example = Example("", QUESTION, (FILLER * 1000)[: long_texts.LONG])
    windows = windows_of(example)
    assert promising_windows(windows, [example]) == (windows, None)


@pytest.mark.usefixtures("short_limit")
@settings(max_examples=20, deadline=None)
@given(st.text("가나다라 등대의높이.\n", min_size=1, max_size=20).map(lambda text: f"{text}마"))
def test_a_subset_has_the_logits_of_its_windows(piece: str) -> None:
    example = Example("", QUESTION, piece * 60)
    reader = Reader(TOKENIZER, FakeEngine(boundary=True), CONFIG)
    whole = reader.prepare([example], exhaustive=True)
    part = reader.prepare([example])
    for encoded in (whole, part):
        reader.run([(encoded, np.arange(len(encoded.windows)))])
    assert whole.logits is not None and part.logits is not None

    def by_window(windows: Windows, values: NDArray[np.float32]) -> dict[int, list[float]]:
        cut = np.split(values, windows.indptr[1:-1])
        return {int(n): row.tolist() for n, row in zip(windows.first_token, cut, strict=True)}

    expected = by_window(whole.windows, whole.logits.start)
    found = by_window(part.windows, part.logits.start)
    assert found.items() <= expected.items()


@pytest.mark.usefixtures("short_limit")
@settings(max_examples=20, deadline=None)
@given(st.text("가나다 등대는\n.", min_size=1, max_size=30).map(lambda text: f"{text}라"), st.booleans())
def test_answers_of_a_long_text_are_slices_of_it(piece: str, no_answer: bool) -> None:
    reader = Reader(TOKENIZER, FakeEngine(boundary=True), CONFIG.changed(version_2_with_negative=no_answer))
    context = piece * 50 + FACT + piece * 50
    answers = reader.read(QUESTION, context, top_k=5)
    assert answers == reader.read(QUESTION, context, top_k=8)[:5]
    for answer in answers:
        assert answer.text == context[answer.start : answer.end]
        assert 0 <= answer.score <= 1


@pytest.mark.usefixtures("short_limit")
def test_exhaustive_reads_every_window() -> None:
    context = FILLER * 60 + FACT + FILLER * 60
    counts = []
    for exhaustive in (False, True):
        engine = CountingEngine()
        Reader(TOKENIZER, engine, CONFIG).read(QUESTION, context, exhaustive=exhaustive)
        counts.append(engine.windows)
    assert counts == [6, len(windows_of(Example("", QUESTION, context)))]


@pytest.mark.usefixtures("short_limit")
def test_a_window_that_shares_nothing_loses_against_one_that_does() -> None:
    context = FILLER * 60 + FACT + FILLER * 60
    at = context.index(FACT)

    def spans(reader: Reader) -> list[bool]:
        """Whether each of the best answers is in the windows around the fact."""
        answers = reader.read(QUESTION, context, top_k=3, exhaustive=True)
        return [abs(answer.start - at) < 100 for answer in answers]

    flat = FlatEngine()
    assert all(spans(Reader(TOKENIZER, flat, CONFIG)))
    assert not any(spans(Reader(TOKENIZER, flat, CONFIG, search_long_texts=False)))


def test_no_answer_keeps_its_logit() -> None:
    example = Example("", QUESTION, FILLER * 8)
    windows = windows_of(example)
    logits = FakeEngine().run(collate(windows, np.arange(len(windows))))
    shares = np.linspace(0, 1, len(windows), dtype=np.float32)
    shifted = with_prior(logits, windows, shares, temperature=2.0)
    first = windows.indptr[:-1]
    assert (shifted.start[first] == logits.start[first]).all()
    inside = first + 1
    expected = long_texts.PRIOR * 2.0 * (shares - 1)
    moved = shifted.start[inside] + shifted.end[inside] - logits.start[inside] - logits.end[inside]
    assert moved == pytest.approx(expected, abs=1e-4)


@pytest.mark.usefixtures("short_limit")
def test_all_paths_read_a_long_text_alike() -> None:
    reader = Reader(TOKENIZER, FakeEngine(boundary=True), CONFIG)
    context = FILLER * 60 + FACT + FILLER * 60
    (answer,) = reader.read(QUESTION, context)
    assert reader.read_many([("누가?", FILLER), (QUESTION, context)])[1] == [answer]
    (prediction,) = reader.read_examples([Example("", QUESTION, context)])
    assert prediction.best == answer
