"""`reader(question=…, context=…)`: the arguments and results of transformers' former pipeline."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from support.fake_engine import FakeEngine

from komrc.config import ReaderConfig
from komrc.errors import InputError, UsageError
from komrc.reader import Reader
from komrc.tokenization import load_tokenizer
from komrc.types import Answer, Example

CONTEXT = "훈민정음은 1443년 세종이 창제하여 1446년에 반포하였다."
OTHER = "집현전은 1420년 경복궁에 설치되었다."
QUESTION = "누가 창제했나?"
CONFIG = ReaderConfig.of(max_seq_length=48, doc_stride=16, max_query_length=16)
READER = Reader(load_tokenizer(None), FakeEngine(boundary=True), CONFIG)
WITHOUT_ANSWERS = READER.copy_with(config=CONFIG.changed(version_2_with_negative=True))


def as_dict(answer: Answer) -> dict[str, Any]:
    return {"score": answer.score, "start": answer.start, "end": answer.end, "answer": answer.text}


def best(question: str, context: str) -> dict[str, Any]:
    return as_dict(READER.read(question, context)[0])


ONE = {"question": QUESTION, "context": CONTEXT}
TWO = {"question": "언제?", "context": OTHER}


@pytest.mark.parametrize(
    "arguments",
    [
        ((), ONE),
        ((QUESTION, CONTEXT), {}),
        ((ONE,), {}),
        ((Example("1", QUESTION, CONTEXT),), {}),
    ],
)
def test_one_question_gives_a_dict(arguments: Any) -> None:
    inputs, named = arguments
    assert READER(*inputs, **named) == best(QUESTION, CONTEXT)


@pytest.mark.parametrize(
    "arguments",
    [
        ((), {"question": [QUESTION, "언제?"], "context": [CONTEXT, OTHER]}),
        (([ONE, TWO],), {}),
        ((ONE, TWO), {}),
        (((ONE, TWO),), {}),
        (({"question": [QUESTION, "언제?"], "context": [CONTEXT, OTHER]},), {}),
    ],
)
def test_several_questions_give_a_list(arguments: Any) -> None:
    inputs, named = arguments
    assert READER(*inputs, **named) == [best(QUESTION, CONTEXT), best("언제?", OTHER)]


def test_one_text_belongs_to_all_of_the_others() -> None:
    questions = READER(question=[QUESTION, "언제?"], context=CONTEXT)
    assert questions == [best(QUESTION, CONTEXT), best("언제?", CONTEXT)]
    contexts = READER(question=QUESTION, context=[CONTEXT, OTHER])
    assert contexts == [best(QUESTION, CONTEXT), best(QUESTION, OTHER)]


def test_a_list_of_one_gives_a_list_and_an_empty_list_an_empty_one() -> None:
    assert READER([ONE]) == [best(QUESTION, CONTEXT)]
    assert READER([]) == READER(question=[], context=CONTEXT) == []


def test_other_iterables_give_an_iterator_and_are_read_as_it_is_taken() -> None:
    taken = 0

    def rows() -> Iterator[dict[str, str]]:
        nonlocal taken
        for _ in range(500):
            taken += 1
            yield ONE

    results = READER(rows())
    assert next(results) == best(QUESTION, CONTEXT)
    assert 0 < taken < 500
    assert len(list(results)) == 499


def test_top_k_gives_lists() -> None:
    answers = [as_dict(answer) for answer in READER.read(QUESTION, CONTEXT, top_k=3)]
    assert READER(**ONE, top_k=3) == answers and len(answers) == 3
    assert READER([ONE, TWO], top_k=3)[0] == answers


def test_no_answer_wins_only_where_it_is_asked_for() -> None:
    trained = [as_dict(answer) for answer in WITHOUT_ANSWERS.read(QUESTION, CONTEXT, top_k=50)]
    assert "" in [answer["answer"] for answer in trained]
    assert WITHOUT_ANSWERS(**ONE, top_k=50, handle_impossible_answer=None) == trained
    assert WITHOUT_ANSWERS(**ONE, top_k=50, handle_impossible_answer=True) == trained
    always = WITHOUT_ANSWERS(**ONE, top_k=50)
    assert "" not in [answer["answer"] for answer in always]
    assert always == READER(**ONE, top_k=50)


def test_whole_words() -> None:
    for answer in READER(**ONE, top_k=5, align_to_words=True):
        before, after = CONTEXT[: answer["start"]], CONTEXT[answer["end"] :]
        assert (not before or before[-1].isspace()) and (not after or after[0].isspace())


def test_lengths() -> None:
    longest = max(answer["end"] - answer["start"] for answer in READER(**ONE, top_k=20))
    short = READER(**ONE, top_k=20, max_answer_len=1)
    assert max(answer["end"] - answer["start"] for answer in short) < longest
    text = CONTEXT * 4
    expected = READER.copy_with(
        config=CONFIG.changed(max_seq_length=40, max_query_length=8, doc_stride=40 - 8 - 3 - 10)
    )
    assert READER(QUESTION, text, max_seq_len=40, max_question_len=8, doc_stride=10) == as_dict(
        expected.read(QUESTION, text)[0]
    )


@pytest.mark.parametrize("overlap", [-1, 48 - 16 - 3])
def test_windows_can_not_share_all_of_their_text(overlap: int) -> None:
    with pytest.raises(UsageError, match="doc_stride from 0 to 28"):
        READER(**ONE, doc_stride=overlap)


def test_a_context_without_tokens() -> None:
    nothing = "\u200b"
    assert READER(QUESTION, nothing) == {"score": 0.0, "start": 0, "end": 0, "answer": ""}
    assert READER(QUESTION, nothing, top_k=2) == []


@pytest.mark.parametrize(
    ("inputs", "named", "words"),
    [
        ((), {}, "question: is missing"),
        ((), {"question": QUESTION}, "context: is missing"),
        ((ONE,), {"question": QUESTION}, "not both"),
        ((QUESTION,), {}, "must be a dict"),
        ((5,), {}, "must be a dict"),
        (([ONE, "text"],), {}, r"inputs\[1\]"),
        (([{"question": QUESTION}],), {}, 'has no "context"'),
        ((), {"question": [QUESTION], "context": [CONTEXT, OTHER]}, "1 questions and 2 contexts"),
        ((), {"question": 5, "context": CONTEXT}, "list of texts"),
        (([ONE, {"question": " ", "context": CONTEXT}],), {}, r"question of inputs\[1\]: is empty"),
        ((), {"question": [QUESTION, 5], "context": CONTEXT}, r"question of inputs\[1\]"),
    ],
)
def test_other_forms_are_refused(inputs: Any, named: Any, words: str) -> None:
    with pytest.raises((InputError, UsageError), match=words):
        READER(*inputs, **named)


def test_repr_tells_engine_and_lengths() -> None:
    assert repr(READER) == (
        "Reader(model=None, engine='fake', max_seq_length=48, doc_stride=16, max_query_length=16, "
        "max_answer_length=30)"
    )
    assert "model='" in repr(Reader.load())
