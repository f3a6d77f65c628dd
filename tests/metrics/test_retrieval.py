"""Recall at k and the mean reciprocal rank."""

from __future__ import annotations

import pytest

from komrc.metrics.retrieval import first_right, score
from komrc.types import Example, Gold

CONTEXT = "연차는 3일 전까지 신청한다. 병가는 진단서를 낸다."


def example(name: str, *answers: str, context: str = "") -> Example:
    return Example(name, "질문", context, tuple(Gold(text, 0) for text in answers))


def test_ranks_give_recall_and_reciprocal_rank() -> None:
    passages = {
        "first": ["3일 전까지", "다른 글"],
        "third": ["글", "글", "진단서를 낸다"],
        "seventh": ["글"] * 6 + ["답"],
        "never": ["글"] * 10,
    }
    examples = [
        example("first", "3일"),
        example("third", "진단서"),
        example("seventh", "답"),
        example("never", "없음"),
        example("missing", "없음"),
        example("impossible"),
    ]
    assert score(passages, examples) == pytest.approx(
        {"recall@1": 20.0, "recall@5": 40.0, "recall@10": 60.0, "mrr": 20 * (1 + 1 / 3 + 1 / 7)}
    )


def test_a_passage_of_another_text_is_not_right() -> None:
    passages = ["휴가는 3일 전에 알린다.", "연차는 3일  전까지\n신청한다."]
    assert first_right(passages, example("a", "3일", context=CONTEXT)) == 2
    assert first_right(passages, example("a", "3일")) == 1
    # The index may also cut longer passages than the context.
    assert first_right([f"앞. {CONTEXT} 뒤."], example("a", "3일", context=CONTEXT)) == 1
    # Of the right text, but without the answer.
    assert first_right(["병가는 진단서를 낸다."], example("a", "3일", context=CONTEXT)) is None


def test_any_reference_answer_counts() -> None:
    assert first_right(["세종대왕이 만들었다"], example("a", "이도", "세종대왕")) == 1


def test_without_answers_nothing_is_measured() -> None:
    assert score({}, [example("a")]) == {}
