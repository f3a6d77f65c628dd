"""The command line: parse, call one function. One module a command, each with ``add_parser`` and ``run``.

Data goes to stdout, progress and logs to stderr. Exit codes: 0 done, 2 usage or input, 3 data, 4 model,
5 download, 6 storage, 7 training, 8 engine, 1 anything else, 130 after Ctrl-C, 143 after SIGTERM.
"""

from __future__ import annotations

import argparse
import os
import sys
from importlib import import_module

from komrc import __version__
from komrc.errors import KomrcError

COMMANDS = ("train", "predict", "evaluate", "ask", "serve", "export", "data", "report", "demo")


def build_parser() -> argparse.ArgumentParser:
    """The parser with every command's own parser below it."""
    parser = argparse.ArgumentParser(
        prog="komrc",
        description="Korean extractive question answering: train, evaluate, serve.",
        epilog="komrc COMMAND --help shows a command's options and examples.",
    )
    parser.add_argument("--version", action="version", version=f"komrc {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name in COMMANDS:
        import_module(f"komrc.cli.{name}").add_parser(commands)
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run one command; returns its exit code. Errors go to stderr as one message, never a traceback."""
    args = build_parser().parse_args(argv)
    try:
        code: int = args.run(args)
    except KomrcError as error:
        print(f"komrc: error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("komrc: stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output went away, as in `komrc … | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return code
