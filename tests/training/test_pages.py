"""Training on whole pages: which passages, and an exact resume."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from support.resuming import before_batch
from support.tiny_model import tiny_model

from komrc.config import ReaderConfig, WindowConfig
from komrc.data import TRAINING, load_korquad2
from komrc.errors import DataError
from komrc.html.view import MARKERS
from komrc.page_reader import PageReader
from komrc.reader import Reader
from komrc.tokenization import load_tokenizer
from komrc.training import checkpoints
from komrc.training.options import TrainingOptions
from komrc.training.pages import FOUND, RANDOM, page_examples, pages_sha256
from komrc.training.train import train

PAGES = Path(__file__).resolve().parents[2] / "data/pages"
CONFIG = WindowConfig(html_markers=True)


def some_pages(path: Path, count: int, questions: int) -> Path:
    """The first pages of data/pages/dev.json with their first questions."""
    data = json.loads((PAGES / "dev.json").read_text(encoding="utf-8"))["data"][:count]
    for page in data:
        page["qas"] = page["qas"][:questions]
    path.write_text(json.dumps({"version": "", "data": data}, ensure_ascii=False), encoding="utf-8")
    return path


def test_a_question_has_its_passage_and_a_few_others() -> None:
    examples = page_examples(
        PAGES / "dev.json", load_tokenizer(None), CONFIG, needs=TRAINING, skip_invalid=False
    )
    assert len({example.id for example in examples}) == len(examples)
    golds = {e.id: e.answers[0].text for page in load_korquad2(PAGES / "dev.json") for e in page.examples}
    by_question: dict[str, list[bool]] = {}
    whole_blocks = 0
    for example in examples:
        name = example.id.rpartition("#")[0]
        by_question.setdefault(name, []).append(bool(example.answers))
        assert example.is_impossible == (not example.answers)
        for answer in example.answers:
            assert example.context[answer.start : answer.end] == answer.text
            whole_blocks += answer.text in MARKERS.values()
        gold = golds[name]
        if 1 < len(gold) <= 40 and "<" not in gold and "&" not in gold:
            assert (gold in example.context) == bool(example.answers)
    assert all(answered.count(True) == 1 for answered in by_question.values())
    assert all(answered.count(False) <= FOUND + RANDOM for answered in by_question.values())
    assert len(by_question) >= len(golds) - 1  # one section is longer than a passage
    assert whole_blocks > 30
    again = page_examples(
        PAGES / "dev.json", load_tokenizer(None), CONFIG, needs=TRAINING, skip_invalid=False
    )
    assert again == examples


def test_pages_without_a_visible_answer_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "pages.json"
    page = {"title": "가", "url": "", "context": "<p>가</p><script>나</script>"}
    qas = [{"id": "1", "question": "무엇?", "answer": {"text": "나", "answer_start": 16}}]
    path.write_text(json.dumps({"data": [{**page, "qas": qas}]}), encoding="utf-8")
    with pytest.raises(DataError, match="no answer"):
        page_examples(path, load_tokenizer(None), CONFIG, needs=TRAINING, skip_invalid=False)


def test_the_hash_is_that_of_the_files(tmp_path: Path) -> None:
    one, other = some_pages(tmp_path / "a.json", 1, 2), some_pages(tmp_path / "b.json", 2, 2)
    assert pages_sha256(one) == pages_sha256(some_pages(tmp_path / "c.json", 1, 2)) != pages_sha256(other)


@pytest.fixture
def options(tmp_path: Path) -> Callable[..., TrainingOptions]:
    tiny_model(tmp_path / "model")
    data = some_pages(tmp_path / "pages.json", 2, 5)

    def make(output: str, **more: Any) -> TrainingOptions:
        values: dict[str, Any] = {
            "model": str(tmp_path / "model"),
            "train_file": (str(data),),
            "predict_file": str(data),
            "output_dir": str(tmp_path / output),
            "cache_dir": str(tmp_path / "cache"),
            "max_seq_length": 160,
            "max_query_length": 32,
            "version_2_with_negative": True,
            "num_train_epochs": 1,
            "learning_rate": 1e-3,
            "precision": "fp32",
            "particle_labels": False,
            "save_steps": 2,
            "eval_steps": -1,
            "no_cuda": True,
            "report_to": "none",
        }
        return TrainingOptions(**{**values, **more})

    return make


def test_a_killed_and_resumed_run_on_pages_ends_bit_for_bit_like_one_that_was_not(
    options: Callable[..., TrainingOptions], tmp_path: Path
) -> None:
    def die(_state: object, _batch: object, count: int) -> None:
        if count > 3:
            raise RuntimeError("killed")

    whole = train(options("whole"))
    with pytest.raises(RuntimeError, match="killed"):
        train(options("cut"), callbacks=[before_batch(die)])
    resumed = train(options("cut", resume=True))
    assert resumed == whole
    ends = [checkpoints.newest(tmp_path / run) for run in ("whole", "cut")]
    first, second = (load_file(end.folder / "model.safetensors") for end in ends if end)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[key], second[key]) for key in first)

    assert ReaderConfig.load(tmp_path / "cut").windows.html_markers
    reader = PageReader(Reader.load(tmp_path / "cut"))
    (page, _) = load_korquad2(tmp_path / "pages.json")
    for prediction in reader.read(page.context, page.examples):
        answer = prediction.answer
        assert answer.text == page.context[answer.start : answer.end]
