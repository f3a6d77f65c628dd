"""The README.md of a model folder, with the metadata that a hub reads."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from komrc import __version__

_METRICS = {"exact_match": "Exact match", "f1": "F1"}
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
USE = """## Use

```python
from komrc import Reader

reader = Reader.load("this/folder")
print(reader.read("질문", "지문")[0].text)
```

`komrc.SpanReaderForQuestionAnswering.from_pretrained` loads it as a model of transformers, with the boundary
head if it has one; `AutoModelForQuestionAnswering.from_pretrained` loads it without.
"""


def model_card(body: Sequence[str], *, base: str | None, metrics: Mapping[str, float]) -> str:
    """The text of a card: metadata as YAML, then the lines of ``body``.

    Args:
        base: what the model was trained from; a hub id becomes ``base_model``.
        metrics: scores in percent; exact_match and f1 become the card's ``model-index``.
    """
    from huggingface_hub import EvalResult, ModelCard, ModelCardData

    results = [
        EvalResult(
            task_type="question-answering",
            task_name="Extractive question answering",
            dataset_type="custom",
            dataset_name="predict file",
            metric_type=name,
            metric_name=_METRICS[name],
            metric_value=round(metrics[name], 2),
        )
        for name in _METRICS
        if name in metrics
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


def for_reader() -> str:
    """The card of a reader that was saved and has none."""
    body = [
        "# A Korean extractive reader",
        "",
        f"Saved by KoMRC {__version__}. It marks the answer to a question in a Korean text.",
        "",
        USE,
    ]
    return model_card(body, base=None, metrics={})
