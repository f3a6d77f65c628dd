"""Bodies of requests and responses. Offsets are half-open and in code points, unless the name has "utf16"."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

QUESTION = "세종대왕이 만든 글자는?"
CONTEXT = "세종대왕은 1443년에 훈민정음을 창제하였다. 집현전 학자들이 해설서를 썼다."


class Lenient(BaseModel):
    """The routes of 2020 and of Hugging Face ignore unknown fields, as the original servers do."""

    model_config = ConfigDict(strict=True, extra="ignore")


class _Strict(BaseModel):
    """KoMRC's own routes reject unknown fields, so that a misspelt option is noticed."""

    model_config = ConfigDict(strict=True, extra="forbid")


class ErrorResponse(BaseModel):
    """Every error of every route."""

    code: str = Field(description="what happened, for programs", examples=["queue_full"])
    error: str = Field(description="what happened and what to do, for people")
    field: str | None = Field(
        default=None, description="the part of the request it is about", examples=["inputs[0]"]
    )


class Pair(Lenient):
    """One question on one text."""

    question: str = Field(examples=[QUESTION])
    context: str = Field(examples=[CONTEXT])


# --- the routes of 2020 ---


class TokenizeRequest(Lenient):
    """A text to be cut into the model's tokens."""

    text_input: str = Field(examples=["훈민정음을 창제하였다."])
    return_ids: bool = False


class TokenizeResponse(BaseModel):
    """Tokens in order, special ones not among them."""

    tokens: list[str]
    tokens_ids: list[int] | None = Field(description="null where return_ids is false")


class DetokenizeRequest(Lenient):
    """Token ids to be put together."""

    tokens_ids: list[Annotated[int, Field(ge=0, lt=2**31)]] = Field(examples=[[2, 3]])
    skip_special_tokens: bool = False
    cleanup_tokenization_spaces: bool = True


class DetokenizeResponse(BaseModel):
    """The text of the ids."""

    text: str


class ForwardRequest(Lenient):
    """One pair, or several."""

    inputs: Pair | list[Pair]


class ForwardAnswer(BaseModel):
    """The best answer to a pair; an empty one where the model says there is none."""

    score: float = Field(ge=0, le=1)
    start: int = Field(description="code points")
    end: int = Field(description="code points, exclusive: context[start:end] is the answer")
    answer: str


class ForwardResponse(BaseModel):
    """One answer for one pair, a list for a list."""

    output: ForwardAnswer | list[ForwardAnswer]


class InfosResponse(BaseModel):
    """What config.json says."""

    infos: dict[str, Any] = Field(description="the model's configuration")


# --- Hugging Face inference ---


class PredictParameters(Lenient):
    """Hugging Face's names. Null means the model's own setting."""

    top_k: Annotated[int, Field(ge=1)] | None = Field(default=None, description="answers for each pair (1)")
    topk: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="the old name of top_k", json_schema_extra={"deprecated": True}
    )
    doc_stride: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="tokens two windows share"
    )
    max_answer_len: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="tokens of an answer"
    )
    max_seq_len: Annotated[int, Field(ge=8)] | None = Field(default=None, description="tokens of a window")
    max_question_len: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="tokens of a question"
    )
    handle_impossible_answer: bool | None = Field(default=None, description="whether 'no answer' may win")
    distinct: bool | None = Field(
        default=None, description="leave out answers that share characters with a better one (false)"
    )
    align_to_words: bool | None = Field(
        default=None, description="widen answers to whole words (false: Korean glues particles to words)"
    )


class PredictRequest(Lenient):
    """What Hugging Face's question-answering endpoints take."""

    inputs: Pair | list[Pair]
    parameters: PredictParameters | None = None


# --- KoMRC's own ---


class AnswersRequest(_Strict):
    """Several questions on one context, or one question on several contexts."""

    question: str | list[str] = Field(examples=[[QUESTION, "언제 만들었는가?"]])
    context: str | list[str] = Field(examples=[CONTEXT])
    format: Literal["text", "html"] = Field(
        default="text",
        description="html: contexts are HTML pages; their text is read, and places are those of the HTML",
    )
    top_k: int = Field(default=3, ge=1, description="answers for each pair")
    distinct: bool = Field(
        default=False, description="leave out answers that share characters with a better one"
    )
    allow_no_answer: bool | None = Field(
        default=None, description="whether 'no answer' may win; null: as the model was trained"
    )
    max_answer_tokens: int | None = Field(default=None, ge=1, description="null: the model's own setting")
    exhaustive: bool = Field(
        default=False,
        description="read all of a context of more than 10,000 characters, and not only where it shares the"
        " most with the question",
    )


class SpanView(BaseModel):
    """A piece of the context."""

    text: str
    start: int = Field(description="code points: Python's slices")
    end: int
    start_utf16: int = Field(description="UTF-16 units: JavaScript's slices")
    end_utf16: int


class RankedAnswer(SpanView):
    """An answer, and how sure the model is of it."""

    score: float = Field(ge=0, le=1)
    untrimmed: SpanView | None = Field(description="the answer before a particle was cut off, where one was")
    sentence: SpanView | None = Field(description="the sentence around; null for no answer")
    plain_text: str | None = Field(
        default=None, description="with format html: what a person reads there; text is its HTML"
    )


class PairAnswers(BaseModel):
    """The answers to one question on one context."""

    question_index: int
    context_index: int
    no_answer: bool = Field(description="whether the best guess is that the context holds no answer")
    answers: list[RankedAnswer] = Field(description="best first; an empty text means no answer")
    cached: bool = Field(description="whether the answers were remembered")


class Timing(BaseModel):
    """Milliseconds."""

    queue: float = Field(description="waiting for the engine")
    tokenize: float
    infer: float = Field(description="in batches, which other requests may share")
    decode: float
    total: float


class AnswersResponse(BaseModel):
    """Results in the order of questions and contexts, and what they took."""

    results: list[PairAnswers]
    windows: int = Field(description="windows the engine has read for this request")
    tokens: int = Field(description="tokens in them")
    timing_ms: Timing


# --- the index of documents ---


class AskRequest(_Strict):
    """A question on the documents of the server's index."""

    question: str = Field(examples=["연차는 며칠 전에 신청해야 하나?"])
    top_k: int = Field(default=5, ge=1, description="answers")
    passages: int = Field(
        default=10, ge=1, description="passages that the search gives; the last may stay unread"
    )
    allow_no_answer: bool | None = Field(
        default=None, description="whether 'not in the documents' may win; null: as the model was trained"
    )


class SearchRequest(_Strict):
    """Words or a question to search for."""

    query: str = Field(examples=["연차 신청 기한"])
    top_k: int = Field(default=10, ge=1, description="passages")


class DocumentPlace(BaseModel):
    """Characters `[start, end)` of a document's extracted text, in code points."""

    document: str = Field(description="the document's id")
    start: int
    end: int
    page: int | None = Field(description="from 1; null where the format has no pages")
    line: int = Field(description="of the extracted text, from 1")


class PassageView(DocumentPlace):
    """A passage of a document."""

    id: int = Field(description="its number in the index; another one when the document is indexed again")
    title: str = Field(description="of the document")
    heading: str = Field(description="the headings that it is below, with ' > ' between them")
    header: str = Field(description="the first row of the table in which the passage begins, or empty")
    text: str


class DocumentAnswerView(BaseModel):
    """An answer and its place; 'not in the documents' has an empty text and nulls."""

    text: str
    score: float = Field(ge=0, le=1, description="probability, added up over all places that were read")
    document: str | None = Field(description="the document's id")
    start: int = Field(description="code points of the document's extracted text")
    end: int
    page: int | None = Field(description="where the passage begins, from 1; null where there are no pages")
    line: int = Field(description="where the answer begins, from 1; 0 for 'not in the documents'")
    sentence: str = Field(description="the sentence around the answer")
    sentence_start: int = Field(description="code points of the document's extracted text")
    passage: PassageView | None
    in_passage: SpanView | None = Field(description="the answer, with offsets in the passage's text")
    also: list[DocumentPlace] = Field(description="other places with the same answer, the best first")


class SearchTiming(BaseModel):
    """Milliseconds."""

    search: float
    read: float = Field(description="waiting for the engine included")
    total: float


class AskResponse(BaseModel):
    """Answers from the documents."""

    answers: list[DocumentAnswerView] = Field(description="best first, no two the same")
    no_answer: bool = Field(description="whether the best guess is that the documents hold no answer")
    passages: int = Field(description="passages that the search gave")
    timing_ms: SearchTiming


class SearchHit(BaseModel):
    """A passage and how well it matches."""

    score: float = Field(description="BM25; scores of different queries can't be compared")
    passage: PassageView


class SearchResponse(BaseModel):
    """The passages that match, best first."""

    hits: list[SearchHit]


class DocumentPart(BaseModel):
    """A part of a document's extracted text: `text` is its characters `[start, end)`, in code points."""

    document: str
    text: str
    start: int
    end: int
    line: int = Field(description="of the extracted text, where the part begins, from 1")
    characters: int = Field(description="of the whole text")


class UploadLimits(BaseModel):
    """What may be added."""

    max_bytes: int = Field(description="of a file")
    max_files: int
    endings: list[str] = Field(description="of file names that are read")


class IndexResponse(BaseModel):
    """The server's index."""

    available: bool = Field(
        description="false: the server was started without one, and the rest is 0 or null"
    )
    files: int = 0
    documents: int = 0
    passages: int = 0
    characters: int = 0
    upload: UploadLimits | None = Field(default=None, description="null: no files may be added")


class UnreadFile(BaseModel):
    """A file, or a record of one, that gave no document."""

    name: str
    reason: str = Field(description="what is wrong and what to do")


class UploadResponse(BaseModel):
    """What became of a file."""

    name: str = Field(description="the file's label; its document has the id uploads/NAME")
    documents: int = Field(description="documents of this file that are in the index now")
    added: int = Field(description="documents that are new; a file of records has many")
    replaced: int = Field(description="documents that have changed since an earlier file of this name")
    removed: int = Field(description="documents that only an earlier file of this name had")
    unread: list[UnreadFile] = Field(description="at most 20")


class Sample(BaseModel):
    """A passage to try the server on."""

    title: str
    context: str
    questions: list[str]


class StateResponse(BaseModel):
    """Whether the server takes work."""

    status: str = Field(examples=["ready"])


# --- errors, for the description of the API ---

_ERRORS: dict[int | str, dict[str, Any]] = {
    code: {"model": ErrorResponse, "description": text}
    for code, text in {
        400: "The body is not JSON in UTF-8, or the request is not HTTP",
        401: "The server asks for a key",
        403: "A foreign host name, a page of another origin, or a file for a server that accepts none",
        404: "The server has no index, or the index has no such document",
        408: "Headers or body did not arrive in time",
        413: "The body is too large, or a text too long for the time that a request has",
        415: "The content type is not JSON, or the content encoding is not supported",
        422: "A value is missing, of the wrong kind or beyond a limit",
        429: "The queue is full, or too full for a long text; Retry-After says when to come back",
        500: "The model could not be run; other requests are not affected",
        503: "The model is loading, or the server is shutting down",
        504: "No answer was ready in time",
        507: "The index has as many uploaded files as it may have",
    }.items()
}


_OF_THE_INDEX = {404, 507}  # statuses of its routes only


def error_responses(*codes: int | str) -> dict[int | str, dict[str, Any]]:
    """What errors with these statuses mean, or those of every POST route, for a route's ``responses``."""
    return {code: _ERRORS[code] for code in codes or [code for code in _ERRORS if code not in _OF_THE_INDEX]}
