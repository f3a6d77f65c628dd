"""Each property on answers made for it."""

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from komrc.config import WindowConfig
from komrc.report import slices
from komrc.tokenization import ReaderTokenizer
from komrc.types import Example, Gold


def example(answer, *, context=None, question="?"):
    context = context or f"앞의 말 {answer}이다."
    return Example("a", question, context, (Gold(answer, context.index(answer)),))


@pytest.mark.parametrize(
    ("group", "made", "expected"),
    [
        ("particle", example("서울"), "attached"),
        ("particle", example("서울", context="여기는 서울 이다"), "free"),
        ("particle", example("서울", context="여기는 서울"), "free"),
        ("particle", example("서울", context="여기는 '서울'이다"), "free"),
        ("answer_length", example("서울시"), "1-3"),
        ("answer_length", example("서울시장"), "4-6"),
        ("answer_length", example("가" * 12), "7-12"),
        ("answer_length", example("가" * 13), "13+"),
        ("number", example("서울"), "none"),
        ("number", example("1,950.5"), "digits"),
        ("number", example("7명"), "digits_and_unit"),
        ("hanja", example("世宗"), "yes"),
        ("hanja", example("세종"), "no"),
        ("latin", example("G-Unit"), "yes"),
        ("latin", example("지유닛"), "no"),
        ("quotes", example("서울", context="여기는 '서울'이다"), "around"),
        ("quotes", example("'서울'의 봄"), "inside"),
        ("quotes", example("서울"), "none"),
        ("question_word", example("x", question="이 책은 누가 썼나?"), "who"),
        ("question_word", example("x", question="무엇이 몇 년에 생겼나?"), "how_many"),
        ("question_word", example("x", question="언제 생겼나?"), "when"),
        ("question_word", example("x", question="그곳은 어디인가?"), "where"),
        ("question_word", example("x", question="왜 떠났나?"), "why"),
        ("question_word", example("x", question="어떻게 떠났나?"), "how"),
        ("question_word", example("x", question="이것은 무엇인가?"), "what"),
        ("question_word", example("x", question="어느 나라인가?"), "which"),
        ("question_word", example("x", question="수도는?"), "other"),
        ("paragraph_length", example("서울", context="서울" + "가" * 398), "<=400"),
        ("paragraph_length", example("서울", context="서울" + "가" * 399), "401-600"),
        ("paragraph_length", example("서울", context="서울" + "가" * 999), ">1000"),
        ("position", example("서울", context="서울" + "가" * 98), "q1"),
        ("position", example("서울", context="가" * 98 + "서울"), "q4"),
    ],
)
def test_property(group, made, expected):
    assert slices.by_text([made])[group] == [expected]
    assert expected in slices.SLICES[group]


@pytest.fixture
def words():
    """A tokenizer whose tokens are words between spaces."""
    backend = Tokenizer(models.WordLevel({"[UNK]": 0, "[PAD]": 1, "[CLS]": 2, "[SEP]": 3}, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    return ReaderTokenizer(backend, pad_id=1, model_max_length=512)


def test_tokens_and_windows(words):
    def made(answer, count):
        context = " ".join(f"낱{n}" for n in range(count))
        return Example("a", "물음 말", context, (Gold(answer, context.index(answer)),))

    # 3 special tokens and 2 of the question leave room for 10 words; windows begin every 5 words
    config = WindowConfig(max_seq_length=15, doc_stride=5, max_query_length=4)
    examples = [made("낱3", 10), made("낱3 낱", 10), made("낱2", 20), made("낱9 낱10", 20)]
    groups = slices.by_tokens(examples, words, config)
    assert groups["tokens"] == ["reachable", "unreachable", "reachable", "reachable"]
    assert groups["windows"] == ["one", "one", "whole", "cut"]
