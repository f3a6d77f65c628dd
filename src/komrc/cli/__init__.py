"""The command line: parse, call one function. One module a command, each with ``add_parser`` and ``run``.

Data goes to stdout, progress and logs to stderr.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Sequence
from importlib import import_module

from komrc import __version__
from komrc.cli import console
from komrc.cli.commands import SUMMARIES, Parser
from komrc.errors import KomrcError, MissingPackageError, StorageError

EXIT_CODES = """exit codes: 0 done, 2 usage or input, 3 data, 4 model, 5 download, 6 storage, 7 training,
8 engine, 1 anything else, 130 after Ctrl-C, 143 after SIGTERM,
129 after SIGHUP"""


def build_parser(names: Sequence[str] = tuple(SUMMARIES)) -> Parser:
    """The parser with the named commands' own parsers below it."""
    listing = "\n".join(f"  {name:<10}{what}" for name, what in SUMMARIES.items())
    parser = Parser(
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
    with console.prepared():
        try:
            code = _run(arguments)
            sys.stdout.flush()  # a full disk must show here, not when the interpreter ends
        except KomrcError as error:
            return _fail(str(error), error.exit_code)
        except KeyboardInterrupt as error:
            print("komrc: stopped", file=sys.stderr)
            return getattr(error, "exit_code", 130)
        except BrokenPipeError:  # the reader of our output went away, as in `komrc … | head`
            _drop_output()
            return 0
        except OSError as error:  # most of all standard output on a full disk
            _drop_output()
            place = f"{error.filename}: " if error.filename else ""
            return _fail(f"{place}{error.strerror or error}", StorageError.exit_code)
        except ImportError as error:
            fix = "Install KoMRC again, in a new environment"
            return _fail(f"a package can't be loaded ({error}). {fix}", MissingPackageError.exit_code)
        return code


def _run(arguments: list[str]) -> int:
    # Only the command that was named is imported: `komrc ask` must not wait for the others.
    named = [arguments[0]] if arguments and arguments[0] in SUMMARIES else list(SUMMARIES)
    args = build_parser(named).parse_args(arguments)
    code: int = args.run(args)
    return code


def _fail(message: str, code: int) -> int:
    print(f"komrc: error: {message}", file=sys.stderr)
    return code


def _drop_output() -> None:
    """What is still in the buffer can't be written; without this the interpreter tries again at its end."""
    with contextlib.suppress(OSError):  # it has no descriptor where another program replaced it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
