"""``komrc report``: a page that shows where points are lost."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path

from komrc import evaluation, overwriting, storage
from komrc.cli.commands import Commands, add_command
from komrc.cli.console import print_json
from komrc.config import ReaderConfig
from komrc.data import REPORTING, read_data
from komrc.errors import UsageError, require
from komrc.models import checks

EXAMPLES = """\
examples:
  komrc report KorQuAD_v1.0_dev.json models/predictions_.json --output report.html
  komrc report KorQuAD_v1.0_dev.json models/predictions_.json --nbest models/nbest_predictions_.json \\
      --model models --output report.html --json report.json
  komrc report KorQuAD_v1.0_dev.json old.json --compare new.json --output difference.html

The page is one file in Korean and English. It needs no network. --json writes the same numbers.
"""


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "report",
        epilog=EXAMPLES,
        more="It shows scores by kind of question, kinds of errors, reliability of scores, and a second run.",
    )
    parser.add_argument("data", metavar="DATA", type=Path, help="questions with reference answers")
    parser.add_argument(
        "predictions",
        metavar="PREDICTIONS",
        type=Path,
        help='JSON object {"question id": "answer"}, .jsonl, or a folder of shards',
    )
    parser.add_argument("--output", type=Path, metavar="HTML", help="the page to write")
    parser.add_argument(
        "--json", type=Path, metavar="JSON", help="write the numbers as JSON (- for standard output)"
    )
    parser.add_argument(
        "--nbest",
        type=Path,
        metavar="FILE",
        help="n-best file of the same run: adds the reliability of scores",
    )
    parser.add_argument(
        "--compare", type=Path, metavar="FILE", help="predictions of a second run, to compare with the first"
    )
    parser.add_argument(
        "--model",
        metavar="MODEL",
        help="model folder or hub id that predicted: its tokenizer and window lengths add the best "
        "possible score, answers that tokens can't reach, and answers cut by windows",
    )
    parser.add_argument(
        "--trim-particles",
        choices=("kiwi",),
        help="trim the predictions first; without --compare the page compares them with the untrimmed",
    )
    parser.add_argument(
        "--skip-invalid", action="store_true", help="leave damaged questions out instead of stopping"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Write the page and the figures."""
    _check_outputs(args)
    # Matplotlib and the tokenizers are loaded only if they are needed.
    from komrc.report.analysis import analyse, load_scores

    examples = read_data(args.data, REPORTING, skip_invalid=args.skip_invalid).examples
    predictions: Mapping[str, str] = evaluation.load_predictions(args.predictions)
    evaluation.require_common_ids(
        (example.id for example in examples), predictions, data=args.data, where=args.predictions
    )
    name = f"{args.data.name} · {args.predictions.name}"
    other, other_name = None, None
    if args.compare is not None:
        other, other_name = evaluation.load_predictions(args.compare), args.compare.name
    if args.trim_particles:
        trimmed = evaluation.trim_predictions(examples, predictions)
        if args.compare is None:
            other, other_name = trimmed, f"{args.predictions.name} --trim-particles {args.trim_particles}"
        else:
            predictions, name = trimmed, f"{name} --trim-particles {args.trim_particles}"
            other = evaluation.trim_predictions(examples, other or {})
    tokenizer = None
    config = ReaderConfig()
    if args.model is not None:
        from komrc.models import hub
        from komrc.tokenization import load_tokenizer

        folder = hub.resolve(args.model)
        tokenizer = load_tokenizer(folder)
        config = ReaderConfig.load(folder).fitted(tokenizer.model_max_length, {})
    report = analyse(
        examples,
        predictions,
        name=name,
        scores=load_scores(args.nbest) if args.nbest else None,
        other=other,
        other_name=other_name,
        tokenizer=tokenizer,
        config=config,
    )
    for warning in report.unreachable.warnings():
        print(f"warning: {warning}", file=sys.stderr)
    if args.json == Path("-"):
        print_json(report.to_json())
    elif args.json is not None:
        storage.write_json(args.json, report.to_json())
    if args.output is not None:
        from komrc.report.page import render

        storage.write_text(args.output, render(report))
        print(f"wrote {args.output}", file=sys.stderr)
    return 0


def _check_outputs(args: argparse.Namespace) -> None:
    """Raises UsageError where there is no output, or where one is an input; MissingPackageError."""
    if args.output is None and args.json is None:
        raise UsageError("there is nothing to write", fix="give --output report.html or --json report.json")
    if args.output is not None:
        require(
            "matplotlib",
            extra="report",
            purpose="the page",
            where="--output",
            instead="give --json alone",
        )
    outputs = [path for path in (args.output, args.json) if path is not None and path != Path("-")]
    if args.output == Path("-"):
        raise UsageError("the page is a file", where="--output", fix="give a name such as report.html")
    if len(outputs) == 2:
        overwriting.refuse_inputs(outputs[:1], outputs[1:])
    for source in filter(None, (args.data, args.predictions, args.nbest, args.compare)):
        overwriting.refuse_inputs(outputs, overwriting.files_below(source))
    overwriting.refuse_inputs(outputs, checks.inputs(args.model) if args.model else [])
