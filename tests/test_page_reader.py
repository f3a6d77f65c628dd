"""Answers in whole pages."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from komrc.config import DecodingConfig, ReaderConfig, WindowConfig
from komrc.data import load_korquad2
from komrc.decoding import decode
from komrc.engines import Batch, Logits
from komrc.errors import UsageError
from komrc.html import HtmlView
from komrc.html.marker_tokens import marker_ids
from komrc.html.passages import page_passages
from komrc.html.view import MARKERS
from komrc.html.whole_blocks import from_label, to_label
from komrc.metrics import korquad2
from komrc.page_reader import PageReader
from komrc.reader import Reader
from komrc.tokenization import ReaderTokenizer, load_tokenizer
from komrc.types import Example, Gold
from komrc.windows import Windows, build_windows

PAGES = Path(__file__).resolve().parents[1] / "data/pages"
NAMES = ["bert-multilingual", "enliple-32k", "kobert", "kobigbird", "koelectra-v1"]


def perfect(windows: Windows) -> Logits:
    """Logits that are certain of the labels."""
    whole = np.nonzero(windows.start_position > 0)[0]
    start = windows.indptr[whole] + windows.start_position[whole]
    end = windows.indptr[whole] + windows.end_position[whole]
    total = int(windows.indptr[-1])
    logits = Logits.of([np.zeros(shape, np.float32) for shape in (total, total, (total, 8), (total, 8))])
    assert logits.boundary is not None
    logits.start[start] = logits.end[end] = 50
    logits.boundary.front[start, np.maximum(windows.drop_front[whole], 0)] = 50
    logits.boundary.back[end, np.maximum(windows.drop_back[whole], 0)] = 50
    return logits


def exact_with_perfect_logits(parts: Sequence[str], tokenizer: ReaderTokenizer) -> dict[str, float]:
    """Exact match by kind of answer: labels to windows to answers to HTML."""
    data = [page for part in parts for page in json.loads((PAGES / part).read_text(encoding="utf-8"))["data"]]
    kinds = {qa["id"]: qa["kind"] for page in data for qa in page["qas"]}
    config = WindowConfig(html_markers=True)
    right: Counter[str] = Counter()
    for page in load_korquad2([PAGES / part for part in parts]):
        view = HtmlView(page.context)
        passages = page_passages(view, tokenizer, config)
        examples, golds, places = [], [], []
        for example in page.examples:
            label = to_label(view, example.answers[0].start, example.answers[0].end)
            if label is None:
                continue
            for passage in passages:
                if passage.holds(*label):
                    begin = len(passage.prefix) - passage.start
                    gold = Gold(view.text[slice(*label)], label[0] + begin)
                    examples.append(Example(example.id, example.question, passage.context, (gold,)))
                    golds.append(example.answers[0].text)
                    places.append(passage)
                    break
        windows = build_windows(examples, tokenizer, config, labels=True)
        contexts = [example.context for example in examples]
        decoded = decode(windows, perfect(windows), contexts, DecodingConfig(n_best=1, max_answer_tokens=40))
        for example, gold_html, passage, (best, *_) in zip(examples, golds, places, decoded, strict=True):
            span = passage.to_view(best.start, best.end)
            assert span is not None
            html = page.context[slice(*from_label(view, *span))]
            right[kinds[example.id]] += korquad2.exact_match(html, gold_html)
    total = Counter(kinds.values())
    scores = {kind: 100 * right[kind] / count for kind, count in total.items()}
    return scores | {"all": 100 * right.total() / total.total()}


def test_perfect_logits_of_the_embedded_tokenizer() -> None:
    scores = exact_with_perfect_logits(["train.json", "dev.json", "test.json"], load_tokenizer(None))
    assert scores["all"] >= 99.5, scores
    assert min(scores.values()) >= 97, scores


def test_perfect_logits_of_every_tokenizer(shared: Path) -> None:
    for name in NAMES:
        scores = exact_with_perfect_logits(["test.json"], load_tokenizer(shared / "tokenizers" / name))
        assert scores["all"] >= 99.5, (name, scores)


# --- the reader --------------------------------------------------------------------------------------------

FILLER = "".join(f"<h2>{n}장</h2><p>{'아무 상관 없는 문장이다. ' * 40}</p>" for n in range(12))
RIVER = (
    f"<h1>한강</h1>{FILLER}<h2>발원지와 지류</h2><p>발원지는 <b>검룡소</b>이다.</p>"
    f"<table><tr><th>지류<td>북한강<tr><th>길이<td>494&nbsp;km</table>{FILLER}"
)
QUESTION = "발원지와 지류를 알려 줘"


class Certain:
    """An engine that is certain of a text, or of a marker, wherever it is."""

    name = "certain"

    def __init__(self, tokenizer: ReaderTokenizer, text: str) -> None:
        rows = marker_ids(tokenizer)
        encoding = tokenizer.encode_many([text])[0]
        shown = [n for n, (start, end) in zip(encoding.ids, encoding.offsets, strict=True) if start < end]
        self.ids = [rows[text]] if text in rows else shown
        self.windows = 0

    def run(self, batch: Batch) -> Logits:
        ids = batch.input_ids
        self.windows += len(batch.indptr) - 1
        logits = Logits(np.zeros(len(ids), np.float32), np.zeros(len(ids), np.float32))
        begins = np.ones(len(ids) - len(self.ids) + 1, np.bool_)
        for place, token in enumerate(self.ids):
            begins &= ids[place : place + len(begins)] == token
        (first,) = np.nonzero(begins)
        logits.start[first] = logits.end[first + len(self.ids) - 1] = 40
        return logits


def page_reader(text: str, *, html_markers: bool = True, **more: Any) -> PageReader:
    tokenizer = load_tokenizer(None)
    config = ReaderConfig.of(html_markers=html_markers)
    return PageReader(Reader(tokenizer, Certain(tokenizer, text), config), **more)


@pytest.mark.parametrize(
    ("found", "answer", "plain"),
    [
        ("검룡소", "검룡소", "검룡소"),
        ("494\xa0km", "494&nbsp;km", "494\xa0km"),
        (MARKERS["table"], RIVER[RIVER.index("<table>") : RIVER.index("</table>") + 8], None),
        (MARKERS["row"], "<tr><th>지류<td>북한강", "|지류|북한강"),
    ],
)
def test_an_answer_is_a_piece_of_the_html(found: str, answer: str, plain: str | None) -> None:
    (prediction,) = page_reader(found, passages=1).read(RIVER, [Example("1", QUESTION, "")])
    best = prediction.answer
    assert best.text == answer == RIVER[best.start : best.end]
    assert plain is None or best.plain_text == plain
    assert 0.3 < best.score <= 1  # there are two rows
    assert prediction.has_read(best.start, best.end)


def test_only_the_passages_that_share_the_most_with_the_question_are_read() -> None:
    few, every = page_reader("검룡소", passages=2), page_reader("검룡소", exhaustive=True)
    (prediction,) = few.read(RIVER, [Example("1", QUESTION, "")])
    (other,) = every.read(RIVER, [Example("1", QUESTION, "")])
    assert len(prediction.passages) == 2
    assert len(other.passages) > 10
    assert prediction.answer.text == other.answer.text == "검룡소"
    assert "검룡소" in prediction.passages[0].text
    assert not prediction.has_read(RIVER.index("3장"), RIVER.index("3장") + 2)


def test_a_reader_that_was_not_trained_on_pages_reads_no_markers() -> None:
    (prediction,) = page_reader("검룡소", html_markers=False).read(RIVER, [Example("1", QUESTION, "")])
    assert prediction.answer.text == "검룡소"
    assert not any(marker in passage.text for passage in prediction.passages for marker in MARKERS.values())


def test_several_questions_on_a_page() -> None:
    examples = [Example(str(n), question, "") for n, question in enumerate([QUESTION, "길이는?", "3장은?"])]
    predictions = page_reader("검룡소").read(RIVER, examples)
    assert [prediction.id for prediction in predictions] == ["0", "1", "2"]
    alone = [page_reader("검룡소").read(RIVER, [example])[0].answer for example in examples]
    assert [prediction.answer for prediction in predictions] == alone


@pytest.mark.parametrize("html", ["", "<p></p>", "<script>가</script>"])
def test_a_page_without_text_has_no_answer(html: str) -> None:
    (prediction,) = page_reader("검룡소").read(html, [Example("1", QUESTION, "")])
    assert (prediction.answer.text, prediction.answer.start, prediction.answer.end) == ("", 0, 0)


def test_at_least_one_passage_is_read() -> None:
    with pytest.raises(UsageError, match="passages"):
        page_reader("검룡소", passages=0)
