"""``komrc predict``: answer every question of a data file."""

from __future__ import annotations

import argparse
import hashlib
import sys
from pathlib import Path

from komrc import __version__
from komrc.cli import reader_options

EXAMPLES = """\
examples:
  komrc predict --data KorQuAD_v1.0_dev.json --output predictions.json
  komrc predict --model models --data dev.json --output predictions.json --nbest-output nbest.json
  komrc predict --model models --data questions.jsonl --output answers.jsonl --top-k 3

--data is JSON in the form of KorQuAD (answers are not needed), or JSON Lines with a question a line:
  {"id": "1", "question": "…", "context": "…"}
--output is {"id": "text"}, as the official script reads it, or, with a name that ends in .jsonl, a line for
each question: id, text, start, end, score. JSON Lines in and out need the same memory for any number of
questions.

A run that was cut short leaves OUTPUT.part; the same command goes on where it stopped.
"""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "predict",
        help="answer every question of a data file",
        description="Answer every question of a data file.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", required=True, type=Path, metavar="FILE", help="the questions")
    parser.add_argument("--output", required=True, type=Path, metavar="FILE", help="the answers")
    parser.add_argument(
        "--nbest-output", type=Path, metavar="FILE", help="also write all ranked candidates (.json or .jsonl)"
    )
    parser.add_argument(
        "--top-k",
        type=reader_options.positive,
        default=1,
        metavar="N",
        help="answers to write for each question (default: 1; more need a .jsonl output)",
    )
    reader_options.add_arguments(parser)
    parser.add_argument(
        "--skip-invalid",
        action="store_true",
        help="leave damaged questions of a JSON file out instead of stopping",
    )
    parser.add_argument(
        "--restart", action="store_true", help="start over, without what a run that was cut short left"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Answer the file; says on stderr what was done."""
    from komrc import hub
    from komrc.predicting import open_source, predict_file

    source = open_source(args.data, skip_invalid=args.skip_invalid)
    folder = hub.resolve(args.model)
    reader = reader_options.load_reader(args, folder)
    try:
        done = predict_file(
            reader,
            source,
            args.output,
            nbest_output=args.nbest_output,
            top_k=args.top_k,
            run={
                "model": _state(folder),
                "engine": reader.engine.name,
                "trim_particles": str(args.trim_particles),
                "komrc": __version__,
            },
            restart=args.restart,
        )
    except KeyboardInterrupt:
        print("komrc: the same command goes on where this one stopped", file=sys.stderr)
        raise
    before = f" ({done:,} of them before)" if done else ""
    print(f"{args.output}: {source.total:,} answers{before}, engine {reader.engine.name}", file=sys.stderr)
    return 0


def _state(folder: Path) -> str:
    """A folder's files by name, size and time: changes when the model is trained again."""
    files = sorted(path for path in folder.iterdir() if path.is_file())
    facts = [f"{path.name} {path.stat().st_size} {path.stat().st_mtime_ns}" for path in files]
    return f"{folder.resolve()} {hashlib.sha256(chr(10).join(facts).encode()).hexdigest()[:16]}"
