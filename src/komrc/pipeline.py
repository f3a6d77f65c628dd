"""Arguments and results in the form of transformers' former ``pipeline("question-answering")``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

from komrc.config import ReaderConfig
from komrc.errors import InputError, UsageError
from komrc.types import NO_ANSWER, Answer, Example

if TYPE_CHECKING:
    from komrc.tokenization import ReaderTokenizer


class _Prediction(Protocol):
    @property
    def answers(self) -> Sequence[Answer]: ...


class _Reader(Protocol):
    """What the call needs of a Reader."""

    tokenizer: ReaderTokenizer
    config: ReaderConfig

    def stream(
        self, examples: Iterable[Example], *, top_k: int, whole_words: bool, allow_no_answer: bool | None
    ) -> Iterator[_Prediction]: ...

    def copy_with(self, *, config: ReaderConfig) -> _Reader: ...


class PipelineCall:
    """The call of a reader in the form of transformers' former ``pipeline("question-answering")``."""

    def __call__(
        self: _Reader,
        *inputs: Any,
        question: str | Sequence[str] | None = None,
        context: str | Sequence[str] | None = None,
        top_k: int = 1,
        max_seq_len: int | None = None,
        max_question_len: int | None = None,
        max_answer_len: int | None = None,
        doc_stride: int | None = None,
        handle_impossible_answer: bool | None = False,
        align_to_words: bool = False,
    ) -> Any:
        """The answers to one or several questions.

        Args:
            inputs: {"question": …, "context": …} or an Example, one or several; a list of them; or any other
                iterable of them, which is read as the results are taken.
            question: text or list of texts, in place of ``inputs``.
            context: text or list of texts. Where one of the two is a single text, it belongs to all of the
                others.
            top_k: answers to each question.
            max_seq_len: tokens of a window; None for this and the others: the reader's own setting.
            max_question_len: tokens of a question; the rest is cut.
            max_answer_len: tokens of an answer at most.
            doc_stride: tokens that two neighbouring windows share at least.
            handle_impossible_answer: whether the empty answer may be the best one; None: as the model was
                trained.
            align_to_words: widen the answers to white space. Korean particles then belong to the answer.

        Returns:
            For one question {"score", "start", "end", "answer"}, or a list of these where ``top_k`` is above
            1. Start and end are code points of the context, the end exclusive. Where no token covers a
            character of the context, "answer" is "" with score 0, or the list is empty.
            For several questions, and for a list, a list of such results; for any other iterable an iterator.

        Raises InputError for inputs of another form and for texts that ``read`` refuses, UsageError for
        lengths that don't fit each other or the model.
        """
        asked = Inputs.of(inputs, question, context)
        lengths = {
            "max_seq_length": max_seq_len,
            "max_query_length": max_question_len,
            "max_answer_length": max_answer_len,
        }
        reader = _with_lengths(self, {name: n for name, n in lengths.items() if n is not None}, doc_stride)
        predictions = reader.stream(
            asked.examples,
            top_k=top_k,
            whole_words=align_to_words,
            allow_no_answer=handle_impossible_answer,
        )
        results = (result(prediction.answers, top_k) for prediction in predictions)
        if asked.kind == "iterator":
            return results
        return next(results) if asked.kind == "one" else list(results)


def _with_lengths(reader: _Reader, given: dict[str, int], overlap: int | None) -> _Reader:
    """The reader with other settings, and windows that share ``overlap`` tokens."""
    if not given and overlap is None:
        return reader
    longest = reader.tokenizer.model_max_length
    config = reader.config.fitted(longest, given)
    if overlap is not None:
        windows = config.windows
        room = windows.max_seq_length - windows.max_query_length - reader.tokenizer.template.special_tokens
        if not 0 <= overlap < room:
            raise UsageError(
                f"windows that have room for {room} tokens of the text can't share {overlap}",
                where="doc_stride",
                fix=f"use a doc_stride from 0 to {room - 1}",
            )
        config = config.changed(doc_stride=room - overlap)
    return reader.copy_with(config=config)


@dataclass(frozen=True, slots=True)
class Inputs:
    """The questions of one call.

    ``kind``: "one" gives one result, "list" a list of results, "iterator" an iterator.
    """

    examples: Iterable[Example]
    kind: Literal["one", "list", "iterator"]

    @classmethod
    def of(cls, inputs: Sequence[Any], question: Any, context: Any) -> Inputs:
        """The questions in positional arguments, or in ``question`` and ``context``.

        Read are {"question": …, "context": …} dicts and Examples, one, several, a list or any iterable; a
        question and a context; lists of them, of which one may be a single text. Raises InputError.
        """
        if inputs and (question is not None or context is not None):
            raise UsageError("give either inputs or question= and context=, not both", where="Reader()")
        if len(inputs) == 2 and all(isinstance(text, str) for text in inputs):
            (question, context), inputs = inputs, ()
        if not inputs:
            return cls._of_texts(question, context)
        if len(inputs) > 1:
            return cls(_examples(inputs), "list")
        (value,) = inputs
        if isinstance(value, Mapping) and not isinstance(value.get("question"), str):
            return cls._of_texts(value.get("question"), value.get("context"))
        if isinstance(value, Mapping | Example):
            return cls([_example(value, "")], "one")
        if isinstance(value, str) or not isinstance(value, Iterable):
            raise InputError(
                f"must be a dict with question and context, or several, found {type(value).__name__}",
                where="inputs",
                fix="pass question=… and context=…",
            )
        return cls(_examples(value), "list" if isinstance(value, Sequence) else "iterator")

    @classmethod
    def _of_texts(cls, question: Any, context: Any) -> Inputs:
        for name, value in (("question", question), ("context", context)):
            if value is None:
                raise InputError("is missing", where=name, fix="pass question=… and context=…")
            if not isinstance(value, str | Sequence):
                raise InputError(f"must be text or a list of texts, found {type(value).__name__}", where=name)
        if isinstance(question, str) and isinstance(context, str):
            return cls([Example("", question, context)], "one")
        count = len(context) if isinstance(question, str) else len(question)
        questions = [question] * count if isinstance(question, str) else question
        contexts = [context] * count if isinstance(context, str) else context
        if len(questions) != len(contexts):
            raise InputError(
                f"{len(questions)} questions and {len(contexts)} contexts don't make pairs",
                where="question",
                fix="give as many contexts as questions, or one",
            )
        return cls(
            [Example(f"inputs[{n}]", q, c) for n, (q, c) in enumerate(zip(questions, contexts, strict=True))],
            "list",
        )


def result(answers: Sequence[Answer], top_k: int) -> dict[str, Any] | list[dict[str, Any]]:
    """The answers to one question: a dict for one answer, a list of dicts where ``top_k`` is above 1."""
    dicts = [_as_dict(answer) for answer in answers]
    if top_k > 1:
        return dicts
    return dicts[0] if dicts else _as_dict(NO_ANSWER)


def _as_dict(answer: Answer) -> dict[str, Any]:
    return {"score": answer.score, "start": answer.start, "end": answer.end, "answer": answer.text}


def _examples(items: Iterable[Any]) -> Iterator[Example]:
    for number, item in enumerate(items):
        yield _example(item, f"inputs[{number}]")


def _example(item: Any, name: str) -> Example:
    if isinstance(item, Example):
        return item
    if not isinstance(item, Mapping):
        raise InputError(
            f"must be a dict with question and context, found {type(item).__name__}", where=name or "inputs"
        )
    for key in ("question", "context"):
        if key not in item:
            raise InputError(f'has no "{key}"', where=name or "inputs", fix=f'add "{key}" (text)')
    return Example(name, item["question"], item["context"])
