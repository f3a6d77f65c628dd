"""The options of every command that reads with a model."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from komrc.types import ENGINES

if TYPE_CHECKING:
    from komrc.reader import Reader


def add_arguments(
    parser: argparse.ArgumentParser, *, more_engines: Sequence[str] = (), more: str = ""
) -> None:
    """--model, --engine, --trim-particles and ``add_model_arguments``; ``more`` is added to the help
    of ``more_engines``."""
    parser.add_argument(
        "--model", metavar="MODEL", help="model folder or hub id (default: the model that KoMRC carries)"
    )
    parser.add_argument(
        "--engine",
        choices=(*ENGINES, *more_engines),
        default="auto",
        metavar="ENGINE",
        help=f"what runs it: {', '.join(ENGINES)} (default: auto, the fastest one here; see komrc doctor)"
        + more,
    )
    parser.add_argument(
        "--trim-particles",
        choices=("kiwi",),
        help="cut particles off the answers, for models that answer in whole words (needs kiwipiepy)",
    )
    parser.add_argument(
        "--always-answer",
        action="store_true",
        help="give the best span even where the model finds no answer in the text",
    )
    add_model_arguments(parser)


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """--model-type and the lengths of windows, for whatever reads a model."""
    parser.add_argument(
        "--model-type",
        metavar="TYPE",
        help="what the model is: kobert, bert, electra, … (default: as in its config.json)",
    )
    parser.add_argument(
        "--max-seq-length",
        type=positive,
        metavar="N",
        help="tokens of a window (default: as trained, and no more than the model can read)",
    )
    parser.add_argument(
        "--doc-stride",
        type=positive,
        metavar="N",
        help="tokens from one window's start to the next's (default: as trained)",
    )


def settings(args: argparse.Namespace) -> dict[str, Any]:
    """The settings that the options name, in place of the model's own."""
    given = {name: getattr(args, name) for name in ("max_seq_length", "doc_stride")}
    lengths = {name: value for name, value in given.items() if value is not None}
    return lengths | ({"version_2_with_negative": False} if getattr(args, "always_answer", False) else {})


def load_reader(args: argparse.Namespace, folder: Path | None = None) -> Reader:
    """The reader that the options name; ``folder`` is the model's, where it is known already."""
    from komrc.reader import Reader

    return Reader.load(
        folder if folder is not None else args.model,
        engine=args.engine,
        trim_particles=args.trim_particles,
        model_type=args.model_type,
        **settings(args),
    )


def index_name(text: str) -> str | Path:
    """The folder of an index, or its URL, for argparse: a Path would change the URL."""
    return text if "://" in text else Path(text)


def positive(text: str) -> int:
    """A whole number of at least 1, for argparse."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, found {value}")
    return value
