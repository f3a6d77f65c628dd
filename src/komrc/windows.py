"""Examples and a tokenizer to windows: what a model reads, with labels from character offsets.

A paragraph's tokens are stored once and every window points into them, so six questions on a paragraph
cost one tokenization and one copy. Everything is a flat typed array that can be memory-mapped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields, replace
from functools import cache, partial
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from komrc.config import WindowConfig
from komrc.engines import BOUNDARY_CLASSES, Batch
from komrc.errors import UsageError, check_whole_number
from komrc.html.marker_tokens import MarkedTokens, encode_views
from komrc.text.invisible import VisibleText, visible
from komrc.types import Example

if TYPE_CHECKING:
    from komrc.tokenization import PairTemplate, ReaderTokenizer
    from komrc.tokenization.offsets import TokenizedText

_READINGS = 32  # windows that may hold the same token, at most
_TEXTS_AT_ONCE = 256  # bounds the memory of the tokenizer library: about 100 bytes a token


@dataclass(frozen=True, slots=True)
class Windows:
    """N windows over E examples and D distinct contexts. Window n has ``lengths[n]`` tokens:
    special tokens, question, special tokens, ``context_length[n]`` context tokens, special tokens.

    Positions are token positions inside a window. Offsets are code points of the raw context, without the
    white space at a token's edges; a token that covers no character has ``char_start == char_end``. Both
    never decrease along a context.

    ``start_position``, ``end_position``: the tokens that hold the first and the last character of the first
    reference answer; 0 (the first special token) where the window doesn't hold the whole answer or labels
    were not asked for. ``drop_front``, ``drop_back``: characters of those tokens outside the answer; -1
    where there is no answer, or more of them than the boundary head has classes for.
    """

    template: PairTemplate
    question_ids: NDArray[np.int32]  # the questions' tokens, one after the other, cut
    question_indptr: NDArray[np.int64]  # [E+1]
    question_truncated: NDArray[np.bool_]  # [E]
    context: NDArray[np.int32]  # [E], which distinct context an example has
    context_ids: NDArray[np.int32]  # the distinct contexts' tokens, one after the other
    char_start: NDArray[np.int32]  # like context_ids
    char_end: NDArray[np.int32]  # like context_ids
    context_indptr: NDArray[np.int64]  # [D+1]
    indptr: NDArray[np.int64]  # [N+1], where each window's tokens begin in flat logits
    example: NDArray[np.int32]  # [N], ascending
    first_token: NDArray[np.int32]  # [N], the window's first context token, counted inside its context
    context_start: NDArray[np.int32]  # [N], position of that token
    context_length: NDArray[np.int32]  # [N]
    start_position: NDArray[np.int32]  # [N]
    end_position: NDArray[np.int32]  # [N]
    drop_front: NDArray[np.int8]  # [N]
    drop_back: NDArray[np.int8]  # [N]

    def __len__(self) -> int:
        return len(self.example)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of each window, [N]."""
        return np.diff(self.indptr)

    def subset(self, numbers: NDArray[np.int64]) -> Windows:
        """Only these windows, given in ascending order; every example must keep at least one."""
        of_windows = {name: getattr(self, name)[numbers] for name in _OF_WINDOWS}
        indptr = np.concatenate([[0], np.cumsum(self.lengths[numbers])])
        return replace(self, indptr=indptr, **of_windows)


ARRAYS = tuple(field.name for field in fields(Windows) if field.name != "template")
_OF_WINDOWS = ARRAYS[ARRAYS.index("example") :]  # those with an entry for each window


def build_windows(
    examples: Sequence[Example], tokenizer: ReaderTokenizer, config: WindowConfig, *, labels: bool
) -> Windows:
    """Windows of all examples, in their order; every distinct context is tokenized once.

    An example whose context gives no token has one window without context tokens. Raises UsageError for
    lengths that leave no room.
    """
    template = tokenizer.template
    special = len(template.prefix) + len(template.middle) + len(template.suffix)
    _check(config, special, tokenizer.model_max_length)
    numbers: dict[str, int] = {}
    context = np.fromiter(
        (numbers.setdefault(e.context, len(numbers)) for e in examples), np.int32, len(examples)
    )
    texts = list(numbers)
    questions = [e.question for e in examples]
    with ThreadPoolExecutor(max_workers=1) as other:  # one is in Python while the other is in Rust
        encoded = other.submit(_encode_questions, questions, tokenizer, config.max_query_length)
        encode = partial(encode_views, tokenizer) if config.html_markers else tokenizer.encode_many
        context_ids, char_start, char_end, context_indptr = _encode_contexts(texts, encode)
    question_ids, question_indptr, truncated = encoded.result()

    head = len(template.prefix) + len(template.middle) + np.diff(question_indptr)  # [E]
    room = config.max_seq_length - len(template.suffix) - head
    total = np.diff(context_indptr)[context]
    step = np.minimum(config.doc_stride, room)
    count = 1 + np.maximum(0, -(-(total - room) // step))
    example = np.repeat(np.arange(len(examples)), count)
    rank = np.arange(len(example)) - np.repeat(np.cumsum(count) - count, count)
    first = rank * step[example]
    length = np.minimum(room[example], total[example] - first)
    indptr = np.zeros(len(example) + 1, np.int64)
    np.cumsum(head[example] + length + len(template.suffix), out=indptr[1:])

    windows = Windows(
        template=template,
        question_ids=question_ids,
        question_indptr=question_indptr,
        question_truncated=truncated,
        context=context,
        context_ids=context_ids,
        char_start=char_start,
        char_end=char_end,
        context_indptr=context_indptr,
        indptr=indptr,
        example=example.astype(np.int32),
        first_token=first.astype(np.int32),
        context_start=head[example].astype(np.int32),
        context_length=length.astype(np.int32),
        start_position=np.zeros(len(example), np.int32),
        end_position=np.zeros(len(example), np.int32),
        drop_front=np.full(len(example), -1, np.int8),
        drop_back=np.full(len(example), -1, np.int8),
    )
    if labels:
        _label(windows, examples, texts)
    return windows


def _check(config: WindowConfig, special: int, limit: int) -> None:
    for name in ("max_seq_length", "doc_stride", "max_query_length"):
        check_whole_number(getattr(config, name), name)
    least = config.max_query_length + special + 1
    if config.max_seq_length < least:
        raise UsageError(
            f"windows of {config.max_seq_length} tokens leave no room for a context beside a question of up"
            f" to {config.max_query_length} and {special} special tokens",
            where="max_seq_length, max_query_length",
            fix=f"use a max_seq_length of {least} or more, or a smaller max_query_length",
        )
    if config.max_seq_length > limit:
        raise UsageError(
            f"windows of {config.max_seq_length} tokens are longer than the model can read ({limit})",
            where="max_seq_length",
            fix=f"use a max_seq_length of {limit} or less",
        )
    room = config.max_seq_length - least + 1
    if config.doc_stride * _READINGS < room:
        raise UsageError(
            f"windows with room for {room} tokens of the context, {config.doc_stride} apart, would read each"
            f" token {room // config.doc_stride} times",
            where="doc_stride",
            fix=f"use a doc_stride of at least {-(-room // _READINGS)}",
        )


def _encode_questions(
    questions: list[str], tokenizer: ReaderTokenizer, limit: int
) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.bool_]]:
    parts, lengths, truncated = [np.zeros(0, np.int32)], [0], []
    for at in range(0, len(questions), _TEXTS_AT_ONCE):
        ids = [e.ids for e in tokenizer.encode_many(questions[at : at + _TEXTS_AT_ONCE])]
        truncated += [len(row) > limit for row in ids]
        ids = [row[:limit] for row in ids]
        lengths += map(len, ids)
        parts.append(np.fromiter(chain.from_iterable(ids), np.int32))
    return np.concatenate(parts), np.cumsum(lengths, dtype=np.int64), np.array(truncated, np.bool_)


def _encode_contexts(
    texts: list[str], encode: Callable[[list[str]], Sequence[TokenizedText | MarkedTokens]]
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32], NDArray[np.int64]]:
    """Token ids, first and last-plus-one characters of all texts, and where each text's tokens begin."""
    none = np.zeros(0, np.int32)
    ids, starts, ends, lengths = [none], [none], [none], [0]
    for at in range(0, len(texts), _TEXTS_AT_ONCE):
        chunk = texts[at : at + _TEXTS_AT_ONCE]
        encodings = encode(chunk)
        counts = [len(e.ids) for e in encodings]
        tokens = sum(counts)
        offsets = np.fromiter(
            chain.from_iterable(chain.from_iterable(e.offsets for e in encodings)), np.int32, 2 * tokens
        )
        start, end = _tidy(chunk, offsets.reshape(tokens, 2), counts)
        ids.append(np.fromiter(chain.from_iterable(e.ids for e in encodings), np.int32, tokens))
        starts.append(start)
        ends.append(end)
        lengths += counts
    return (
        np.concatenate(ids),
        np.concatenate(starts),
        np.concatenate(ends),
        np.cumsum(lengths, dtype=np.int64),
    )


@cache
def _is_text() -> NDArray[np.bool_]:
    """Whether a code point is no white space; the last entry is for all beyond."""
    return np.array([not chr(code).isspace() for code in range(0x3002)])


def _tidy(
    texts: list[str], offsets: NDArray[np.int32], counts: list[int]
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Offsets without white space at the edges, never decreasing along a text."""
    sizes = np.fromiter(map(len, texts), np.int64, len(texts))
    base = np.repeat(np.cumsum(sizes) - sizes, counts)  # the texts are one after the other
    codes = np.frombuffer("".join(texts).encode("utf-32-le", "surrogatepass"), np.uint32)
    text = np.append(_is_text()[np.minimum(codes, 0x3001)], True)
    place = np.arange(len(text))
    # For every place: the nearest character of text from there on, and the end of the nearest one before.
    ahead = np.minimum.accumulate(np.where(text, place, len(text))[::-1])[::-1]
    behind = np.maximum.accumulate(np.concatenate([[0], np.where(text[:-1], place[1:], 0)]))
    start, end = offsets[:, 0] + base, offsets[:, 1] + base
    start = np.maximum.accumulate(np.minimum(ahead[start], end)) if len(start) else start
    end = np.maximum.accumulate(np.maximum(behind[end], start)) if len(end) else end
    return (start - base).astype(np.int32), (end - base).astype(np.int32)


def _label(windows: Windows, examples: Sequence[Example], texts: list[str]) -> None:
    """Fill in the labels of the windows that hold their example's first reference answer whole.

    What to drop at a token's edge is counted in visible characters, as decoding does.
    """
    seen = {number: visible(text) for number, text in enumerate(texts)}
    windows = in_visible_text(windows, seen)
    answered = np.array([bool(e.answers) and not e.is_impossible for e in examples], np.bool_)
    golds = [e.answers[0] for e, has_answer in zip(examples, answered, strict=True) if has_answer]
    context = windows.context[answered]
    sizes = np.fromiter(map(len, texts), np.int64, len(texts)) + 1
    shift = np.cumsum(sizes) - sizes  # lays the contexts on one line, so that one search serves all
    line = np.repeat(shift, np.diff(windows.context_indptr))
    (usable,) = np.nonzero(windows.char_start < windows.char_end)
    token_start, token_end = (
        windows.char_start[usable] + line[usable],
        windows.char_end[usable] + line[usable],
    )
    edges = np.array(
        [seen[n].position([g.start, g.end]) for n, g in zip(context.tolist(), golds, strict=True)], np.int64
    ).reshape(-1, 2)
    start, end = edges[:, 0] + shift[context], edges[:, 1] + shift[context]
    a = np.searchsorted(token_end, start, side="right")  # the first token that ends behind the answer's start
    b = np.searchsorted(token_start, end, side="left") - 1  # the last that begins before the answer's end
    held = a <= b
    number = np.nonzero(answered)[0][held]  # of the example
    a, b, start, end = a[held], b[held], start[held], end[held]
    front = np.maximum(0, start - token_start[a])
    back = np.maximum(0, token_end[b] - end)
    begin = windows.context_indptr[windows.context[number]]

    # From examples to windows: -1 where an example has no label.
    def spread(values: NDArray[Any]) -> NDArray[np.int64]:
        by_example = np.full(len(examples), -1, np.int64)
        by_example[number] = values
        return by_example[windows.example]

    first, last = spread(usable[a] - begin), spread(usable[b] - begin)
    inside = (first >= windows.first_token) & (last < windows.first_token + windows.context_length)
    inside &= first >= 0
    move = windows.context_start.astype(np.int64) - windows.first_token
    windows.start_position[inside] = (first + move)[inside]
    windows.end_position[inside] = (last + move)[inside]
    for target, values in ((windows.drop_front, spread(front)), (windows.drop_back, spread(back))):
        fits = inside & (values < BOUNDARY_CLASSES)
        target[fits] = values[fits]


def in_visible_text(windows: Windows, seen: Mapping[int, VisibleText]) -> Windows:
    """The windows with their offsets counted in the visible texts of their contexts, by context number."""
    cleared = [number for number, text in seen.items() if text.places is not None]
    if not cleared:
        return windows
    start, end = np.array(windows.char_start), np.array(windows.char_end)
    for number in cleared:
        part = slice(int(windows.context_indptr[number]), int(windows.context_indptr[number + 1]))
        start[part], end[part] = seen[number].position(start[part]), seen[number].position(end[part])
    return replace(windows, char_start=start, char_end=end)


def batches(lengths: NDArray[Any], *, token_budget: int) -> Iterator[NDArray[np.intp]]:
    """Indices of windows, batch by batch, longest first; a batch's padded size is at most the budget
    (a window longer than the budget is a batch of its own)."""
    order = np.argsort(-lengths, kind="stable")
    at = 0
    while at < len(order):
        size = max(1, token_budget // max(1, int(lengths[order[at]])))
        yield order[at : at + size]
        at += size


def collate(windows: Windows, indices: NDArray[Any]) -> Batch:
    """The batch of these windows, in this order."""
    t = windows.template
    ids: list[Any] = []
    types: list[Any] = []
    for n in indices:
        example = windows.example[n]
        question = windows.question_ids[
            windows.question_indptr[example] : windows.question_indptr[example + 1]
        ]
        begin = windows.context_indptr[windows.context[example]] + windows.first_token[n]
        context = windows.context_ids[begin : begin + windows.context_length[n]]
        ids += [t.prefix, question, t.middle, context, t.suffix]
        types += [
            t.prefix_types,
            np.full(len(question), t.question_type),
            t.middle_types,
            np.full(len(context), t.context_type),
            t.suffix_types,
        ]
    indptr = np.concatenate([[0], np.cumsum(windows.lengths[indices])]).astype(np.int64)
    return Batch(np.concatenate(ids).astype(np.int64), np.concatenate(types).astype(np.int64), indptr)
