"""Layouts of data files: which there are, and how each writes ids, titles and answers.

Read are: KorQuAD 1.0, SQuAD 1.1 and 2.0, KLUE-MRC (``data`` / ``paragraphs`` / ``qas``), AI-Hub (the same
with ``question_id``, ``doc_title`` and an object for the answers) and the flat layout of Hugging
Face (an object a question, with its own context, and the answers as an object of lists).
"""

from __future__ import annotations

from typing import Any

from komrc.errors import DataError

ID_KEYS = ("id", "guid", "question_id")
TITLE_KEYS = ("title", "doc_title")
ROW_KEYS = (*ID_KEYS, "question", "context", "title", "answers", "is_impossible", "answer", "answer_start")


def refuse_other(value: object, where: str) -> None:
    """Raises DataError, one for the whole file, for layouts that hold no questions or are not read."""
    if not isinstance(value, dict):
        return
    if is_predictions(value):
        raise DataError(
            "is an object of texts by id, as predictions are, and contains no questions",
            where=where,
            fix="give a data file (for evaluate and report it comes first, then the predictions), and write"
            " outputs outside of the data folder",
        )
    if ("shards" in value and "identity" in value) or set(value) == {"format", "files"}:
        raise DataError(
            "belongs to a folder of answers that komrc predict wrote, and contains no questions",
            where=where,
            fix="write the output outside of the data folder",
        )
    articles = value.get("data")
    if isinstance(articles, list) and any(map(_is_korquad_2, articles)):
        raise DataError(
            "is in the layout of KorQuAD 2.0 (whole web pages in HTML, one answer object a question)",
            where=where,
            fix="give a file in the layout of KorQuAD 1.0; of this layout are read: `komrc data lint`,"
            " `komrc evaluate --korquad2` and komrc.load_korquad2",
        )


def _is_korquad_2(article: object) -> bool:
    if not isinstance(article, dict) or "paragraphs" in article or not isinstance(article.get("qas"), list):
        return False
    questions = article["qas"]
    return "raw_html" in article or any(isinstance(qa, dict) and "answer" in qa for qa in questions)


def is_predictions(value: object) -> bool:
    """Whether a JSON value is an object of texts by question id, as komrc predict writes it."""
    return (
        isinstance(value, dict)
        and bool(value)
        and not any(key in value for key in ("data", "question", "context", "version"))
        and all(isinstance(text, str) for text in value.values())
    )


def is_prediction_row(value: dict[str, Any]) -> bool:
    """Whether an object is a line of the answers that komrc predict writes."""
    return "text" in value and "question" not in value and "context" not in value


def is_row(value: object) -> bool:
    """Whether an object is a question of the flat layout."""
    return (
        isinstance(value, dict)
        and ("question" in value or "context" in value)
        and not any(key in value for key in ("data", "paragraphs", "qas"))
    )


def id_key(question: dict[str, Any]) -> str:
    """The key that a question has its id under; "id" where it has none."""
    return next((key for key in ID_KEYS if key in question), "id")


def title_key(article: dict[str, Any]) -> str | None:
    """The key that an article has its title under."""
    return next((key for key in TITLE_KEYS if key in article), None)


def answers_as_list(question: dict[str, Any]) -> Any:
    """The answers as a list of objects, where they are an object of lists or one object; else as they are.

    A row may also have its one answer in the columns ``answer`` and ``answer_start``. KeyError without any.
    """
    if "answers" not in question and "answer" in question:
        return _one_answer(question)
    answers = question["answers"]
    if not isinstance(answers, dict) or "text" not in answers:
        return answers
    texts, starts = answers["text"], answers.get("answer_start")
    if not isinstance(texts, list):
        return [answers]
    if starts is None:
        return [{"text": text} for text in texts]
    if not isinstance(starts, list) or len(starts) != len(texts):
        return answers
    return [{"text": text, "answer_start": start} for text, start in zip(texts, starts, strict=True)]


def _one_answer(row: dict[str, Any]) -> list[Any]:
    answer = row["answer"]
    if not isinstance(answer, str):
        return [answer]
    if not answer.strip():
        return []
    return [{"text": answer} | ({"answer_start": row["answer_start"]} if "answer_start" in row else {})]
