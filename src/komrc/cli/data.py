"""``komrc data lint`` and ``komrc data get``."""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from komrc import overwriting
from komrc.cli.commands import add_command
from komrc.cli.console import print_json
from komrc.datasets import Loaded, scan_squad
from komrc.download import KORQUAD_LICENCE, KORQUAD_URL, KORQUAD_V1, RemoteFile, fetch
from komrc.errors import DataError, Problem
from komrc.statistics import Lengths, Reach, Statistics, describe, reach

FINDINGS = 3  # the exit code of DataError: lint and a command that loads the file agree

_DATA = """\
examples:
  komrc data get korquad-v1
  komrc data lint data/KorQuAD_v1.0_dev.json"""

_LINT = """\
examples:
  komrc data lint data/KorQuAD_v1.0_dev.json
  komrc data lint mine.json --tokenizer monologg/kobert
  komrc data lint mine.json --json | jq '.problems[].path'

exit codes: 0 nothing wrong, 3 findings, 4 the tokenizer can't be loaded"""

_GET = f"""\
Downloads train (60,407 questions) and dev (5,774) from {KORQUAD_URL}
and checks them byte for byte. What was stopped goes on where it stopped. The data's licence is
{KORQUAD_LICENCE}: it may be used and passed on unchanged, with its source named.

examples:
  komrc data get korquad-v1
  komrc data get korquad-v1 --output /data/korquad
  KOMRC_KORQUAD_URL=https://mirror.example/korquad/ komrc data get korquad-v1

exit codes: 0 done, 5 the download failed or did not match, 6 the disk is full or can't be written"""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """``data`` with its own commands."""
    parser = add_command(commands, "data", epilog=_DATA)
    actions = parser.add_subparsers(dest="action", required=True, metavar="lint|get")
    lint = actions.add_parser(
        "lint",
        help="list everything that is wrong with a data file, and its statistics",
        description="Check a KorQuAD 1.0, SQuAD 1.1, SQuAD 2.0 or KLUE-MRC file.",
        epilog=_LINT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    lint.add_argument("file", type=Path, metavar="FILE", help="the data file")
    lint.add_argument(
        "--tokenizer",
        metavar="NAME_OR_FOLDER",
        help="whose tokens the reachable answers are counted with (default: the embedded model's)",
    )
    lint.add_argument("--json", action="store_true", help="print one JSON object")
    lint.set_defaults(run=run_lint)
    get = actions.add_parser(
        "get",
        help="download a data set",
        description="Download a data set.",
        epilog=_GET,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    get.add_argument("name", choices=["korquad-v1"], metavar="korquad-v1", help="the data set")
    get.add_argument("--output", type=Path, default=Path("data"), metavar="FOLDER", help="default: data")
    get.set_defaults(run=run_get)


# --- lint --------------------------------------------------------------------------------------------------


def run_lint(args: argparse.Namespace) -> int:
    """Print findings and statistics; 0 without findings, else 3."""
    loaded: Loaded | None = None
    problems: tuple[Problem, ...]
    try:
        loaded = scan_squad(args.file)
        problems = loaded.problems
    except DataError as error:  # not even JSON: that is the one finding
        problems = (Problem("$", error.what, error.fix or "correct it"),)
    statistics = describe(loaded.examples) if loaded else None
    reached = _reach(loaded, args.tokenizer) if loaded else None
    if args.json:
        print_json(_as_json(args.file, problems, loaded, statistics, reached))
    else:
        _show(args, problems, _rows(args, loaded, statistics, reached) if loaded and statistics else [])
    return FINDINGS if problems else 0


def _reach(loaded: Loaded, tokenizer: str | None) -> Reach | None:
    from komrc.tokenization import load_tokenizer

    return reach(loaded.examples, load_tokenizer(tokenizer))


def _as_json(
    file: Path,
    problems: tuple[Problem, ...],
    loaded: Loaded | None,
    statistics: Statistics | None,
    reached: Reach | None,
) -> dict[str, Any]:
    return {
        "file": str(file),
        "sha256": loaded.sha256 if loaded else None,
        "problems": [asdict(problem) for problem in problems],
        "counts": asdict(loaded.counts) if loaded else None,
        "left_out": list(loaded.left_out) if loaded else None,
        "statistics": asdict(statistics) if statistics else None,
        "reach": asdict(reached) if reached else None,
    }


def _rows(
    args: argparse.Namespace, loaded: Loaded, statistics: Statistics, reached: Reach | None
) -> list[tuple[str, str]]:
    counts = loaded.counts
    rows = [
        ("articles", f"{counts.articles:,}"),
        ("paragraphs", f"{counts.paragraphs:,}"),
        ("questions", f"{counts.questions:,}"),
        ("  usable", f"{counts.kept:,}"),
        ("  left out", f"{counts.left_out:,}"),
        ("  without an answer", f"{statistics.unanswerable:,}"),
        ("answers", f"{counts.answers:,}"),
        ("  on whole words", _share(statistics.whole_words, counts.answers)),
        ("context, characters", _spread(statistics.context)),
        ("question, characters", _spread(statistics.question)),
        ("answer, characters", _spread(statistics.answer)),
    ]
    if counts.unreadable:
        rows.insert(2, ("unreadable entries", f"{counts.unreadable:,}"))
    if reached:
        rows += [
            ("tokenizer", args.tokenizer or "the embedded model's"),
            ("  context, tokens", _spread(reached.context_tokens)),
            ("  answers at token boundaries", _share(reached.exact, reached.answers)),
            ("  best possible EM / F1", f"{reached.em:.1f} / {reached.f1:.1f}"),
        ]
    return [*rows, ("SHA-256", loaded.sha256)]


def _share(part: int, whole: int) -> str:
    return f"{part:,} ({100 * part / whole:.1f} %)" if whole else "0"


def _spread(lengths: Lengths | None) -> str:
    if lengths is None:
        return "none"
    return f"{lengths.shortest:,} to {lengths.longest:,}, mean {lengths.mean:.1f}, median {lengths.median:,}"


def _show(args: argparse.Namespace, problems: tuple[Problem, ...], rows: list[tuple[str, str]]) -> None:
    """Tables on a terminal, lines elsewhere."""
    verdict = f"{len(problems)} problem{'s' if len(problems) > 1 else ''}" if problems else "nothing wrong"
    if not sys.stdout.isatty():
        print(f"{args.file}: {verdict}")
        for problem in problems:
            print(f"  {problem}")
        for name, value in rows:
            print(f"{name}: {value}")
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    if problems:
        findings = Table(
            "where", "id", "what", "what to do", title=f"{args.file}: {verdict}", title_justify="left"
        )
        for problem in problems:
            findings.add_row(
                *(Text(part) for part in (problem.path, problem.id or "", problem.what, problem.fix))
            )
        console.print(findings)
    if rows:
        figures = Table(show_header=False, title=f"{args.file}: {verdict}", title_justify="left")
        for name, value in rows:
            figures.add_row(Text(name), Text(value))
        console.print(figures)


# --- get ---------------------------------------------------------------------------------------------------


def run_get(args: argparse.Namespace) -> int:
    """Download the files, print their paths."""
    overwriting.refuse_file_name(args.output, "--output")
    base_url = os.environ.get("KOMRC_KORQUAD_URL") or KORQUAD_URL
    total = sum(remote.size for remote in KORQUAD_V1)
    print(
        f"KorQuAD v1.0 from {base_url} ({total / 1e6:.1f} MB), licence {KORQUAD_LICENCE}: "
        "use it and pass it on unchanged, naming the source",
        file=sys.stderr,
    )
    for remote in KORQUAD_V1:
        print(_get(remote, args.output, base_url))
    return 0


def _get(remote: RemoteFile, folder: Path, base_url: str) -> Path:
    there = (folder / remote.name).exists()
    if sys.stderr.isatty():
        path = _get_with_bar(remote, folder, base_url)
    else:
        print(f"{remote.name} …", file=sys.stderr)
        path = fetch(remote, folder, base_url=base_url)
    state = "is there already" if there else "downloaded"
    print(f"{remote.name}: {state}, {path.stat().st_size:,} bytes, checked", file=sys.stderr)
    return path


def _get_with_bar(remote: RemoteFile, folder: Path, base_url: str) -> Path:
    from rich import progress as bars
    from rich.console import Console

    columns = (
        bars.TextColumn("{task.description}"),
        bars.BarColumn(),
        bars.DownloadColumn(),
        bars.TransferSpeedColumn(),
        bars.TimeRemainingColumn(),
    )
    with bars.Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(remote.name, total=remote.size)

        def show(done: int, whole: int | None) -> None:
            bar.update(task, completed=done, total=whole)

        return fetch(remote, folder, base_url=base_url, progress=show)
