"""Particles are cut at morpheme boundaries, read in the sentence around the answer."""

import os
import signal
import time
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.own_tokenizers import EVERYDAY

from komrc.data import load_squad
from komrc.metrics import korquad
from komrc.models import hub
from komrc.text.particles import trim, trim_many

pytest.importorskip("kiwipiepy")

CASES = [
    ("서울은 대한민국의 수도이다.", "수도이다.", "수도"),
    ("서울은 대한민국의 수도이다.", "대한민국의", "대한민국"),
    ("모두 7명의 사람이 왔다.", "7명의", "7명"),
    ("그는 1950년에 태어났다.", "1950년에", "1950년"),
    ("그는 3월 1일부터 일했다.", "3월 1일부터", "3월 1일"),
    ("그는 '햄릿'이라는 작품을 썼다.", "'햄릿'이라는", "햄릿"),
    ("이 영화는 《왕의 남자》이다.", "《왕의 남자》이다.", "왕의 남자"),
    ('그는 "안녕, 친구들아"라고 말했다.', '"안녕, 친구들아"라고', "안녕, 친구들아"),
    ("왕중왕전에서는 졌다.", "왕중왕전에서는", "왕중왕전"),
    ("그는 부산에서부터는 걸었다.", "부산에서부터는", "부산"),
    ("그는 배우였다.", "배우였다.", "배우"),
    ("문재인 대통령에게 물었다.", "문재인 대통령에게", "문재인 대통령"),
    ("찬성은 41%를 넘었다.", "41%를", "41%"),
    ("그는 나흘 만에 돌아왔다.", "나흘 만에", "나흘"),
    ("전쟁 비용때문에 망했다.", "전쟁 비용때문에", "전쟁 비용"),
    ("세종(世宗)은 조선의 임금이다.", "세종(世宗)은", "세종"),
    ("위원회는 존(John Smith)을 뽑았다.", "존(John", "존"),
    ("그는 노래 '사랑'을 불렀다.", "'사랑", "사랑"),
]
UNTOUCHED = [
    ("값은 3만 원이다.", "3만"),  # 만: ten thousand, not "only"
    ("기온이 100도 이상이다.", "100도"),  # degrees, not "also"
    ("지폐 5만이 있다.", "5만"),
    ("우리는 벌금을 부과했다.", "벌금을 부과했다"),  # a clause
    ("이이는 조선의 학자이다.", "이이"),
    ("이 영화는 《왕의 남자》이다.", "왕의 남자"),
    ("노래 〈사랑이 뭐길래〉가 인기다.", "사랑이 뭐길래"),  # a title, whatever ends it
    ("그 회사는 Yahoo!이다.", "Yahoo!"),
    ("자본주의 사회의 여자들에게 물었다.", "여자들"),
    ("빛의 적색편이를 재었다. 이 적색편이가 컸다.", "적색편이"),
    ("그는 와 하고 웃었다.", "와"),
]


def cut(context, answer):
    start = context.index(answer)
    span = trim(context, start, start + len(answer))
    assert start <= span.start <= span.end <= start + len(answer)
    return context[span.start : span.end]


@pytest.mark.parametrize(("context", "answer", "expected"), CASES)
def test_cut(context, answer, expected):
    assert cut(context, answer) == expected


@pytest.mark.parametrize(("context", "answer"), UNTOUCHED)
def test_left_alone(context, answer):
    assert cut(context, answer) == answer


def test_number_keeps_its_unit_when_a_particle_follows():
    assert cut("값은 3만이 넘는다.", "3만이") == "3만"


@pytest.mark.parametrize(("context", "answer", "expected"), CASES[:6])
def test_decomposed_text_is_cut_at_the_same_syllable(context, answer, expected):
    def decompose(text):
        return unicodedata.normalize("NFD", text)

    assert cut(decompose(context), decompose(answer)) == decompose(expected)


def test_emoji_before_a_particle_stays_whole():
    assert cut("👨‍👩‍👧가족은 행복하다.", "👨‍👩‍👧가족은") == "👨‍👩‍👧가족"


def test_the_sentence_decides_not_the_answer_alone():
    assert cut("오랜만에 임금이 왔다.", "임금이") == "임금"
    assert cut("직원의 임금이 올랐다. 직원의 봄나들이가 즐거웠다.", "봄나들이") == "봄나들이"


def test_batch_gives_what_each_gives_alone():
    items = [(c, c.index(a), c.index(a) + len(a)) for c, a, _ in CASES] * 2
    assert trim_many(items) == [trim(*item) for item in items]
    assert trim_many([]) == []


def test_long_text_without_sentences_is_read_around_the_answer():
    context = "가나다라 " * 5000 + "그는 서울에서 " + "마바사 " * 5000
    start = context.index("서울에서")
    span = trim(context, start, start + 4)
    assert context[span.start : span.end] == "서울"


@settings(max_examples=60, deadline=None)
@given(
    st.text(
        st.sampled_from("서울이가는에도다 .'\"()《》3만1%\n\u1112\u1161\u11ab\u0301😀\u200d"), max_size=24
    ),
    st.data(),
)
def test_any_text_gives_a_span_inside_the_given_one(context, data):
    start = data.draw(st.integers(0, len(context)))
    end = data.draw(st.integers(start, len(context)))
    span = trim(context, start, end)
    assert start <= span.start <= span.end <= end
    assert span.end > span.start or start == end


@pytest.mark.parametrize(
    ("data", "least"),
    [(hub.sample_data("train"), 0.95), (EVERYDAY / "dev.json", 0.91)],  # 0.15 and 0.46 before the cut
    ids=["sample", "everyday"],
)
def test_golds_of_real_text_survive_and_whole_words_are_fixed(data, least):
    """Golds as they are, and enlarged to whole white-space words."""
    golds, words, texts = [], [], []
    for example in [example for example in load_squad(data) if example.answers][:400]:
        context, gold = example.context, example.answers[0]
        start, end = gold.start, gold.start + len(gold.text)
        golds.append((context, start, end))
        while start > 0 and not context[start - 1].isspace():
            start -= 1
        while end < len(context) and not context[end].isspace():
            end += 1
        words.append((context, start, end))
        texts.append([answer.text for answer in example.answers])

    def right(items):
        spans = trim_many(items)
        return sum(
            korquad.best(context[span.start : span.end], answers)[0]
            for (context, _, _), span, answers in zip(items, spans, texts, strict=True)
        ) / len(texts)

    assert right(golds) >= 0.99
    assert right(words) >= least


def test_a_fork_of_a_process_that_has_trimmed_can_trim() -> None:
    assert trim("모두 7명의 사람이 왔다.", 3, 6).end == 5
    child = os.fork()
    if child == 0:
        os._exit(0 if trim("모두 7명의 사람이 왔다.", 3, 6).end == 5 else 1)
    for _ in range(300):  # a child without the analyser's threads would wait for them for ever
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            break
        time.sleep(0.1)
    else:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        pytest.fail("the child hangs")
    assert status == 0
