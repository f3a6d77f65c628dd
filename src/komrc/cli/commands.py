"""The commands and their descriptions, which ``komrc --help`` and ``komrc COMMAND --help`` show."""

from __future__ import annotations

import argparse
import re
from typing import Any, Protocol

SUMMARIES = {
    "train": "fine-tune an encoder on KorQuAD-format data, with official EM and F1 while it trains",
    "predict": "answer every question of a data file",
    "evaluate": "score predictions as the official KorQuAD 1.0 script does",
    "ask": "answer one question on a text, or from an index",
    "index": "index documents, so that they can be searched and asked",
    "search": "find the passages of an index that match a question",
    "serve": "answer over HTTP, with a page to try it",
    "export": "write ONNX, fp32 or int8, and check it",
    "data": "check a data file, or download KorQuAD",
    "report": "write a page that shows where points are lost",
    "demo": "show what the tool is for: ask, fine-tune, compare; needs no data",
    "doctor": "show what this machine and installation have, and which engine reads a model",
}

_ARGUMENTS = re.compile(r"unrecognized arguments|required: [A-Z]")  # messages about words, not about options


class Commands(Protocol):
    """What ``ArgumentParser.add_subparsers`` returns; argparse has no public name for its class."""

    def add_parser(self, name: str, /, *args: Any, **kwargs: Any) -> argparse.ArgumentParser:
        """Add a command's parser."""
        ...


class Parser(argparse.ArgumentParser):
    """A parser that reports unknown arguments with the usage line of its command, not that of ``komrc``.

    ``advice``: how to write the arguments of this command, shown if some are missing or too many.
    """

    advice = ""

    def parse_known_args(  # type: ignore[override]
        self, args: list[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """As argparse; arguments that are not known end in an error here."""
        parsed, rest = super().parse_known_args(args, namespace)
        if rest:
            self.error(f"unrecognized arguments: {' '.join(rest)}")
        return parsed, rest

    def error(self, message: str) -> None:  # type: ignore[override]
        """Print usage, message and advice to standard error; exit with code 2."""
        if _ARGUMENTS.search(message):
            message = f"{message}\n{self.advice}".rstrip()
        super().error(message)


def add_command(
    commands: Commands,
    name: str,
    *,
    epilog: str,
    more: str = "",
    advice: str = "",
) -> argparse.ArgumentParser:
    """The parser of a command, its description taken from ``SUMMARIES``; ``more`` follows it."""
    summary = SUMMARIES[name]
    parser = commands.add_parser(
        name,
        description=f"{summary[0].upper()}{summary[1:]}.{' ' if more else ''}{more}",
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    if isinstance(parser, Parser):
        parser.advice = advice
    return parser
