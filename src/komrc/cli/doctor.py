"""``komrc doctor``: what this machine has, what is installed, and which engine reads a model."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from typing import Any

from komrc.cli.commands import Commands, add_command
from komrc.cli.console import print_json
from komrc.errors import EngineError
from komrc.types import ENGINES

_EXAMPLES = """\
examples:
  komrc doctor                                 paste its output into a bug report
  komrc doctor --model my-model                the engine that --engine auto takes for a model, and why
  komrc doctor --json

It names no user, host or folder.

exit codes: 0 the model answers; 2 a wrong option; 4 the model can't be read; 5 it can't be downloaded; 8 a
package is missing, or an engine does not work
"""


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "doctor",
        epilog=_EXAMPLES,
        more="It loads the model and asks it one question.",
    )
    parser.add_argument(
        "--model", metavar="MODEL", help="model folder or hub id (default: the model that KoMRC carries)"
    )
    parser.add_argument(
        "--engine", choices=ENGINES, default="auto", metavar="ENGINE", help="engine to try (default: auto)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print what was found; returns 8 where something does not work."""
    from komrc.diagnosis import diagnose

    report = diagnose(args.model, args.engine)
    if args.json:
        print_json(report)
    else:
        print("\n".join(_lines(report)))
    return EngineError.exit_code if report["problems"] else 0


def _lines(report: Mapping[str, Any]) -> Iterator[str]:
    processor, model, engine = report["processor"], report["model"], report["engine"]
    yield f"KoMRC {report['komrc']}, {report['python']}, {report['system']} {processor['architecture']}"
    yield f"processor   {processor['name']}"
    yield f"            {processor['cores']} cores, {processor['threads']} threads for an engine"
    yield f"            {', '.join(processor['features']) or 'features unknown'}"
    yield "memory      " + ", ".join(f"{size} GiB {what}" for what, size in report["memory_gib"].items())
    yield f"GPU         {'; '.join(report['gpus']) or 'none that nvidia-smi names'}"
    for name, value in report["variables"].items():
        yield f"variable    {name}={value}"

    yield "\ninstalled"
    yield from _wrapped([f"{name} {version}" for name, version in report["packages"].items()])
    yield "\nextras"
    for name, extra in report["extras"].items():
        state = (
            f"missing {', '.join(extra['missing'])}: {extra['install']}" if extra["missing"] else "installed"
        )
        yield f"  {name:<10}{state}"

    yield f"\nmodel       {model['name']}: {model['type']}, {model['layers']} layers, width {model['width']}"
    yield f"            graphs: {', '.join(model['graphs']) or 'none'}"
    yield f"engine      {engine['name']}: {engine['reason']}"
    for other in engine["faster"]:
        steps = "; ".join(other["steps"]) or f"--engine {other['engine']}"
        yield f"            {other['engine']} is {other['times']} times as fast at KoBERT's size: {steps}"
    if report["gpu_advice"]:
        yield f"            {report['gpu_advice']}"
    if not engine["faster"] and not report["gpus"]:
        yield "            no engine was measured as faster on such a processor"
    if "answer" in report["trial"]:
        yield (
            f"trial       loaded in {report['trial']['load_seconds']:.2f} s, "
            f"answered {report['trial']['answer']!r} in {report['trial']['answer_seconds']:.3f} s"
        )
    for problem in report["problems"]:
        yield f"PROBLEM     {problem}"


def _wrapped(words: list[str], width: int = 100) -> Iterator[str]:
    line = " "
    for word in words:
        if len(line) + len(word) > width:
            yield line
            line = " "
        line += f" {word},"
    yield line.rstrip(",")
