"""Answers in whole pages."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from komrc.config import DecodingConfig, WindowConfig
from komrc.data import load_korquad2
from komrc.decoding import decode
from komrc.engines import Logits
from komrc.html import HtmlView
from komrc.html.passages import page_passages
from komrc.html.whole_blocks import from_label, to_label
from komrc.metrics import korquad2
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


def exact_with_perfect_logits(part: str, tokenizer: ReaderTokenizer) -> dict[str, float]:
    """Exact match by kind of answer: labels to windows to answers to HTML."""
    data = json.loads((PAGES / part).read_text(encoding="utf-8"))["data"]
    kinds = {qa["id"]: qa["kind"] for page in data for qa in page["qas"]}
    config = WindowConfig(html_markers=True)
    right: Counter[str] = Counter()
    for page in load_korquad2(PAGES / part):
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


@pytest.mark.parametrize("part", ["train.json", "dev.json", "test.json"])
def test_perfect_logits_of_the_embedded_tokenizer(part: str) -> None:
    scores = exact_with_perfect_logits(part, load_tokenizer(None))
    assert scores["all"] >= 99.5, scores
    assert min(scores.values()) >= 95, scores


def test_perfect_logits_of_every_tokenizer(shared: Path) -> None:
    for name in NAMES:
        scores = exact_with_perfect_logits("test.json", load_tokenizer(shared / "tokenizers" / name))
        assert scores["all"] >= 99.5, (name, scores)
