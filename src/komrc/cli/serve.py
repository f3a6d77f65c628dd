"""``komrc serve``: answer over HTTP."""

from __future__ import annotations

import argparse
from dataclasses import fields
from typing import Any

from komrc.cli.commands import add_command
from komrc.errors import UsageError, require
from komrc.serving.options import ServeOptions, flag, from_environment, listed

_LIBRARIES = ("fastapi", "uvicorn", "prometheus_client", "fastapi_offline")
_EXAMPLES = """\
examples:
  komrc serve                                    the embedded model on http://127.0.0.1:8888
  komrc serve --model models --port 8000         a folder that training wrote
  KOMRC_API_KEY=secret komrc serve --host 0.0.0.0
  python3 serve.py serve --task question-answering --model models --tokenizer models

Every option can also be given as an environment variable: --max-queue is KOMRC_MAX_QUEUE. The command line
wins. Ctrl-C or SIGTERM ends the server once all accepted requests are answered (exit code 130 or 143).
"""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = add_command(commands, "serve", epilog=_EXAMPLES, more="The page is at /, the API at /docs.")
    for option in fields(ServeOptions):
        _add_option(parser, option.name, option.default, option.metadata)
    old = parser.add_argument_group("options of 2020")
    old.add_argument("--task", choices=["question-answering"], help="there is one task here")
    old.add_argument(
        "--config", metavar="CONFIG", help="a model's config is read from its folder: as --model"
    )
    old.add_argument("--device", type=int, default=-1, metavar="N", help="-1: CPU; 0: the GPU, with torch")
    parser.set_defaults(run=run)


def _add_option(parser: argparse.ArgumentParser, name: str, default: Any, metadata: Any) -> None:
    text = metadata["help"].replace("%", "%%")
    if isinstance(default, bool):
        parser.add_argument(flag(name), action="store_true", default=None, help=text)
        return
    if default not in (None, ()):
        text += f" (default: {default})"
    settings: dict[str, Any] = {"help": text, "metavar": name.rsplit("_", 1)[-1].upper()}
    if metadata["choices"]:
        settings |= {"choices": metadata["choices"], "metavar": None}
    elif isinstance(default, tuple):
        settings |= {"action": "extend", "nargs": "+"}
    elif isinstance(default, (int, float)):
        settings["type"] = type(default)
    elif metadata["kind"]:
        settings["type"] = metadata["kind"]
    parser.add_argument(flag(name), default=None, **settings)


def run(args: argparse.Namespace) -> int:
    """Serve until told to stop."""
    options = _options(args)
    require(*_LIBRARIES, extra="serve", purpose="the server", where="komrc serve")
    from komrc.serving.server import configure_logging, serve

    configure_logging()
    return serve(options)


def _options(args: argparse.Namespace) -> ServeOptions:
    values = from_environment()
    for option in fields(ServeOptions):
        given = getattr(args, option.name)
        if given is not None:
            values[option.name] = listed(",".join(given)) if isinstance(option.default, tuple) else given
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
