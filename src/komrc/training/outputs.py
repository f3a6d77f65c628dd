"""The files a run leaves: predictions, figures, and a card that says what the model is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from komrc import __version__, storage
from komrc.config import NAMES, ReaderConfig
from komrc.reader import Prediction


def nbest(predictions: Sequence[Prediction], contexts: Mapping[str, str]) -> dict[str, list[dict[str, Any]]]:
    """Ranked answers in the form of 2020: text, probability, start_logit, end_logit."""
    return {p.id: [candidate.to_dict(contexts[p.id]) for candidate in p.candidates] for p in predictions}


def write_predictions(
    folder: Path, predictions: Sequence[Prediction], contexts: Mapping[str, str], *, suffix: str = ""
) -> None:
    """Write predictions_<suffix>.json and nbest_predictions_<suffix>.json. Raises StorageError."""
    best = {p.id: p.text for p in predictions}
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
    data_sha256: Mapping[str, str],
    boundary_head: bool,
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
    data = [f"- `{name}` (SHA-256 `{digest}`)" for name, digest in data_sha256.items()]
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


def config_for(options: Any) -> ReaderConfig:
    """The configuration in the options: their values of the same names; the default for one that is None."""
    given = {name: getattr(options, name, None) for name in NAMES}
    return ReaderConfig.of(**{name: value for name, value in given.items() if value is not None})


def with_fitted(config: ReaderConfig, saved: ReaderConfig, options: Any) -> ReaderConfig:
    """The configuration with what training fitted: the temperature and, unless the user gave one, the
    threshold."""
    fitted = {"temperature": saved.decoding.temperature}
    if options.null_score_diff_threshold is None:
        fitted["null_score_diff_threshold"] = saved.decoding.null_threshold
    return config.changed(**fitted)
