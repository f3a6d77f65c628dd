"""``komrc export``: a model to ONNX."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from komrc.cli import reader_options
from komrc.cli.commands import Commands, add_command
from komrc.errors import require

EXAMPLES = """\
examples:
  komrc export --model models --output models-onnx
  komrc export --model models --output models-int8 --quantize int8 --data KorQuAD_v1.0_dev.json
  komrc predict --model models-int8 --engine onnx --data questions.json --output predictions.json

The export is checked before it replaces anything: fp32 logits must be within 1e-4 of torch's, with the same
answers; int8 may lose at most --max-em-drop points of EM against fp32, on --data or on the bundled sample.
The bundled sample has few questions; give a larger file for a reliable figure. The report is JSON on stdout.
"""


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(commands, "export", epilog=EXAMPLES, more="The engines that run ONNX need no torch.")
    parser.add_argument(
        "--model", metavar="MODEL", help="model folder or hub id (default: the embedded model)"
    )
    parser.add_argument(
        "--output", metavar="DIR", type=Path, required=True, help="folder to write or replace"
    )
    reader_options.add_model_arguments(parser)
    parser.add_argument("--quantize", choices=("int8",), help="int8 weights and activations (default: fp32)")
    parser.add_argument(
        "--data", metavar="SAMPLE", type=Path, help="questions to check it on (default: the bundled sample)"
    )
    parser.add_argument(
        "--max-em-drop",
        metavar="X",
        type=float,
        default=0.5,
        help="points of EM that int8 may lose against fp32 (default 0.5)",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Export; returns the exit code."""
    require("torch", "transformers", extra="train", purpose="the export")
    from komrc.exporting import export, report_json

    report = export(
        args.model,
        args.output,
        quantize=args.quantize,
        data=args.data,
        max_em_drop=args.max_em_drop,
        model_type=args.model_type,
        lengths=reader_options.settings(args),
        say=lambda step: print(f"komrc: {step}", file=sys.stderr, flush=True),
    )
    print(report_json(report))
    return 0
