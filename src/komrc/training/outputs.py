"""The files of a run: predictions, n-best lists and results."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from komrc import storage
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
