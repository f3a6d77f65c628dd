"""Answers from the passages that a search gives."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.fake_engine import FakeEngine
from support.searches import FixedSearch

from komrc.asking import DocumentAnswer
from komrc.config import ReaderConfig
from komrc.documents.document import Document
from komrc.engines import Batch, Logits
from komrc.errors import InputError, UsageError
from komrc.index import Index
from komrc.reader import Reader
from komrc.tokenization import load_tokenizer

TOKENIZER = load_tokenizer(None)
RULES = {
    "규정.txt": "제1장 휴가\n\n연차는 사용일 3일 전까지\n신청하여야 한다.\n\n병가는 진단서를 내야 한다.",
    "알림.txt": "연차는 3일 전까지 신청합니다. 문의는 총무팀에 하십시오.",
    "식당.txt": "점심은 12시부터 1시까지이다. 식당은 2층에 있다.",
}


class Marked:
    """Finds the tokens of a text: its logits are high where their ids occur, and low elsewhere.

    Args:
        scores: logit of the span over the tokens of each text.
        no_answer: logit of "no answer" in every window.
    """

    name = "marked"

    def __init__(self, scores: dict[str, float], no_answer: float = -10.0) -> None:
        self.marks = [(TOKENIZER.encode_many([text])[0].ids, score) for text, score in scores.items()]
        self.no_answer = no_answer
        self.windows = 0

    def run(self, batch: Batch) -> Logits:
        self.windows += len(batch)
        ids = batch.input_ids
        start, end = (np.full(len(ids), -30.0, np.float32) for _ in range(2))
        for mark, score in self.marks:
            for at in range(len(ids) - len(mark) + 1):
                if ids[at : at + len(mark)].tolist() == mark:
                    start[at] = end[at + len(mark) - 1] = score / 2
        start[batch.indptr[:-1]] = end[batch.indptr[:-1]] = self.no_answer / 2
        return Logits(start, end)


def reader(engine: Any, **settings_: Any) -> Reader:
    return Reader(TOKENIZER, engine, ReaderConfig.of(version_2_with_negative=True, **settings_))


DOCUMENT = st.text("가나다 \n.라\u200b(）1é", min_size=1, max_size=80).map(lambda text: f"마{text}")


@settings(max_examples=40, deadline=None)
@given(
    st.dictionaries(st.sampled_from("abcd"), DOCUMENT, min_size=1),
    st.booleans(),
    st.integers(1, 30),
    st.sampled_from([None, "kiwi"]),
)
def test_an_answer_is_a_slice_of_its_document(
    documents: dict[str, str], boundary: bool, top_k: int, trim: Any
) -> None:
    model = Reader(
        TOKENIZER,
        FakeEngine(boundary=boundary),
        ReaderConfig.of(max_seq_length=48, doc_stride=16, max_query_length=16, version_2_with_negative=True),
        trim_particles=trim,
    )
    answers = model.ask("가나다", FixedSearch(documents), top_k=top_k)
    assert 1 <= len(answers) <= top_k
    assert [a.score for a in answers] == sorted((a.score for a in answers), reverse=True)
    assert sum(a.score for a in answers) <= 1 + 1e-6
    for answer in answers:
        assert 0 <= answer.score <= 1
        if answer.document is None:
            assert (answer.text, answer.start, answer.end, answer.passage) == ("", 0, 0, None)
            continue
        text = documents[answer.document]
        assert text[answer.start : answer.end] == answer.text != ""
        assert text.startswith(answer.sentence, answer.sentence_start)
        assert answer.sentence_start <= answer.start
        assert answer.end <= answer.sentence_start + len(answer.sentence)
        assert answer.line == 1 + text.count("\n", 0, answer.start)
        for place in answer.also:
            assert 0 <= place.start < place.end <= len(documents[place.document])
            assert (place.document, place.start) != (answer.document, answer.start)


def test_the_same_answer_in_two_documents_is_added_up() -> None:
    index = FixedSearch(RULES, pages={"규정.txt": 7})
    best, *_ = reader(Marked({"3일": 4.0})).ask("연차 신청 기한은?", index)
    assert (best.text, best.document, best.page, best.line) == ("3일", "규정.txt", 7, 3)
    assert best.sentence == "연차는 사용일 3일 전까지"
    (other,) = best.also
    assert (other.document, other.page, other.line) == ("알림.txt", None, 1)
    alone = reader(Marked({"3일 전까지 신청합니다": 1.0, "3일": 4.0})).ask(
        "연차 신청 기한은?", FixedSearch({"규정.txt": RULES["규정.txt"]})
    )
    assert best.score > 0.9 and alone[0].score > 0.9


def test_different_answers_of_different_documents_are_listed() -> None:
    engine = Marked({"휴가": 0.0, "총무팀": 2.0, "2층": 2.0}, no_answer=-40.0)
    answers = reader(engine).ask("무엇?", FixedSearch(RULES))
    found = [(answer.text, answer.document) for answer in answers[:3]]
    # The earlier a passage comes in the search, the more probable its answer.
    assert found == [("휴가", "규정.txt"), ("총무팀", "알림.txt"), ("2층", "식당.txt")]


def test_not_in_the_documents_is_an_answer() -> None:
    model = reader(Marked({"2층": -12.0}, no_answer=8.0))
    answers = model.ask("대표 이사는 누구인가?", FixedSearch(RULES))
    assert (answers[0].text, answers[0].document) == ("", None)
    assert answers[0].score > 0.5
    spans = model.ask("대표 이사는 누구인가?", FixedSearch(RULES), allow_no_answer=False)
    assert spans and all(answer.text for answer in spans)


def test_a_search_without_a_result_gives_the_empty_answer() -> None:
    engine = Marked({})
    (answer,) = reader(engine).ask("무엇?", FixedSearch({}))
    assert answer == DocumentAnswer("", None, 0, 0, None, 0, None, 1.0)
    assert engine.windows == 0


def test_reading_stops_when_the_first_passages_decide() -> None:
    index = FixedSearch({str(n): f"{n}번 문서에는 등대가 있다." for n in range(9)})
    counts = []
    for score in (40.0, -20.0):
        engine = Marked({"0번 문서": score}, no_answer=-40.0)
        reader(engine).ask("무엇?", index)
        counts.append(engine.windows)
    assert counts == [2, 9]


def test_the_first_answers_are_the_same_whatever_top_k_is() -> None:
    model = reader(FakeEngine(boundary=True))
    answers = model.ask("무엇?", FixedSearch(RULES), top_k=9)
    assert model.ask("무엇?", FixedSearch(RULES), top_k=2) == answers[:2]
    texts = [answer.text for answer in answers]
    assert len(set(texts)) == len(texts)


def test_json_values_have_every_place() -> None:
    best, *_ = reader(Marked({"3일": 4.0})).ask("연차 신청 기한은?", FixedSearch(RULES))
    values = best.to_dict()
    assert values["document"] == "규정.txt"
    assert values["passage"]["start"] <= values["start"] < values["end"] <= values["passage"]["end"]
    assert values["also"][0]["document"] == "알림.txt"


@pytest.mark.parametrize("question", ["", " ", "\ud800", 3])
def test_a_question_that_is_no_text_is_refused(question: Any) -> None:
    with pytest.raises(InputError):
        reader(FakeEngine()).ask(question, FixedSearch(RULES))


@pytest.mark.parametrize("options", [{"top_k": 0}, {"top_k": 1.5}, {"passages": 0}])
def test_numbers_below_one_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        reader(FakeEngine()).ask("무엇?", FixedSearch(RULES), **options)


def test_the_embedded_model_answers_and_says_where() -> None:
    index = Index.of_documents(Document(name, name, text, (), name) for name, text in RULES.items())
    model = Reader.load()
    best, *_ = model.ask("연차는 며칠 전까지 신청해야 하나?", index)
    assert best.text.startswith("3일") and best.document in ("규정.txt", "알림.txt")
    best, *_ = model.ask("식당은 몇 층에 있나?", index)
    assert (best.text, best.document, best.line) == ("2층", "식당.txt", 1)
    assert model.ask("연차는 누가 승인하나?", index)[0].document is None
    assert model.ask("대표이사는 누구인가?", index)[0].document is None
