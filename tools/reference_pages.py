"""Write the parts of the reference pages that come from the code, for ``make docs``.

    python tools/reference_pages.py FOLDER

The pages in ``docs/reference`` include these files: ``cli.md`` (every ``--help`` text),
``training-options.md`` and ``server-options.md`` (tables), ``errors.md`` (classes with exit code and status),
``routes.md`` (from the server's OpenAPI document) and ``api.md`` (one entry for each public name).
"""

from __future__ import annotations

import argparse
import inspect
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, cast

os.environ["COLUMNS"] = "100"  # argparse wraps help texts to the terminal's width

from starlette.testclient import TestClient

import komrc
from komrc import errors
from komrc.cli import build_parser
from komrc.cli.commands import SUMMARIES
from komrc.serving.app import create_app
from komrc.serving.options import ServeOptions

OPTION_TITLES = {"options", "positional arguments"}  # argparse's names for groups without one


def main() -> None:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (folder / name).write_text(text, encoding="utf-8")


def pages() -> dict[str, str]:
    """File name -> Markdown."""
    commands = subcommands(build_parser())
    return {
        "cli.md": help_texts(commands),
        "training-options.md": options_table(commands["train"], "YAML key", lambda name: name),
        "server-options.md": options_table(
            commands["serve"], "variable", lambda name: f"KOMRC_{name.upper()}"
        ),
        "errors.md": errors_table(),
        "routes.md": routes_table(openapi()),
        "api.md": api_entries(komrc.__all__),
    }


def subcommands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """Name -> parser, in the order of the command's own list."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return cast(dict[str, argparse.ArgumentParser], dict(action.choices))
    return {}


def help_texts(commands: dict[str, argparse.ArgumentParser]) -> str:
    parts = []
    for name, parser in commands.items():
        parts.append(f"## komrc {name}\n\n{sentence(SUMMARIES[name])}\n\n{block(parser)}")
        parts += [f"### komrc {name} {sub}\n\n{block(child)}" for sub, child in subcommands(parser).items()]
    return "\n".join(parts)


def block(parser: argparse.ArgumentParser) -> str:
    return f"```text\n{parser.format_help().strip()}\n```\n"


def sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def options_table(parser: argparse.ArgumentParser, title: str, key: Any) -> str:
    """Tables of a command's options, one for each group of its help."""
    lines = []
    for group in parser._action_groups:
        actions = [
            action for action in group._group_actions if action.option_strings and action.dest != "help"
        ]
        if not actions:
            continue
        if group.title not in OPTION_TITLES:
            lines.append(f"\n### {str(group.title).capitalize()}\n")
        lines += ["", f"| option | {title} | meaning |", "|---|---|---|"]
        for action in actions:
            flag = next(flag for flag in action.option_strings if flag.startswith("--"))
            help_text = str(action.help or "") % {**vars(action), "prog": parser.prog}
            lines.append(f"| `{flag}` | `{key(action.dest)}` | {cell(help_text)} |")
    return "\n".join(lines) + "\n"


def cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("*", "\\*").replace("<", "&lt;")


def errors_table() -> str:
    lines = ["| class | exit code | HTTP status | when |", "|---|---|---|---|"]
    for kind in error_classes():
        summary = (inspect.getdoc(kind) or "").partition("\n\n")[0]
        lines.append(f"| `{kind.__name__}` | {kind.exit_code} | {kind.http_status} | {cell(summary)} |")
    return "\n".join(lines) + "\n"


def error_classes() -> Iterator[type[errors.KomrcError]]:
    """KomrcError and its subclasses in the order in which ``komrc.errors`` defines them."""
    for value in vars(errors).values():
        if inspect.isclass(value) and issubclass(value, errors.KomrcError):
            yield value


def openapi() -> dict[str, Any]:
    """The server's description of itself; it needs no model."""

    def load(_: ServeOptions) -> Any:
        raise errors.ModelError("no model is loaded here")

    app = create_app(ServeOptions(), load, on_loaded=lambda _: None)
    with TestClient(app, base_url="http://localhost") as client:
        return cast(dict[str, Any], client.get("/openapi.json").json())


def routes_table(document: dict[str, Any]) -> str:
    lines = ["| method | path | what it does |", "|---|---|---|"]
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            lines.append(f"| `{method.upper()}` | `{path}` | {cell(operation.get('description', ''))} |")
    return "\n".join(lines) + "\n"


def api_entries(names: Iterable[str]) -> str:
    """One mkdocstrings entry for each public name, functions and classes under their import path."""
    return "\n".join(f"::: komrc.{name}\n" for name in names if not name.startswith("__"))


if __name__ == "__main__":
    main()
