"""The options of every command that reads with a model."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from komrc.types import ENGINES

if TYPE_CHECKING:
    from komrc.reader import Reader


def add_arguments(
    parser: argparse.ArgumentParser, *, more_engines: Sequence[str] = (), more: str = ""
) -> None:
    """--model, --engine and --trim-particles; ``more`` is what the help says of ``more_engines``."""
    parser.add_argument(
        "--model", metavar="MODEL", help="model folder or hub id (default: the model that KoMRC carries)"
    )
    parser.add_argument(
        "--engine",
        choices=(*ENGINES, *more_engines),
        default="auto",
        metavar="ENGINE",
        help=f"what runs it: {', '.join(ENGINES)} (default: auto, what the folder and the installation have)"
        + more,
    )
    parser.add_argument(
        "--trim-particles",
        choices=("kiwi",),
        help="cut particles off the answers, for models that answer in whole words (needs kiwipiepy)",
    )


def load_reader(args: argparse.Namespace, folder: Path | None = None) -> Reader:
    """The reader that the options name; ``folder`` is the model's, where it is known already."""
    from komrc.reader import Reader

    return Reader.load(
        folder if folder is not None else args.model, engine=args.engine, trim_particles=args.trim_particles
    )


def positive(text: str) -> int:
    """A whole number of at least 1, for argparse."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, found {value}")
    return value
