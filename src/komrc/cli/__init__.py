"""The command line: parse, call one function. One module a command, each with ``add_parser`` and ``run``.

Data goes to stdout, progress and logs to stderr.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module

from komrc import __version__
from komrc.errors import KomrcError, StorageError

COMMANDS = {
    "train": "fine-tune an encoder on KorQuAD-format data, with official EM/F1 while it trains",
    "predict": "answer every question of a data file",
    "evaluate": "score predictions as the official KorQuAD 1.0 script does",
    "ask": "answer one question on a text",
    "serve": "answer over HTTP, with a page to try it",
    "export": "write ONNX, fp32 or int8, and check it",
    "data": "check a data file, or download KorQuAD",
    "report": "a page that shows where points are lost",
    "demo": "the whole path on the bundled sample",
}

EXIT_CODES = """exit codes: 0 done, 2 usage or input, 3 data, 4 model, 5 download, 6 storage, 7 training,
8 engine, 1 anything else, 130 after Ctrl-C, 143 after SIGTERM"""


def build_parser(names: Sequence[str] = tuple(COMMANDS)) -> argparse.ArgumentParser:
    """The parser with the named commands' own parsers below it."""
    listing = "\n".join(f"  {name:<10}{what}" for name, what in COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog="komrc",
        usage="komrc [-h] [--version] COMMAND …",
        description="Korean extractive question answering: train, evaluate, serve.",
        epilog=f"commands:\n{listing}\n\nkomrc COMMAND --help shows a command's options and examples.\n\n"
        f"{EXIT_CODES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"komrc {__version__}")
    commands = parser.add_subparsers(
        dest="command", required=True, prog="komrc", metavar="COMMAND", help=argparse.SUPPRESS
    )
    for name in names:
        import_module(f"komrc.cli.{name}").add_parser(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code. Errors go to stderr as one message, never a traceback."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    # Only the command that was named is imported: `komrc ask` must not wait for the others.
    named = [arguments[0]] if arguments and arguments[0] in COMMANDS else list(COMMANDS)
    args = build_parser(named).parse_args(arguments)
    try:
        code: int = args.run(args)
        sys.stdout.flush()  # a full disk must show here, not when the interpreter ends
    except KomrcError as error:
        print(f"komrc: error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("komrc: stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output went away, as in `komrc … | head`
        _drop_output()
        return 0
    except OSError as error:  # most of all standard output on a full disk
        _drop_output()
        place = f"{error.filename}: " if error.filename else ""
        print(f"komrc: error: {place}{error.strerror or error}", file=sys.stderr)
        return StorageError.exit_code
    return code


def _drop_output() -> None:
    """What is still in the buffer can't be written; without this the interpreter tries again at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
