"""The README.md of a model folder, with the metadata that a hub reads."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from komrc import __version__

METRICS = {"exact_match": "Exact match", "f1": "F1"}
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_USE = """## Use

```python
from komrc import Reader

reader = Reader.load("this/folder")
print(reader.read("질문", "지문")[0].text)
```

`komrc.SpanReaderForQuestionAnswering.from_pretrained` loads it as a model of transformers, with the boundary
head if it has one; `AutoModelForQuestionAnswering.from_pretrained` loads it without.
"""


def for_training(
    *,
    base: str,
    data_sha256: Mapping[str, str],
    boundary_head: bool,
    options: Mapping[str, Any],
    figures: Mapping[str, Any],
    record: Mapping[str, Any],
) -> str:
    """The card of a model that training wrote.

    Args:
        base: the encoder or reader that was trained further: a hub id, or the name of a folder.
        data_sha256: file name -> hash of the training data.
        boundary_head: whether the model cuts answers inside tokens.
        options: training options other than the defaults.
        figures: results of the last evaluation, in percent; empty without one.
        record: further facts about the run, by name.
    """
    scores = {name: float(figures[name]) for name in METRICS if isinstance(figures.get(name), int | float)}
    rows = [f"| {name} | {value:.2f} |" for name, value in scores.items()]
    table = ["| on the predict file | % |", "|---|---|", *rows] if rows else ["Not evaluated."]
    changed = {name: value for name, value in options.items() if value not in (None, "", False, [])}
    body = [
        f"# A Korean extractive reader from {base}",
        "",
        f"Fine-tuned with KoMRC {__version__}. It marks the answer to a question in a Korean text"
        + (", cut at the exact character." if boundary_head else "."),
        "",
        "## Figures",
        "",
        "By the official KorQuAD 1.0 metric, on the model in this folder:",
        "",
        *table,
        "",
        "## Data",
        "",
        *(f"- `{name}` (SHA-256 `{digest}`)" for name, digest in data_sha256.items()),
        "",
        "## Training",
        "",
        *(f"- {name}: {value}" for name, value in record.items()),
        "",
        "Options other than the defaults:",
        "",
        *(f"- {name}: {value}" for name, value in changed.items()),
        "",
        _USE,
    ]
    return _card(body, base=base, scores=scores)


def for_reader() -> str:
    """The card of a reader that was saved and has none."""
    body = [
        "# A Korean extractive reader",
        "",
        f"Saved by KoMRC {__version__}. It marks the answer to a question in a Korean text.",
        "",
        _USE,
    ]
    return _card(body, base=None, scores={})


def _card(body: Sequence[str], *, base: str | None, scores: Mapping[str, float]) -> str:
    """The text of a card: metadata as YAML, then the body.

    Args:
        scores: metric -> percent, for the card's ``model-index``.
    """
    from huggingface_hub import EvalResult, ModelCard, ModelCardData

    results = [
        EvalResult(
            task_type="question-answering",
            task_name="Extractive question answering",
            dataset_type="custom",
            dataset_name="predict file",
            metric_type=name,
            metric_name=METRICS[name],
            metric_value=round(value, 2),
        )
        for name, value in scores.items()
    ]
    data = ModelCardData(
        language="ko",
        library_name="komrc",
        pipeline_tag="question-answering",
        base_model=base if base and _HUB_ID.fullmatch(base) else None,
        model_name=f"komrc reader from {base}" if results else None,
        eval_results=results or None,
    )
    return str(ModelCard(f"---\n{data.to_yaml()}\n---\n\n" + "\n".join(body)))
