"""The files a run leaves: predictions, figures, and a card that says what the model is."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from komrc import __version__, storage
from komrc.config import ReaderSettings
from komrc.reader import Prediction


def nbest(predictions: Sequence[Prediction], contexts: Mapping[str, str]) -> dict[str, list[dict[str, Any]]]:
    """Ranked answers in the form of 2020: text, probability, start_logit, end_logit."""
    return {
        p.id: [
            {
                "text": contexts[p.id][c.start : c.end],
                "probability": c.score,
                "start_logit": c.start_logit,
                "end_logit": c.end_logit,
                "start": c.start,
                "end": c.end,
            }
            for c in p.candidates
        ]
        for p in predictions
    }


def write_predictions(
    folder: Path, predictions: Sequence[Prediction], contexts: Mapping[str, str], *, suffix: str = ""
) -> None:
    """Write predictions_<suffix>.json and nbest_predictions_<suffix>.json. Raises StorageError."""
    best = {p.id: p.answers[0].text if p.answers else "" for p in predictions}
    storage.write_json(folder / f"predictions_{suffix}.json", best, indent=4)
    storage.write_json(folder / f"nbest_predictions_{suffix}.json", nbest(predictions, contexts), indent=4)


def result_name(model: str, max_seq_length: int) -> str:
    """The name of the 2020 scripts' result file."""
    last = [part for part in model.split("/") if part]
    return f"eval_result_{last[-1] if last else 'model'}_{max_seq_length}.txt"


def write_results(path: Path, rounds: Sequence[Mapping[str, float]]) -> None:
    """Write every evaluation of the run, in the form of 2020. Raises StorageError."""
    lines = []
    for figures in rounds:
        lines.append(f"Step: {figures['step']:.0f}")
        lines += [f" {name} = {figures[name]}" for name in sorted(figures) if name != "step"]
    storage.write_text(path, "\n".join(lines) + "\n")


def model_card(
    *,
    base: str,
    settings: ReaderSettings,
    options: Mapping[str, Any],
    figures: Mapping[str, Any],
    record: Mapping[str, Any],
) -> str:
    """README.md for the output folder."""
    rows = [
        f"| {name} | {value:.2f} |"
        for name, value in figures.items()
        if name in ("exact_match", "f1") and isinstance(value, int | float)
    ]
    table = ["| on the predict file | % |", "|---|---|", *rows] if rows else ["Not evaluated."]
    data = [f"- `{name}` (SHA-256 `{digest}`)" for name, digest in settings.data_sha256.items()]
    told = [f"- {name}: {value}" for name, value in options.items() if value not in (None, "", False, [])]
    facts = [f"- {name}: {value}" for name, value in record.items()]
    return "\n".join(
        [
            "---",
            "language: ko",
            "library_name: komrc",
            "pipeline_tag: question-answering",
            "---",
            "",
            f"# A Korean extractive reader from {base}",
            "",
            f"Fine-tuned with KoMRC {__version__}. It marks the answer to a question in a Korean text"
            + (", cut at the exact character." if settings.boundary_head else "."),
            "",
            "## Figures",
            "",
            "By the official KorQuAD 1.0 metric, on the model in this folder:",
            "",
            *table,
            "",
            "## Data",
            "",
            *data,
            "",
            "## Training",
            "",
            *facts,
            "",
            "Options other than the defaults:",
            "",
            *told,
            "",
            "## Use",
            "",
            "```python",
            "from komrc import Reader",
            "",
            'reader = Reader.load("this/folder")',
            'print(reader.read("질문", "지문")[0].text)',
            "```",
            "",
            "`AutoModelForQuestionAnswering.from_pretrained` loads it, too, without the boundary head.",
            "",
        ]
    )


def settings_for(options: Any, **more: Any) -> ReaderSettings:
    """komrc.json's values from the options of the same names."""
    names = {f.name for f in dataclasses.fields(ReaderSettings)} & {
        f.name for f in dataclasses.fields(options)
    }
    taken = {name: getattr(options, name) for name in names}
    if taken.get("null_score_diff_threshold") is None:
        taken["null_score_diff_threshold"] = 0.0
    return ReaderSettings(**{**taken, **more})


def with_fitted(settings: ReaderSettings, saved: ReaderSettings, options: Any) -> ReaderSettings:
    """Settings with what training fitted: the temperature and, unless the user gave one, the threshold."""
    threshold = options.null_score_diff_threshold
    return dataclasses.replace(
        settings,
        temperature=saved.temperature,
        null_score_diff_threshold=saved.null_score_diff_threshold if threshold is None else threshold,
    )
