"""Reader over the fake engine and the embedded model's tokenizer."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.fake_engine import FakeEngine

from komrc.config import ReaderConfig
from komrc.engines import Batch, Logits
from komrc.errors import EngineError, InputError, UsageError
from komrc.reader import EncodedBatch, Reader
from komrc.text.invisible import visible
from komrc.tokenization import load_tokenizer
from komrc.types import Answer, Example, Span
from komrc.windows import batches

CONTEXT = "훈민정음은 1443년 세종이 창제하여 1446년에 반포하였다. " * 3
SHORT = ReaderConfig.of(max_seq_length=48, doc_stride=16, max_query_length=16)


def reader(engine: FakeEngine | None = None, **settings_: Any) -> Reader:
    return Reader(load_tokenizer(None), engine or FakeEngine(boundary=True), SHORT.changed(**settings_))


READER = reader()


def same(one: Sequence[Answer], other: Sequence[Answer]) -> bool:
    return [(a.text, a.start, a.end) for a in one] == [(a.text, a.start, a.end) for a in other] and all(
        a.score == pytest.approx(b.score) for a, b in zip(one, other, strict=True)
    )


TEXTS = st.text(st.characters(codec="utf-8"), max_size=30).map(lambda text: f"가{text}") | st.just(CONTEXT)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=8))
def test_answers_are_slices_and_the_same_alone_or_together(pairs: list[tuple[str, str]]) -> None:
    together = READER.read_many(pairs, top_k=3)
    assert len(together) == len(pairs)
    for (question, context), answers in zip(pairs, together, strict=True):
        assert same(answers, READER.read(question, context, top_k=3))
        assert answers
        assert sum(a.score for a in answers) <= 1 + 1e-6
        for answer in answers:
            assert answer.text == context[answer.start : answer.end] != ""


def test_input_order_is_kept_over_many_chunks_and_batches() -> None:
    pairs = [(f"질문 {n}", f"{n}번 문서. {CONTEXT[: 20 + n % 60]}") for n in range(120)]
    for (question, context), answers in zip(pairs, READER.read_many(pairs), strict=True):
        assert same(answers, READER.read(question, context))


def test_a_generator_is_taken_as_it_is_needed() -> None:
    taken = 0

    def endless() -> Iterator[Example]:
        nonlocal taken
        while True:
            taken += 1
            yield Example(str(taken), "누가?", CONTEXT)

    stream = READER.stream(endless())
    assert [next(stream).id for _ in range(40)] == [str(n) for n in range(1, 41)]
    assert taken < 400
    stream.close()


def test_tokenizes_on_another_thread_and_each_context_of_a_chunk_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    own = reader()
    encode, seen, threads = own.tokenizer.encode_many, [], set()

    def noting(texts: Sequence[str]) -> Any:
        seen.extend(texts)
        threads.add(threading.current_thread())
        return encode(texts)

    monkeypatch.setattr(own.tokenizer, "encode_many", noting)
    own.read_many([(f"질문 {n}", CONTEXT) for n in range(16)])
    assert seen.count(CONTEXT) == 1
    assert threading.current_thread() not in threads


def test_a_document_of_any_length_goes_through_windows() -> None:
    context = " ".join(f"{n}번째 낱말입니다." for n in range(1000))
    ranges = {answer.start // 4_000 for n in range(6) for answer in READER.read(f"질문 {n}", context)}
    assert len(ranges) > 1  # answers come from all over the document


@pytest.mark.parametrize(
    ("question", "context", "where"),
    [
        ("", "가", "question"),
        (" \n", "가", "question"),
        ("왜?", "", "context"),
        ("왜?", "\u3000 \t", "context"),
        (None, "가", "question"),
        ("왜?", b"abc", "context"),
        ("왜\ud800", "가", "question"),
        ("왜?", "가\udfff", "context"),
    ],
)
def test_bad_input(question: Any, context: Any, where: str) -> None:
    with pytest.raises(InputError, match=where):
        READER.read(question, context)
    with pytest.raises(InputError, match="pair 1"):
        READER.read_many([("왜?", "가"), (question, context)])


@pytest.mark.parametrize("no_answer", [False, True])
def test_nothing_that_a_token_covers(no_answer: bool) -> None:
    own = reader(version_2_with_negative=no_answer)
    encode = own.tokenizer.encode_many
    own.tokenizer.encode_many = lambda texts: encode([text.strip(".") for text in texts])  # type: ignore[method-assign]
    answers = own.read("누가?", "...")
    assert [(a.text, a.score) for a in answers] == ([("", 1.0)] if no_answer else [])
    assert own.read_many([("누가?", "..."), ("누가?", CONTEXT)])[1]


def test_long_question_is_cut_and_said_so(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert READER.read("누가 무엇을 " * 30, CONTEXT)
    assert "longer than 16 tokens" in caplog.text
    caplog.clear()
    READER.read("누가?", CONTEXT)
    assert not caplog.records


def test_top_k() -> None:
    answers = READER.read("누가?", CONTEXT, top_k=30)
    assert len(answers) == 30
    assert [a.score for a in answers] == sorted((a.score for a in answers), reverse=True)
    assert same(answers[:2], READER.read("누가?", CONTEXT, top_k=2))


@pytest.mark.parametrize("value", ["3", 2.5, True, None, 0, -1, [1]])
def test_a_top_k_of_another_kind_is_one_clear_error(value: Any) -> None:
    example = Example("x", "누가?", CONTEXT)
    for ask in (
        lambda: READER.read("누가?", CONTEXT, top_k=value),
        lambda: READER.read_many([("누가?", CONTEXT)], top_k=value),
        lambda: READER.read_examples([example], top_k=value),
        lambda: list(READER.stream([example], top_k=value)),
        lambda: READER.predict(READER.prepare([example]), top_k=value),
    ):
        with pytest.raises(UsageError, match=r"top_k: must be (a whole number|at least 1), found"):
            ask()


def test_other_numbers_and_switches_of_another_kind() -> None:
    assert READER.read("누가?", CONTEXT, top_k=np.int64(2))[1:]  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="distinct: must be True or False"):
        READER.read("누가?", CONTEXT, distinct="yes")  # type: ignore[arg-type]
    for name, value in (
        ("max_answer_length", "3"),
        ("n_best_size", True),
        ("doc_stride", 2.5),
        ("doc_stride", 0),
    ):
        with pytest.raises(UsageError, match=f"{name}: must be"):
            Reader.load(**{name: value})
    with pytest.raises(UsageError, match="doc_stride: a step of 400 tokens is longer than a window"):
        Reader.load(doc_stride=400)
    with pytest.raises(UsageError, match="token_budget: must be"):
        Reader(READER.tokenizer, READER.engine, SHORT, token_budget=0)
    for shard in ((2, 2), (0, 0), (-1, 2), ("0", 2)):
        with pytest.raises(UsageError, match="shard"):
            list(READER.stream([], shard=shard))  # type: ignore[arg-type]
    for pair in ("누가?", ("누가?",), ("누가?", CONTEXT, 1)):
        with pytest.raises(InputError, match="pair 0: must be a question and a context"):
            READER.read_many([pair])  # type: ignore[list-item]
    with pytest.raises(InputError, match="must be an Example, found tuple"):
        READER.read_examples([("누가?", CONTEXT)])  # type: ignore[list-item]


def trims_one(items: Sequence[tuple[str, int, int]]) -> list[Span]:
    return [Span(start, end - 1) if end - start > 1 else Span(start, end) for _, start, end in items]


@pytest.mark.parametrize("distinct", [False, True])
@pytest.mark.parametrize("whole_words", [False, True])
@pytest.mark.parametrize("trimming", [False, True])
@pytest.mark.parametrize("head", [False, True])
def test_the_first_answers_and_scores_are_the_same_whatever_top_k(
    monkeypatch: pytest.MonkeyPatch, distinct: bool, whole_words: bool, trimming: bool, head: bool
) -> None:
    monkeypatch.setattr("komrc.text.particles.trim_many", trims_one)
    own = Reader(
        READER.tokenizer, FakeEngine(boundary=head), SHORT, trim_particles="kiwi" if trimming else None
    )
    for question in ("누가?", "언제?", "무엇을 언제 했나?"):
        reading = own.prepare([Example("x", question, CONTEXT), Example("y", question, "세종이 만들었다.")])
        for numbers in batches(reading.windows.lengths, token_budget=4096):
            own.run([(reading, numbers)])

        def answers(top_k: int, reading: EncodedBatch = reading) -> tuple[Answer, ...]:
            options = {"distinct": distinct, "whole_words": whole_words}
            return own.predict(reading, top_k=top_k, **options)[0].answers

        most = answers(12)
        assert len(most) == 12 or (distinct and len(most) > 3)
        assert [a.score for a in most] == sorted((a.score for a in most), reverse=True)
        for top_k in (1, 2, 5, 9, 11):
            assert answers(top_k) == most[:top_k]
        for n, answer in enumerate(most):
            assert answer.text == CONTEXT[answer.start : answer.end]
            for other in most[:n]:
                assert (other.start, other.end) != (answer.start, answer.end)
                assert not distinct or answer.end <= other.start or answer.start >= other.end
            if whole_words:
                assert not f" {CONTEXT} "[answer.start].strip() and not f" {CONTEXT} "[answer.end + 1].strip()


def test_all_there_are_come_where_fewer_exist() -> None:
    words = "가 나 다"
    reading = READER.prepare([Example("x", "누가?", words)])
    READER.run([(reading, [0])])
    found = READER.predict(reading, top_k=50, whole_words=True)[0].answers
    assert {a.text for a in found} == {"가", "나", "다", "가 나", "나 다", "가 나 다"}
    assert {a.text for a in READER.read("누가?", words, top_k=50, distinct=True)} <= {
        "가",
        "나",
        "다",
        "가 나",
        "나 다",
        words,
    }


INVISIBLE = [
    "\u200b",
    "\u200c",
    "\u200d",
    "\u2060",
    "\ufeff",
    "\u200e",
    "\u200f",
    "\u00ad",
    "\ufe0f",
    "\x00",
    "\u202e",
]


@pytest.mark.parametrize("character", INVISIBLE, ids=lambda c: f"U+{ord(c):04X}")
def test_a_passage_with_invisible_characters_gives_the_answer_without(character: str) -> None:
    context = "훈민정음은 세종이 창제하였다."
    raw = context.replace("세종", f"{character}세{character}종{character}")
    (plain,) = READER.read("누가?", context)
    for before, after in zip(
        READER.read(f"누{character}가?", context, top_k=20), READER.read("누가?", raw, top_k=20), strict=True
    ):
        assert after.score == before.score
        assert after.text.replace(character, "") == before.text
        assert after.text == raw[after.start : after.end]
        assert after.text[0] != character != after.text[-1]
    assert READER.read(f"누{character}가?", raw)[0].score == plain.score


def test_trimmed_and_widened_answers_have_visible_edges(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("komrc.text.particles.trim_many", trims_one)
    context, raw = (
        "훈민정음은 세종이 만들었다.",
        "\u200b훈민정음\u200b은 \u200d세종\u00ad이\u200b 만들었다.\ufeff",
    )
    for trim, whole_words in (("kiwi", False), (None, True), ("kiwi", True)):
        own = Reader(READER.tokenizer, READER.engine, SHORT, trim_particles=trim)  # type: ignore[arg-type]
        found = []
        for text in (context, raw):
            reading = own.prepare([Example("x", "누가?", text)])
            own.run([(reading, [0])])
            found.append(own.predict(reading, top_k=10, whole_words=whole_words)[0].answers)
        assert [visible(a.text).text for a in found[1]] == [a.text for a in found[0]]
        assert [a.score for a in found[1]] == [a.score for a in found[0]]
        for answer in found[1]:
            assert answer.text == raw[answer.start : answer.end]
            assert visible(answer.text[0]).text and visible(answer.text[-1]).text
            if answer.untrimmed is not None:
                assert visible(raw[answer.untrimmed.end - 1]).text


def test_no_answer() -> None:
    own = reader(version_2_with_negative=True, null_score_diff_threshold=-100.0)
    (answer,) = own.read("누가?", CONTEXT)
    assert (answer.text, answer.start, answer.end) == ("", 0, 0)
    (forced,) = own.read("누가?", CONTEXT, allow_no_answer=False)
    assert forced == READER.read("누가?", CONTEXT)[0]
    (allowed,) = reader(null_score_diff_threshold=-100.0).read("누가?", CONTEXT, allow_no_answer=True)
    assert allowed == answer
    with pytest.raises(UsageError, match="allow_no_answer"):
        own.read("누가?", CONTEXT, allow_no_answer="no")  # type: ignore[arg-type]


def test_the_empty_answer_is_among_the_candidates_of_every_question() -> None:
    own = reader(version_2_with_negative=True, null_score_diff_threshold=100.0, n_best_size=3)
    for number in range(20):
        (prediction,) = own.read_examples([Example("x", f"{number}?", CONTEXT)])
        spans = [c for c in prediction.candidates if c.start < c.end]
        empty = [c for c in prediction.candidates if c.start == c.end]
        assert len(spans) == 3 and len(empty) == 1 and 0 < empty[0].score < 1
        assert sum(c.score for c in prediction.candidates) <= 1 + 1e-6
    assert (
        reader(version_2_with_negative=True, null_score_diff_threshold=100.0).read("누가?", CONTEXT)[0].text
    )


def test_trimmed_answers_keep_what_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("komrc.text.particles.trim_many", trims_one)
    plain = READER.read("누가?", CONTEXT, top_k=20)
    own = Reader(READER.tokenizer, READER.engine, SHORT, trim_particles="kiwi")
    found = own.read("누가?", CONTEXT, top_k=20)
    spans = [(answer.start, answer.end) for answer in found]
    assert len(found) > 5 and len(set(spans)) == len(spans)
    for after in found:
        assert after.text == CONTEXT[after.start : after.end]
        place = after.untrimmed or Span(after.start, after.end)
        (before,) = (a for a in plain if (a.start, a.end) == (place.start, place.end))
        assert after.score == before.score
        if before.end - before.start > 1:
            assert (after.start, after.end) == (before.start, before.end - 1)
        else:
            assert after == before
    with pytest.raises(UsageError):
        Reader(READER.tokenizer, READER.engine, SHORT, trim_particles="scissors")  # type: ignore[arg-type]


class Broken(FakeEngine):
    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = np.float32(value)

    def run(self, batch: Batch) -> Logits:
        logits = super().run(batch)
        return Logits(np.full_like(logits.start, self.value), np.full_like(logits.end, self.value))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1.7e38, -3e38])
def test_values_that_are_not_numbers_or_whose_sums_are_not_are_an_error(value: float) -> None:
    with pytest.raises(EngineError, match="not numbers"):
        reader(Broken(value)).read("누가?", CONTEXT)


@pytest.mark.parametrize("value", [9e33, -9e33, 0.0])
def test_the_largest_values_still_give_scores(value: float) -> None:
    assert 0 <= reader(Broken(value)).read("누가?", CONTEXT)[0].score <= 1


def test_candidates_are_those_the_answers_come_from() -> None:
    (prediction,) = READER.read_examples([Example("x", "누가?", CONTEXT)], top_k=2)
    assert prediction.id == "x"
    assert len(prediction.candidates) == 20
    spans = [(c.start, c.end) for c in prediction.candidates[:2]]
    assert spans == [(a.start, a.end) for a in prediction.answers]


def test_settings_can_be_changed_at_load() -> None:
    loaded = Reader.load(max_answer_length=2, n_best_size=3)
    assert (loaded.config.decoding.max_answer_tokens, loaded.config.decoding.n_best) == (2, 3)
    with pytest.raises(UsageError, match="no setting"):
        Reader.load(max_answer_size=2)


def test_the_embedded_model_answers() -> None:
    (answer,) = Reader.load().read("훈민정음은 언제 반포되었나?", CONTEXT)
    assert "1446" in answer.text and 0 < answer.score <= 1


def test_an_unknown_engine_is_one_message() -> None:
    with pytest.raises(UsageError, match=r"no engine is called 'tf'.*auto, torch, torch-bf16, onnx"):
        Reader.load(engine="tf")  # type: ignore[arg-type]


def test_a_long_text_shows_its_progress_batch_by_batch() -> None:
    from komrc import Reader

    seen: list[float] = []
    text = "훈민정음은 1446년에 반포되었다. " * 400
    example = Example("1", "언제 반포되었나?", text)
    (prediction,) = Reader.load().stream([example], advance=seen.append)
    assert len(seen) > 2
    assert seen == sorted(seen) and 0 < seen[0] < 0.6 and seen[-1] == pytest.approx(1)
    assert prediction.answers
