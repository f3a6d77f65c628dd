"""What an export has to show before it counts as done: torch's logits and answers, and no loss of EM."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from komrc.config import ReaderConfig
from komrc.engines import Engine
from komrc.engines.onnx_engine import OnnxEngine
from komrc.engines.torch_engine import TorchEngine
from komrc.errors import ModelError
from komrc.metrics import korquad
from komrc.modeling import SpanReader
from komrc.reader import Reader
from komrc.tokenization import ReaderTokenizer
from komrc.windows import build_windows, collate

if TYPE_CHECKING:
    from komrc.types import Example

TOLERANCE = 1e-4  # largest difference of an fp32 logit from torch's


def compare(
    reader: SpanReader,
    graph: Path,
    examples: Sequence[Example],
    tokenizer: ReaderTokenizer,
    config: ReaderConfig,
) -> float:
    """The largest difference of a logit from torch's. Raises ModelError above the tolerance, or where an
    answer differs."""
    windows = build_windows(examples, tokenizer, config.windows, labels=False)
    engines: tuple[Engine, Engine] = (TorchEngine(reader), OnnxEngine(graph, pad_id=tokenizer.pad_id))
    worst = 0.0
    for begin in range(0, len(windows), 4):  # unsorted: so that there is padding, too
        batch = collate(windows, np.arange(begin, min(begin + 4, len(windows))))
        expected, found = (engine.run(batch).arrays for engine in engines)
        worst = max(worst, *(float(np.abs(a - b).max()) for a, b in zip(expected, found, strict=True)))
    if not worst <= TOLERANCE:  # also where it isn't a number
        raise ModelError(
            f"a logit differs from torch's by {worst:.2g}; at most {TOLERANCE:g} is allowed",
            where=reader.config.model_type,
            fix="use engine torch for this model",
        )
    answers = [
        [
            [(a.start, a.end) for a in prediction.answers]
            for prediction in Reader(tokenizer, engine, config).read_examples(examples)
        ]
        for engine in engines
    ]
    different = sum(a != b for a, b in zip(*answers, strict=True))
    if different:
        raise ModelError(
            f"{different} of {len(examples)} answers differ from torch's",
            where=reader.config.model_type,
            fix="use engine torch for this model",
        )
    return worst


def scores(
    folder: Path, engine: Literal["onnx", "onnx-int8"], examples: Sequence[Example]
) -> dict[str, float]:
    predictions = Reader.load(folder, engine=engine).read_examples(examples, progress=True)
    return korquad.score({p.id: p.text for p in predictions}, examples)


def refuse_loss(scores: dict[str, dict[str, float]], limit: float, questions: int, source: Path) -> None:
    drop = scores["fp32"]["exact_match"] - scores["int8"]["exact_match"]
    if drop > limit:
        raise ModelError(
            f"int8 answers {drop:.2f} points of EM worse than fp32 ({scores['int8']['exact_match']:.2f}"
            f" against {scores['fp32']['exact_match']:.2f} on {questions} questions); {limit:g} are allowed",
            where=str(source),
            fix="check it on more questions with --data, export fp32, or raise --max-em-drop",
        )
