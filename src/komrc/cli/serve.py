"""``komrc serve``: answer over HTTP."""

from __future__ import annotations

import argparse
import os

from komrc.cli.commands import Commands, add_command
from komrc.errors import UsageError, require
from komrc.options import add_arguments, collect
from komrc.serving.options import ServeOptions

_LIBRARIES = ("fastapi", "uvicorn", "prometheus_client", "fastapi_offline")
_EXAMPLES = """\
examples:
  komrc serve                                    the embedded model on http://127.0.0.1:8888
  komrc serve --model models --port 8000         a folder that training wrote
  komrc serve --index my.index                   the page also answers from the documents of an index
  KOMRC_API_KEY=secret komrc serve --host 0.0.0.0
  python3 serve.py serve --task question-answering --model models --tokenizer models

Every option can also be given as an environment variable: --max-queue is KOMRC_MAX_QUEUE. The command line
wins. Ctrl-C or SIGTERM ends the server once all accepted requests are answered (exit code 130 or 143).
"""


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(commands, "serve", epilog=_EXAMPLES, more="The page is at /, the API at /docs.")
    add_arguments(parser, ServeOptions)
    old = parser.add_argument_group("options of 2020")
    old.add_argument("--task", choices=["question-answering"], help="there is one task here")
    old.add_argument(
        "--config", metavar="CONFIG", help="a model's config is read from its folder: as --model"
    )
    old.add_argument("--device", type=int, default=-1, metavar="N", help="-1: CPU; 0: the GPU, with torch")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Serve until a signal ends it."""
    options = _options(args)
    require(*_LIBRARIES, extra="serve", purpose="the server", where="komrc serve")
    from komrc.serving.server import configure_logging, serve

    configure_logging()
    return serve(options)


def _options(args: argparse.Namespace) -> ServeOptions:
    values = collect(ServeOptions, vars(args), environment=os.environ)
    if args.config is not None and args.config != values.get("model"):
        raise UsageError(
            "the configuration is read from the model's folder",
            where="--config",
            fix="leave it out, or give the same as --model",
        )
    if args.device >= 0:
        if values.get("engine", "auto") == "auto":
            values["engine"] = "torch"
        if not values["engine"].startswith("torch"):
            raise UsageError("only torch runs on a GPU", where="--device", fix="use --engine torch")
    return ServeOptions(**values)
