"""The files of a run: the model with its card, predictions and metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from komrc import storage
from komrc.config import NAMES, Provenance, ReaderConfig
from komrc.errors import StorageError
from komrc.modeling import SpanReader
from komrc.models.writing import write_model
from komrc.reader import Prediction
from komrc.tokenization import ReaderTokenizer
from komrc.tokenization.saving import save_tokenizer
from komrc.training import distributed
from komrc.training.callbacks import Callback
from komrc.training.evaluator import Evaluation
from komrc.training.state import TrainingState
from komrc.types import Example

STAGED = ".komrc-final"  # the finished model, while its files are moved into place


class EvaluationFiles(Callback):
    """Writes the predictions and the metrics of each evaluation, on rank 0.

    Args:
        folder: of predictions_.json, nbest_predictions_.json and eval_results.json.
        results: the file with all evaluations of the run.
        examples: that are evaluated on.
    """

    def __init__(self, folder: Path, results: Path, examples: Sequence[Example]) -> None:
        self._folder = folder
        self._results = results
        self._contexts = {example.id: example.context for example in examples}

    def on_evaluate(self, state: TrainingState, evaluation: Evaluation) -> None:
        """Write the files. Raises StorageError."""
        distributed.on_rank0(lambda: self._write(state, evaluation))

    def write_final(self, state: TrainingState, step: int, evaluation: Evaluation) -> None:
        """Write the files for the model of ``step``, as the run leaves it. Raises StorageError."""
        metrics = {**evaluation.scores, "step": step, "rounds": state.evaluations()}

        def write() -> None:
            self._write(state, evaluation)
            storage.write_json(self._folder / "eval_results.json", metrics)

        distributed.on_rank0(write)

    def _write(self, state: TrainingState, evaluation: Evaluation) -> None:
        write_predictions(self._folder, evaluation.predictions, self._contexts)
        write_results(self._results, state.evaluations())


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


def write_results(path: Path, history: Sequence[Mapping[str, float]]) -> None:
    """Write every evaluation of a run, in the form of 2020. Raises StorageError."""
    lines = []
    for entry in history:
        lines.append(f"Step: {entry['step']:.0f}")
        lines += [f" {name} = {entry[name]}" for name in sorted(entry) if name != "step"]
    storage.write_text(path, "\n".join(lines) + "\n")


def save_model(
    folder: Path,
    model: SpanReader,
    tokenizer: ReaderTokenizer,
    config: ReaderConfig,
    *,
    data_sha256: dict[str, str],
    card: str | None = None,
) -> None:
    """Write everything ``Reader.load`` needs into an existing folder."""
    provenance = Provenance(
        boundary_head=model.boundary is not None,
        data_sha256=data_sha256,
        tokenizer_sha256=tokenizer.fingerprint,
    )
    write_model(
        folder,
        tokenizer=lambda place: save_tokenizer(tokenizer, place),
        settings=lambda place: config.save(place, provenance),
        weights=model.save,
        card=None if card is None else card.encode(),
    )


def save_final(
    output: Path,
    model: SpanReader,
    tokenizer: ReaderTokenizer,
    config: ReaderConfig,
    *,
    data_sha256: dict[str, str],
    card: str,
) -> None:
    """Write the model into the output folder itself, beside the checkpoints. Raises StorageError.

    All files are complete and on the disk before the first is moved into place; the manifest comes last, so
    an interrupted write fails the manifest check.
    """
    with storage.replacing_folder(output / STAGED) as temporary:
        save_model(temporary, model, tokenizer, config, data_sha256=data_sha256, card=card)
    finish_final(output)


def finish_final(output: Path) -> None:
    """Move staged files into place; a run does this first, for a run that was killed before it could."""
    staged = output / STAGED
    if not staged.is_dir():
        return
    try:
        storage.move_into(staged, output)
    except OSError as error:
        raise StorageError(
            f"the model can't be put in place ({error.strerror or error})",
            where=str(output),
            fix=f"it is complete in {staged.name}; check permissions and run again with --resume",
        ) from error


def config_for(options: Any) -> ReaderConfig:
    """The configuration in the options: their values of the same names; the default for one that is None."""
    given = {name: getattr(options, name, None) for name in NAMES}
    return ReaderConfig.of(**{name: value for name, value in given.items() if value is not None})


def with_fitted(config: ReaderConfig, saved: ReaderConfig, options: Any) -> ReaderConfig:
    """The configuration with what training decided: the temperature, whether pages were read and, unless the
    user gave one, the threshold."""
    fitted: dict[str, Any] = {
        "temperature": saved.decoding.temperature,
        "html_markers": saved.windows.html_markers,
    }
    if options.null_score_diff_threshold is None:
        fitted["null_score_diff_threshold"] = saved.decoding.null_threshold
    return config.changed(**fitted)
