"""Decoding against a reference that tries every span, and on real data with perfect logits."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from support.own_tokenizers import EVERYDAY, kobert_files, wordpiece_files

from komrc.config import DecodingConfig, WindowConfig
from komrc.data import load_squad
from komrc.decoding import Candidate, decode
from komrc.engines import Logits
from komrc.errors import UsageError
from komrc.metrics.korquad import best, score
from komrc.text.graphemes import cut_points
from komrc.text.invisible import visible
from komrc.tokenization import PairTemplate, ReaderTokenizer, load_tokenizer
from komrc.types import Example, Span
from komrc.windows import Windows, build_windows

TEMPLATE = PairTemplate((0,), (0,), (0,), (0,), (0,), (0,), 0, 0)


@dataclass(frozen=True)
class Text:
    """A context's tokens and, for each of its windows, first token and length."""

    context: str
    offsets: tuple[tuple[int, int], ...]
    windows: tuple[tuple[int, int], ...]


def table(texts: list[Text]) -> Windows:
    """Windows of one question token each: [CLS] q [SEP] context [SEP]."""
    flat = [(n, first, length) for n, text in enumerate(texts) for first, length in text.windows]
    example, first, length = (np.array(column, np.int32) for column in zip(*flat, strict=True))
    offsets = np.array([pair for text in texts for pair in text.offsets], np.int32).reshape(-1, 2)
    return Windows(
        template=TEMPLATE,
        question_ids=np.zeros(len(texts), np.int32),
        question_indptr=np.arange(len(texts) + 1),
        question_truncated=np.zeros(len(texts), np.bool_),
        context=np.arange(len(texts), dtype=np.int32),
        context_ids=np.zeros(len(offsets), np.int32),
        char_start=offsets[:, 0],
        char_end=offsets[:, 1],
        context_indptr=np.concatenate([[0], np.cumsum([len(text.offsets) for text in texts])]),
        indptr=np.concatenate([[0], np.cumsum(length + 4)]).astype(np.int64),
        example=example,
        first_token=first,
        context_start=np.full(len(flat), 3, np.int32),
        context_length=length,
        start_position=np.zeros(len(flat), np.int32),
        end_position=np.zeros(len(flat), np.int32),
        drop_front=np.full(len(flat), -1, np.int8),
        drop_back=np.full(len(flat), -1, np.int8),
    )


@st.composite
def texts(draw: st.DrawFn, *, shared: bool) -> Text:
    """Tokens in order, some without characters, some (if asked for) on the same characters as others."""
    steps = draw(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3)), min_size=1, max_size=14))
    offsets, at = [], 0
    for gap, size in steps:
        offsets.append((at + gap, at + gap + size))
        at += gap + size
        if shared and size and draw(st.booleans()):
            offsets.append(offsets[-1])
    length = draw(st.integers(1, len(offsets)))
    step = draw(st.integers(1, length))
    windows, first = [], 0
    while True:
        windows.append((first, min(length, len(offsets) - first)))
        if first + length >= len(offsets):
            break
        first += step
    return Text("가" * max(1, at), tuple(offsets), tuple(windows))


def logits_of(windows: Windows, seed: int, *, head: bool) -> Logits:
    rng = np.random.default_rng(seed)
    total = int(windows.indptr[-1])

    def draw(*shape: int) -> NDArray[np.float32]:
        return rng.normal(0, 2, (total, *shape)).astype(np.float32)

    return Logits.of([draw(), draw(), *((draw(8), draw(8)) if head else ())])


def log_softmax(row: NDArray[np.float32]) -> NDArray[np.float64]:
    values = row.astype(np.float64) - row.max()
    return values - np.log(np.exp(values).sum())


@dataclass
class Best:
    logit: float
    energy: float  # at the temperature, over all drops: what the span adds to the sum


def every_span(
    windows: Windows, logits: Logits, number: int, config: DecodingConfig
) -> dict[tuple[int, int], Best]:
    """All spans of an example by their tokens' characters: the plain sum of logits, best of all windows."""
    found: dict[tuple[int, int], Best] = {}
    begin = windows.context_indptr[windows.context[number]]
    for n in np.nonzero(windows.example == number)[0]:
        at = windows.indptr[n] + windows.context_start[n]
        pool = begin + windows.first_token[n]
        for i in range(windows.context_length[n]):
            for j in range(i, min(windows.context_length[n], i + config.max_answer_tokens)):
                edges = [(int(windows.char_start[pool + k]), int(windows.char_end[pool + k])) for k in (i, j)]
                if any(start == end for start, end in edges):
                    continue
                logit = float(logits.start[at + i] + logits.end[at + j])
                region = (edges[0][0], edges[1][1])
                if region not in found or found[region].logit < logit:
                    found[region] = Best(logit, logit / config.temperature)
    return found


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.booleans().flatmap(lambda shared: texts(shared=shared)), min_size=1, max_size=5),
    st.integers(0, 2**32),
    st.integers(1, 6),
    st.integers(1, 40),
    st.sampled_from([1.0, 0.7, 2.5]),
)
def test_equals_trying_every_span(
    given_texts: list[Text], seed: int, answer: int, n_best: int, temperature: float
) -> None:
    windows = table(given_texts)
    logits = logits_of(windows, seed, head=False)
    config = DecodingConfig(n_best=n_best, max_answer_tokens=answer, temperature=temperature)
    ranked = decode(windows, logits, [text.context for text in given_texts], config)
    for number, candidates in enumerate(ranked):
        spans = every_span(windows, logits, number, config)
        expected = sorted(spans, key=lambda region: -spans[region].logit)[:n_best]
        assert [(c.start, c.end) for c in candidates] == expected
        total = sum(np.exp(best.energy) for best in spans.values())
        for candidate in candidates:
            best = spans[candidate.start, candidate.end]
            assert candidate.logit == pytest.approx(best.logit, abs=1e-5)
            assert candidate.logit == pytest.approx(candidate.start_logit + candidate.end_logit, abs=1e-5)
            assert candidate.score == pytest.approx(np.exp(best.energy) / total, rel=1e-4)


@settings(max_examples=100, deadline=None)
@given(st.lists(texts(shared=False), min_size=1, max_size=4), st.integers(0, 2**32), st.integers(1, 5))
def test_boundary_head_equals_trying_every_span_and_drop(
    given_texts: list[Text], seed: int, answer: int
) -> None:
    windows = table(given_texts)
    logits = logits_of(windows, seed, head=True)
    assert logits.boundary is not None
    config = DecodingConfig(n_best=500, max_answer_tokens=answer)
    ranked = decode(windows, logits, [text.context for text in given_texts], config)
    for number, candidates in enumerate(ranked):
        expected: dict[tuple[int, int], float] = {}
        total = sum(np.exp(best.energy) for best in every_span(windows, logits, number, config).values())
        begin = windows.context_indptr[number]
        spans: dict[tuple[int, int], tuple[float, int, int]] = {}  # tokens -> bound, places in the logits
        for n in np.nonzero(windows.example == number)[0]:
            at, first = int(windows.indptr[n] + windows.context_start[n]), int(windows.first_token[n])
            for i in range(windows.context_length[n]):
                for j in range(i, min(windows.context_length[n], i + answer)):
                    size = [
                        int(windows.char_end[begin + first + k] - windows.char_start[begin + first + k])
                        for k in (i, j)
                    ]
                    if 0 in size:
                        continue
                    front = log_softmax(logits.boundary.front[at + i])[: size[0]].max()
                    back = log_softmax(logits.boundary.back[at + j])[: size[1]].max()
                    bound = float(logits.start[at + i] + logits.end[at + j] + front + back)
                    if (first + i, first + j) not in spans or spans[first + i, first + j][0] < bound:
                        spans[first + i, first + j] = (bound, at + i, at + j)
        for (i, j), (_, a, b) in spans.items():
            start, end = int(windows.char_start[begin + i]), int(windows.char_end[begin + j])
            front, back = log_softmax(logits.boundary.front[a]), log_softmax(logits.boundary.back[b])
            value, region = max(
                (front[x] + back[y], (start + x, end - y))
                for x in range(min(8, int(windows.char_end[begin + i]) - start))
                for y in range(min(8, end - int(windows.char_start[begin + j])))
                if start + x < end - y
            )
            expected[region] = float(logits.start[a] + logits.end[b]) + value
        assert {(c.start, c.end) for c in candidates} == set(expected)
        for candidate in candidates:
            logit = expected[candidate.start, candidate.end]
            assert candidate.logit == pytest.approx(logit, abs=1e-4)
            assert candidate.score == pytest.approx(np.exp(logit) / total, rel=1e-3)
        assert [c.logit for c in candidates] == sorted((c.logit for c in candidates), reverse=True)


@given(
    st.lists(texts(shared=True), min_size=1, max_size=4), st.integers(0, 2**32), st.sampled_from([0.5, 3.0])
)
@settings(max_examples=50, deadline=None)
def test_temperature_changes_scores_and_nothing_else(
    given_texts: list[Text], seed: int, temperature: float
) -> None:
    windows = table(given_texts)
    logits = logits_of(windows, seed, head=True)
    contexts = [text.context for text in given_texts]
    plain = decode(windows, logits, contexts, DecodingConfig(n_best=5))
    tempered = decode(windows, logits, contexts, DecodingConfig(n_best=5, temperature=temperature))
    for before, after in zip(plain, tempered, strict=True):
        assert [(c.start, c.end, c.logit) for c in before] == [(c.start, c.end, c.logit) for c in after]
        assert [c.score for c in after] == sorted((c.score for c in after), reverse=True)
        assert sum(c.score for c in after) <= 1 + 1e-5


def one_text(offsets: list[tuple[int, int]], context: str) -> Windows:
    return table([Text(context, tuple(offsets), ((0, len(offsets)),))])


def flat(windows: Windows, best: tuple[int, int], drops: tuple[int, int] | None = None) -> Logits:
    """Logits that leave no doubt: the best tokens (counted in the context) and what to drop."""
    total = int(windows.indptr[-1])
    start, end = np.zeros(total, np.float32), np.zeros(total, np.float32)
    start[3 + best[0]] = end[3 + best[1]] = 20
    if drops is None:
        return Logits(start, end)
    front, back = np.zeros((total, 8), np.float32), np.zeros((total, 8), np.float32)
    front[3 + best[0], drops[0]] = back[3 + best[1], drops[1]] = 20
    return Logits.of([start, end, front, back])


@pytest.mark.parametrize(
    ("context", "offsets", "best", "drops", "answer"),
    [
        ("셰베리는 왔다", [(0, 1), (1, 4), (5, 7)], (0, 1), (0, 1), "셰베리"),
        ("'명의' 책", [(0, 4), (5, 6)], (0, 0), (1, 1), "명의"),
        ("명의 책", [(0, 2), (3, 4)], (0, 0), (1, 1), None),  # dropping both would leave nothing
        ("가\u1100\u1161\u11a8은", [(0, 1), (1, 5)], (1, 1), (0, 2), None),  # a drop inside a jamo syllable
        ("e\u0301t", [(0, 3)], (0, 0), (1, 0), None),
        ("👩‍🔬이다", [(0, 2), (2, 3), (3, 5)], (0, 1), None, "👩‍🔬"),  # the first token ends inside the emoji
        ("👩‍🔬이다", [(0, 2), (2, 3), (3, 5)], (1, 2), None, "👩‍🔬이다"),
        ("☀️날", [(0, 1), (1, 3)], (0, 0), (0, 0), "☀️"),
        ("가\r\n나", [(0, 2), (2, 4)], (0, 0), (0, 0), "가"),  # dropping the CR is the one cut it allows
    ],
)
def test_edges(
    context: str,
    offsets: list[tuple[int, int]],
    best: tuple[int, int],
    drops: tuple[int, int] | None,
    answer: str | None,
) -> None:
    windows = one_text(offsets, context)
    for candidate in decode(windows, flat(windows, best, drops), [context], DecodingConfig())[0]:
        cuts = cut_points(context)
        assert candidate.start < candidate.end
        assert cuts is None or (cuts[candidate.start] and cuts[candidate.end])
    first = decode(windows, flat(windows, best, drops), [context], DecodingConfig())[0][0]
    if answer is not None:
        assert context[first.start : first.end] == answer


@settings(max_examples=100, deadline=None)
@given(st.data(), st.integers(0, 2**32))
def test_no_grapheme_is_ever_cut(data: st.DataObject, seed: int) -> None:
    regex = pytest.importorskip("regex")
    alphabet = [
        "가",
        "나",
        "a",
        " ",
        "\u1112",
        "\u1161",
        "\u11ab",
        "\u0301",
        "\u200d",
        "👩",
        "🔬",
        "🏽",
        "🇰",
        "\ufe0f",
        "\r",
        "\n",
    ]
    context = data.draw(st.text(st.sampled_from(alphabet), min_size=1, max_size=20))
    cuts = sorted(data.draw(st.sets(st.integers(0, len(context)), max_size=8)) | {0, len(context)})
    offsets = list(pairwise(cuts))
    windows = one_text(offsets, context)
    seen = visible(context)
    clusters = [Span(*match.span()) for match in regex.finditer(r"\X", seen.text)]
    starts, ends = {seen.raw(span).start for span in clusters}, {seen.raw(span).end for span in clusters}
    for head in (True, False):
        candidates = decode(windows, logits_of(windows, seed, head=head), [context], DecodingConfig())[0]
        assert bool(candidates) == bool(seen.text)
        for candidate in candidates:
            assert candidate.start < candidate.end
            assert candidate.start in starts and candidate.end in ends
        assert len({(c.start, c.end) for c in candidates}) == len(candidates)


@settings(max_examples=60, deadline=None)
@given(st.data(), st.integers(0, 2**32), st.booleans())
def test_invisible_characters_change_no_answer(data: st.DataObject, seed: int, head: bool) -> None:
    plain = data.draw(st.text(st.sampled_from("가나a ()\u1112\u1161👩"), min_size=1, max_size=12))
    cuts = sorted(data.draw(st.sets(st.integers(0, len(plain)), max_size=6)) | {0, len(plain)})
    holes = [
        data.draw(st.sampled_from(["", "", "\u200b", "\ufeff\x00", "\u200c"])) for _ in range(len(plain) + 1)
    ]
    raw = "".join(hole + character for hole, character in zip(holes, [*plain, ""], strict=True))
    place = [sum(map(len, holes[: i + 1])) + i for i in range(len(plain) + 1)]
    spans = list(pairwise(cuts))
    texts_ = [
        one_text(spans, plain),
        one_text([(place[start], place[end - 1] + 1) for start, end in spans], raw),
    ]
    logits = logits_of(texts_[0], seed, head=head)
    before, after = (
        decode(windows, logits, [text], DecodingConfig())[0]
        for windows, text in zip(texts_, (plain, raw), strict=True)
    )
    assert [(place[c.start], place[c.end - 1] + 1, c.score) for c in before] == [
        (c.start, c.end, c.score) for c in after
    ]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(texts(shared=True), min_size=1, max_size=4), st.integers(0, 2**32), st.booleans(), st.booleans()
)
def test_the_first_candidates_are_the_same_whatever_n_best_is(
    given_texts: list[Text], seed: int, head: bool, distinct: bool
) -> None:
    windows = table(given_texts)
    logits = logits_of(windows, seed, head=head)
    contexts = [text.context for text in given_texts]
    everything = decode(windows, logits, contexts, DecodingConfig(n_best=10_000), distinct=distinct)
    for n_best in (1, 2, 7, 30, 90):
        config = DecodingConfig(n_best=n_best)
        for candidates, all_of_them in zip(
            decode(windows, logits, contexts, config, distinct=distinct), everything, strict=True
        ):
            assert candidates == all_of_them[:n_best]


@settings(max_examples=60, deadline=None)
@given(st.lists(texts(shared=True), min_size=1, max_size=4), st.integers(0, 2**32), st.booleans())
def test_distinct_candidates_are_the_best_that_share_no_character(
    given_texts: list[Text], seed: int, head: bool
) -> None:
    windows = table(given_texts)
    logits = logits_of(windows, seed, head=head)
    contexts = [text.context for text in given_texts]
    everything = decode(windows, logits, contexts, DecodingConfig(n_best=10_000))
    distinct = decode(windows, logits, contexts, DecodingConfig(n_best=5), distinct=True)
    for all_of_them, found in zip(everything, distinct, strict=True):
        expected: list[Candidate] = []
        for candidate in all_of_them:
            if not any(candidate.start < c.end and c.start < candidate.end for c in expected):
                expected.append(candidate)
        assert found == expected[:5]


@pytest.mark.parametrize(
    ("context", "ranked", "answer"),
    [
        ("저서 《성학(聖學)》와", ["성학(聖學)》", "성학"], "성학"),  # another candidate of the place
        ("저서 《성학(聖學)》와", ["성학(聖學)》"], "성학(聖學)"),  # none: the half is dropped
        ("공사 하이킹(Heyking)은", ["하이킹(Heyking", "Heyking"], "Heyking"),
        ("공사 하이킹(Heyking)은", ["하이킹(Heyking"], "하이킹(Heyking)"),  # its partner is right behind it
        ("[민수] 콜 좋아", ["민수] 콜", "콜", "민수"], "민수"),  # what is behind the mark is something else
        ("[민수] 콜 좋아", ["민수] 콜"], "민수"),
        ("그는 “간다 온다”고", ["간다 온다”"], "간다 온다"),
        ("1) 서울 2) 부산", ["1) 서울"], "1) 서울"),  # marks without a partner
        ("Levi's 바지 'x'", ["Levi's"], "Levi's"),
    ],
)
def test_half_a_pair_of_marks_loses(context: str, ranked: list[str], answer: str) -> None:
    characters = [(i, i + 1) for i in range(len(context))]
    windows = one_text(characters, context)
    start, end = (np.full(int(windows.indptr[-1]), -100, np.float32) for _ in range(2))
    for rank, text in enumerate(ranked):
        first = context.index(text)
        start[3 + first] = np.maximum(start[3 + first], 20 - rank)
        end[2 + first + len(text)] = np.maximum(end[2 + first + len(text)], 20 - rank)
    found = decode(windows, Logits(start, end), [context], DecodingConfig())[0]
    assert context[found[0].start : found[0].end] == answer
    assert [c.score for c in found] == sorted((c.score for c in found), reverse=True)
    assert len({(c.start, c.end) for c in found}) == len(found)


@pytest.mark.parametrize("value", ["3", 2.5, True, None, 0, -1])
def test_numbers_of_other_kinds_are_refused(value: Any) -> None:
    for name in ("n_best", "max_answer_tokens"):
        with pytest.raises(UsageError, match=f"{name}: must be"):
            DecodingConfig(**{name: value})


def test_ties_rank_by_place() -> None:
    windows = one_text([(0, 1), (1, 2), (2, 3)], "가나다")
    zeros = np.zeros(int(windows.indptr[-1]), np.float32)
    ranked = decode(windows, Logits(zeros, zeros), ["가나다"], DecodingConfig(n_best=4))[0]
    assert [(c.start, c.end) for c in ranked] == [(0, 1), (0, 2), (0, 3), (1, 2)]
    assert [c.score for c in ranked] == pytest.approx([1 / 6] * 4)


def test_context_without_characters_has_no_candidates() -> None:
    texts_ = [Text("\u200b", ((0, 0),), ((0, 1),)), Text("", (), ((0, 0),)), Text("가", ((0, 1),), ((0, 1),))]
    windows = table(texts_)
    zeros = np.zeros(int(windows.indptr[-1]), np.float32)
    ranked = decode(windows, Logits(zeros, zeros), [text.context for text in texts_], DecodingConfig())
    assert [len(candidates) for candidates in ranked] == [0, 0, 1]
    assert ranked[2] == [Candidate(0, 1, 1.0, 0.0, 0.0, 0.0)]


class TestNoAnswer:
    def ranked(self, null: list[float], threshold: float = 0.0, temperature: float = 1.0) -> list[Candidate]:
        """Two windows of one token, spans of logit 2 and 1, and the null logits."""
        windows = table([Text("가나", ((0, 1), (1, 2)), ((0, 1), (1, 1)))])
        logits = Logits(*(np.full(int(windows.indptr[-1]), -5, np.float32) for _ in range(2)))
        logits.start[windows.indptr[:-1]] = null
        logits.end[windows.indptr[:-1]] = 0
        logits.start[windows.indptr[:-1] + 3] = [2, 1]
        logits.end[windows.indptr[:-1] + 3] = 0
        config = DecodingConfig(allow_no_answer=True, null_threshold=threshold, temperature=temperature)
        return decode(windows, logits, ["가나"], config)[0]

    def test_null_is_the_least_of_the_windows(self) -> None:
        ranked = self.ranked([9, 1.5])
        assert [(c.start, c.end) for c in ranked] == [(0, 1), (0, 0), (1, 2)]
        weights = np.exp([2, 1.5, 1])
        assert [c.score for c in ranked] == pytest.approx(weights / weights.sum(), rel=1e-5)

    def test_null_wins_above_the_threshold(self) -> None:
        assert self.ranked([9, 3])[0].end == 0
        assert self.ranked([9, 3], threshold=1.5)[0].end == 1
        assert self.ranked([9, 1.5], threshold=-1)[0].end == 0

    def test_temperature_reaches_the_null(self) -> None:
        weights = np.exp(np.array([2, 1.5, 1]) / 2)
        ranked = self.ranked([9, 1.5], temperature=2.0)
        assert [c.score for c in ranked] == pytest.approx(weights / weights.sum(), rel=1e-5)


def exact_with_perfect_logits(examples: list[Example], tokenizer: ReaderTokenizer) -> tuple[float, float]:
    """Exact match where start and end are certain: with the boundary head's certain cuts, and without it."""
    windows = build_windows(examples, tokenizer, WindowConfig(), labels=True)
    whole = np.nonzero(windows.start_position > 0)[0]
    start = windows.indptr[whole] + windows.start_position[whole]
    end = windows.indptr[whole] + windows.end_position[whole]
    total = int(windows.indptr[-1])
    perfect = Logits.of([np.zeros(shape, np.float32) for shape in (total, total, (total, 8), (total, 8))])
    assert perfect.boundary is not None
    perfect.start[start] = perfect.end[end] = 50
    perfect.boundary.front[start, np.maximum(windows.drop_front[whole], 0)] = 50
    perfect.boundary.back[end, np.maximum(windows.drop_back[whole], 0)] = 50

    def exact(logits: Logits) -> float:
        ranked = decode(windows, logits, [e.context for e in examples], DecodingConfig(n_best=1))
        pairs = zip(examples, ranked, strict=True)
        return score({e.id: e.context[c[0].start : c[0].end] for e, c in pairs}, examples)["exact_match"]

    return exact(perfect), exact(Logits(perfect.start, perfect.end))


def test_perfect_logits_on_the_official_dev_set(shared: Path) -> None:
    """With the boundary head every answer is reached; without it, what the tokens of five models allow."""
    examples = load_squad(shared / "data/korquad/KorQuAD_v1.0_dev.json")
    ceilings = {
        "kobert": 88.8, "bert-multilingual": 84.3, "koelectra-v1": 71.4, "enliple-32k": 96.8,
        "kobigbird": 99.0,
    }  # fmt: skip
    for name, ceiling in ceilings.items():
        tokenizer = load_tokenizer(shared / "tokenizers" / name)
        with_head, without = exact_with_perfect_logits(examples, tokenizer)
        assert with_head >= 99.8, name
        assert without == pytest.approx(ceiling, abs=0.06), name


@pytest.mark.parametrize("kind", ["embedded", "kobert", "wordpiece"])
def test_perfect_logits_on_real_text(kind: str, tmp_path: Path) -> None:
    """With the boundary head every answer is reached; without it, what the tokens allow."""
    folders = {"kobert": kobert_files, "wordpiece": wordpiece_files}
    tokenizer = load_tokenizer(folders[kind](tmp_path) if kind in folders else None)
    examples = [example for example in load_squad(EVERYDAY / "dev.json") if example.answers]
    if kind == "wordpiece":  # WordPiece makes a word of over 100 characters one unknown token
        examples = [e for e in examples if max(map(len, e.context.split())) <= 100]
    assert len(examples) > 800
    with_head, without = exact_with_perfect_logits(examples, tokenizer)
    allowed = []
    for example in examples:
        gold = example.answers[0]
        begin, end = gold.start, gold.start + len(gold.text)
        offsets = [(a, b) for a, b in tokenizer.encode_many([example.context])[0].offsets if a < b]
        first = max(a for a, _ in offsets if a <= begin)
        last = min(b for _, b in offsets if b >= end)
        texts = [answer.text for answer in example.answers]
        allowed.append(best(example.context[first:last], texts)[0])
    assert with_head >= 99.8
    assert without == pytest.approx(100 * np.mean(allowed), abs=0.2)
    assert without < 99
