"""``komrc evaluate``: score predictions."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path

from komrc import evaluation
from komrc.cli import reader_options
from komrc.cli.commands import Commands, add_command
from komrc.data import EVALUATING, SCORING, read_data
from komrc.errors import UsageError
from komrc.metrics import korquad2
from komrc.types import ENGINES

EXAMPLES = """\
examples:
  komrc evaluate KorQuAD_v1.0_dev.json predictions_.json
  komrc evaluate KorQuAD_v1.0_dev.json predictions_.json --trim-particles kiwi
  komrc evaluate KorQuAD_v1.0_dev.json --model models
  komrc evaluate klue-mrc-v1.1_dev.json predictions_.json --metric klue
  komrc evaluate questions.jsonl answers.jsonl --open
  komrc evaluate dev-v2.0.json predictions_.json --metric squad2 --na-prob-file null_odds.json
  komrc evaluate data/korquad-v2.1/dev predictions_.json --korquad2
  komrc evaluate data/korquad-v2.1/dev --korquad2 --model models/kobert-korquad-v2

The JSON on stdout is that of the official KorQuAD 1.0 script, to the last bit; with --korquad2 that of
the KorQuAD 2.0 script, with Beautiful Soup and lxml. With --trim-particles
there are two lines: the scores of the predictions as they are, then trimmed.
A question without a prediction scores 0; the first ones are named on stderr, all are counted.
--open is for answers from an index: it adds recall@1, @5, @10 and the mean reciprocal rank (mrr) of the
passages that `komrc predict --index` wrote. A passage is right if it has a reference answer and, if the
question has a context, is a part of that context. DATA needs no contexts.

Neither offsets nor titles are checked: every question that the official script scores is scored.
"""
_NAMED = 20  # questions without a prediction


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(commands, "evaluate", epilog=EXAMPLES, more="The scores are JSON on stdout.")
    parser.add_argument(
        "data",
        metavar="DATA",
        type=Path,
        help="questions with reference answers (.json, .jsonl, .csv, .tsv, .parquet); "
        "with --korquad2 also a folder or a ZIP file",
    )
    parser.add_argument(
        "predictions",
        metavar="PREDICTIONS",
        type=Path,
        nargs="?",
        help='JSON object {"question id": "answer"}, .jsonl or folder of shards, as `komrc predict` writes',
    )
    parser.add_argument(
        "--model", metavar="MODEL", help="instead of PREDICTIONS: a model folder or hub id that answers first"
    )
    parser.add_argument(
        "--engine",
        choices=ENGINES,
        default="auto",
        help="what runs --model (default: auto, the fastest one here; see komrc doctor)",
    )
    reader_options.add_model_arguments(parser)
    parser.add_argument(
        "--metric",
        choices=("korquad", "korquad2", "klue", "squad2"),
        default="korquad",
        help="korquad: EM and F1 over characters (default); korquad2: the same for pages in HTML; "
        "klue: EM and ROUGE-W; squad2: EM and F1 over words, with and without answer",
    )
    parser.add_argument(
        "--korquad2",
        dest="metric",
        action="store_const",
        const="korquad2",
        help="the same as --metric korquad2: DATA has the layout of KorQuAD 2.0 or 2.1",
    )
    parser.add_argument(
        "--open",
        action="store_true",
        help="also score the passages that were found: for answers from an index",
    )
    parser.add_argument(
        "--trim-particles",
        choices=("kiwi",),
        help="also score the predictions without the particles at their ends (needs kiwipiepy)",
    )
    parser.add_argument(
        "--na-prob-file",
        type=Path,
        metavar="FILE",
        help='with --metric squad2: JSON object {"question id": no-answer score}, for the best threshold',
    )
    parser.add_argument(
        "--na-prob-thresh",
        type=float,
        default=1.0,
        metavar="X",
        help="with --na-prob-file: a score above this counts as no answer (default 1.0)",
    )
    parser.add_argument(
        "--skip-invalid", action="store_true", help="leave damaged questions out instead of stopping"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the scores as JSON, a line for each form of the answers."""
    if (args.predictions is None) == (args.model is None):
        raise UsageError("give either PREDICTIONS or --model", where="komrc evaluate")
    if args.open:
        _check_open(args)
    if args.na_prob_file is not None and args.metric != "squad2":
        raise UsageError(
            f"no-answer scores mean nothing to the metric {args.metric}",
            where="--na-prob-file",
            fix="add --metric squad2, or leave the option out",
        )
    if args.metric == "korquad2":
        return _run_korquad2(args)
    needs = SCORING if args.model is None else EVALUATING
    examples = read_data(args.data, needs, skip_invalid=args.skip_invalid).examples
    if args.model is not None:
        predictions = evaluation.predict(
            examples,
            args.model,
            args.engine,
            model_type=args.model_type,
            settings=reader_options.settings(args),
        )
    else:
        predictions = evaluation.load_predictions(args.predictions)
        evaluation.require_common_ids(
            (example.id for example in examples), predictions, data=args.data, where=args.predictions
        )
    no_answer = evaluation.load_no_answer_scores(args.na_prob_file) if args.na_prob_file else None
    _name_missing(evaluation.missing(examples, predictions))

    if args.open:
        passages = evaluation.load_passages(args.predictions)
        print(json.dumps(evaluation.evaluate_open(examples, predictions, passages)))
        return 0

    def show(answers: Mapping[str, str]) -> None:
        scores = evaluation.evaluate(
            examples, answers, args.metric, no_answer_scores=no_answer, threshold=args.na_prob_thresh
        )
        print(json.dumps(scores), flush=True)

    show(predictions)
    if args.trim_particles:
        show(evaluation.trim_predictions(examples, predictions))
    return 0


def _run_korquad2(args: argparse.Namespace) -> int:
    """Score predictions on pages, which are read in a stream."""
    if args.trim_particles is not None:
        raise UsageError("does not work with --korquad2 yet", where="--trim-particles", fix="leave it out")
    if args.model is not None:
        predictions, found = evaluation.predict_pages(
            args.data,
            args.model,
            args.engine,
            model_type=args.model_type,
            settings=reader_options.settings(args),
            skip_invalid=args.skip_invalid,
        )
        print(f"{100 * found:.1f} % of the answers are in the passages that were read", file=sys.stderr)
    else:
        predictions = evaluation.load_predictions(args.predictions)
    missing: list[str] = []
    golds = list(evaluation.korquad2_golds(args.data, skip_invalid=args.skip_invalid))
    evaluation.require_common_ids(
        (name for name, _ in golds), predictions, data=args.data, where=args.predictions
    )
    scores = korquad2.score_golds(predictions, golds, on_missing=missing.append)
    _name_missing(missing)
    print(json.dumps(scores), flush=True)
    return 0


def _name_missing(missing: list[str]) -> None:
    for name in missing[:_NAMED]:
        print(f"Unanswered question {name} will receive score 0.", file=sys.stderr)
    if len(missing) > _NAMED:
        print(f"… and {len(missing) - _NAMED:,} more: {len(missing):,} in all.", file=sys.stderr)


def _check_open(args: argparse.Namespace) -> None:
    """Raises UsageError for an option that --open has no use for."""
    others = {
        "--model": args.model,
        "--trim-particles": args.trim_particles,
        "--metric": args.metric if args.metric != "korquad" else None,
    }
    for option, value in others.items():
        if value is not None:
            raise UsageError(
                "can't be used with --open, which scores what `komrc predict --index` wrote",
                where=option,
                fix="leave it out",
            )
