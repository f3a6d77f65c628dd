"""``komrc train``: fine-tune an encoder on KorQuAD-format data."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from komrc.cli.commands import Commands, add_command
from komrc.training.options import add_options, build_options, need_packages

_EXAMPLES = """\
examples:
  komrc train --train-file train.json --predict-file dev.json --output-dir model
      trains the embedded reader further; dev.json's EM picks the best checkpoint

  komrc train --model monologg/kobert --model-type kobert --max-seq-length 512 \\
      --train-file KorQuAD_v1.0_train.json --predict-file KorQuAD_v1.0_dev.json --output-dir kobert-korquad
      fine-tunes KoBERT

  komrc train --config recipes/korquad-v1/kobert.yaml --data-dir data --output-dir kobert-korquad
      the same from a file; options on the command line win

  komrc train --config recipes/korquad-v1/kobert.yaml --data-dir data --output-dir kobert-korquad --resume
      resumes after Ctrl-C, SIGTERM or a crash; the result is the same bit by bit (CPU, fp32)

Attention dropout is 0 by default (change it with --attention-dropout 0.1): it halves the speed on CPUs.
"""


def add_parser(commands: Commands) -> None:
    """Add the command and its options."""
    parser = add_command(commands, "train", epilog=_EXAMPLES)
    parser.add_argument("--config", type=Path, metavar="FILE.yaml", help="take options from this file")
    add_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Train; returns the exit code."""
    options = build_options(vars(args), config=args.config)
    logging.basicConfig(format="%(message)s")
    logging.getLogger("komrc").setLevel(logging.INFO)
    need_packages()
    from komrc.training.train import train

    return train(options).exit_code
