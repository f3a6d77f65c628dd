"""The records: their dictionaries, and the empty answer."""

from __future__ import annotations

from komrc.decoding import Candidate
from komrc.reader import Prediction
from komrc.types import NO_ANSWER, Answer, Span


def test_an_answer_as_a_dictionary() -> None:
    answer = Answer("서울", 3, 5, 0.5)
    assert answer.to_dict() == {"text": "서울", "start": 3, "end": 5, "score": 0.5}
    trimmed = Answer("서울", 3, 5, 0.5, Span(3, 6))
    assert trimmed.to_dict() == answer.to_dict() | {"untrimmed": [3, 6]}


def test_the_best_answer_of_a_prediction() -> None:
    first, second = Answer("서울", 3, 5, 0.5), Answer("부산", 7, 9, 0.2)
    prediction = Prediction("a", (first, second), ())
    assert (prediction.best, prediction.text) == (first, "서울")
    assert (Prediction("a", (), ()).best, Prediction("a", (), ()).text) == (NO_ANSWER, "")


def test_an_entry_of_an_n_best_file() -> None:
    assert Candidate(1, 3, 0.5, 3.0, 1.0, 2.0).to_dict("가나다라") == {
        "text": "나다",
        "probability": 0.5,
        "start_logit": 1.0,
        "end_logit": 2.0,
        "start": 1,
        "end": 3,
    }
