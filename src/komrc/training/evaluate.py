"""Evaluation of trained models, with the files that training writes."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import torch

from komrc import overwriting, storage
from komrc.config import Provenance, ReaderConfig
from komrc.data import EVALUATING, read_data
from komrc.errors import UsageError
from komrc.modeling import SpanReader
from komrc.models import hub
from komrc.tokenization import check_fit, load_tokenizer
from komrc.training import hardware, outputs
from komrc.training.evaluator import Evaluator
from komrc.training.options import TrainingOptions
from komrc.training.signals import StopRequest

logger = logging.getLogger(__name__)


def evaluate_models(
    options: TrainingOptions, models: Sequence[str], *, result_folder: Path
) -> dict[str, float]:
    """Evaluate each model (folder or hub id) on ``options.predict_file``.

    Predictions go to ``output_dir/predictions_<step>.json``, without a step where there is one model;
    all metrics to eval_result_<model>_<length>.txt and eval_results.json. Returns them.

    Raises KomrcError, ModelError among them where a model has no trained span head.
    """
    if not options.predict_file:
        raise UsageError("nothing to evaluate on", where="--predict_file", fix="name a data file")
    output = Path(options.output_dir).expanduser()
    source = options.data_path(options.predict_file)
    data = read_data(source, EVALUATING, skip_invalid=options.skip_invalid)
    steps = [_step(name, several=len(models) > 1) for name in models]
    names = [f"{kind}_{step}.json" for kind in ("predictions", "nbest_predictions") for step in steps]
    overwriting.refuse_inputs([output / name for name in (*names, "eval_results.json")], [source])
    contexts = {example.id: example.context for example in data.examples}
    device = torch.device("cuda" if torch.cuda.is_available() and not options.no_cuda else "cpu")
    precision = hardware.choose_precision(options.precision, device)
    metrics: dict[str, float] = {}
    history = []
    for name, step in zip(models, steps, strict=True):
        folder = hub.resolve(name, revision=options.revision, cache_dir=options.cache_dir)
        model = SpanReader.trained(folder, model_type=options.model_type).to(device)
        source = hub.resolve(options.tokenizer, cache_dir=options.cache_dir) if options.tokenizer else folder
        tokenizer = load_tokenizer(source, do_lower_case=options.do_lower_case or None)
        check_fit(
            tokenizer,
            model.config.to_dict(),
            str(source),
            trained_with=Provenance.load(folder).tokenizer_sha256,
        )
        fitted = options.fitted(min(model.max_positions, tokenizer.model_max_length))
        evaluator = Evaluator(
            data.examples,
            tokenizer,
            outputs.with_fitted(outputs.config_for(fitted), ReaderConfig.load(folder), options),
            precision=precision,
            token_budget=options.eval_token_budget,
            stop=StopRequest(),
        )
        evaluation = evaluator(model)
        outputs.write_predictions(output, evaluation.predictions, contexts, suffix=step)
        logger.info("%s: EM %.2f, F1 %.2f", folder, evaluation.scores["exact_match"], evaluation.scores["f1"])
        metrics |= {f"{key}_{step}" if step else key: value for key, value in evaluation.scores.items()}
        history.append({"step": float(step or 0), **evaluation.scores})
    name = outputs.result_name(options.model or "komrc-small", options.max_seq_length)
    outputs.write_results(result_folder / name, history)
    storage.write_json(output / "eval_results.json", metrics)
    return metrics


def _step(model: str, *, several: bool) -> str:
    """The step in a checkpoint's name, for the names of its files; empty where there is one model."""
    step = Path(model).name.rpartition("-")[2] if several else ""
    return step if step.isdigit() else ""
