"""What a run writes into its model card, the README.md of the trained model."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from komrc import __version__
from komrc import model_card as card
from komrc.training.options import TrainingOptions
from komrc.training.resume import RESUME_MAY_CHANGE

# These concern the machine, not the model, so the model card leaves them out; data are named by their hashes.
_NOT_IN_CARD = frozenset({*RESUME_MAY_CHANGE, "model", "teacher", "config_name", "tokenizer"})


def model_card(
    options: TrainingOptions,
    *,
    data_sha256: Mapping[str, str],
    boundary_head: bool,
    metrics: Mapping[str, float],
    run_info: Mapping[str, Any],
) -> str:
    """README.md for the output folder.

    Args:
        options: of the run; those that differ from their defaults are listed.
        data_sha256: file name -> hash of the training data.
        boundary_head: whether the model cuts answers inside tokens.
        metrics: of the model; empty where it was not evaluated.
        run_info: further facts about the run, one a line.
    """
    rows = [f"| {name} | {value:.2f} |" for name, value in metrics.items() if name in ("exact_match", "f1")]
    table = ["| on the predict file | % |", "|---|---|", *rows] if rows else ["Not evaluated."]
    data = [f"- `{name}` (SHA-256 `{digest}`)" for name, digest in data_sha256.items()]
    changed = [f"- {name}: {value}" for name, value in _changed(options).items()]
    facts = [f"- {name}: {value}" for name, value in run_info.items()]
    base = _base_name(options.model)
    return card.model_card(
        [
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
            *data,
            "",
            "## Training",
            "",
            *facts,
            "",
            "Options other than the defaults:",
            "",
            *changed,
            "",
            card.USE,
        ],
        base=base,
        metrics=metrics,
    )


def _base_name(model: str | None) -> str:
    """What the model was trained from, without local paths."""
    if model is None:
        return "the embedded KoMRC reader"
    folder = Path(model).expanduser()
    return folder.resolve().name if folder.is_dir() else model


def _changed(options: TrainingOptions) -> dict[str, Any]:
    """The options that differ from their defaults and concern the model."""
    values = {
        field.name: getattr(options, field.name)
        for field in dataclasses.fields(options)
        if getattr(options, field.name) != field.default and field.name not in _NOT_IN_CARD
    }
    return {name: value for name, value in values.items() if value not in (None, "", False, [])}
