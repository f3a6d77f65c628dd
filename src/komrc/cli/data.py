"""``komrc data lint``, ``komrc data fix`` and ``komrc data get``."""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from komrc import overwriting, storage
from komrc.cli.commands import Commands, add_command
from komrc.cli.console import print_json
from komrc.data import Loaded, scan_data
from komrc.data.fix import fix_data
from komrc.data.korquad2 import is_korquad2
from komrc.data.korquad2_files import KORQUAD_V2_1, KORQUAD_V2_1_URL
from komrc.download import KORQUAD_LICENCE, KORQUAD_URL, KORQUAD_V1, RemoteFile, fetch
from komrc.errors import PROBLEMS_SHOWN, DataError, Problem, UsageError, kinds_of
from komrc.progress import showing_bytes
from komrc.report.dataset_stats import Lengths, Reach, Statistics, describe, reach
from komrc.report.page_stats import describe_pages

if TYPE_CHECKING:
    from komrc.unreachable import Unreachable

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

_FIX = """\
It corrects offsets of answers that were counted in UTF-16 units, in bytes, with other line ends, white space
or Unicode form, or that are one off, if only one place can be meant; missing and repeated ids; 19.0 and "19"
for 19, "false" for false. It changes nothing else, and lists what is left.

JSON stays in its own layout. JSON Lines, CSV and Parquet become JSON Lines (NEW ends in .jsonl).

examples:
  komrc data fix mine.json --output fixed.json
  komrc data fix mine.csv --output fixed.jsonl

exit codes: 0 nothing is left to correct, 3 problems are left (NEW is written, too)"""

_GET = f"""\
Downloads train (60,407 questions) and dev (5,774) from {KORQUAD_URL}
and checks them byte for byte. After an interruption the same command resumes. The data's licence is
{KORQUAD_LICENCE}: it may be used and passed on unchanged, with its source named.

korquad-v2.1 is whole web pages (1.4 GB in 15 ZIP files: train 83,486 questions, dev 10,165), into the folders
korquad-v2.1/train and korquad-v2.1/dev of FOLDER. They are read as they are and need not be unpacked.

examples:
  komrc data get korquad-v1
  komrc data get korquad-v2.1
  komrc data get korquad-v1 --output /data/korquad
  KOMRC_KORQUAD_URL=https://mirror.example/korquad/ komrc data get korquad-v1

KOMRC_KORQUAD_URL is the address of the folder with the files, for korquad-v2.1 of that with train/ and dev/.

exit codes: 0 done, 5 the download failed or did not match, 6 the disk is full or can't be written"""


def add_parser(commands: Commands) -> None:
    """``data`` with its own commands."""
    parser = add_command(commands, "data", epilog=_DATA)
    actions = parser.add_subparsers(dest="action", required=True, metavar="lint|fix|get")
    lint = actions.add_parser(
        "lint",
        help="list everything that is wrong with a data file, and its statistics",
        description="Check a data file: .json in the layout of KorQuAD 1.0, SQuAD, KLUE-MRC, AI-Hub or "
        "Hugging Face, .jsonl, .csv, .tsv or .parquet, also with .gz; file, folder or ZIP file of KorQuAD 2.",
        epilog=_LINT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    lint.add_argument("file", type=Path, metavar="FILE", help="the data file, or a folder of KorQuAD 2")
    lint.add_argument(
        "--tokenizer",
        metavar="NAME_OR_FOLDER",
        help="tokenizer with which reachable answers are counted (default: the embedded model's)",
    )
    lint.add_argument("--json", action="store_true", help="print one JSON object")
    lint.set_defaults(run=run_lint)
    fix = actions.add_parser(
        "fix",
        help="correct ids and offsets of a data file, in a new file",
        description="Correct what has exactly one meaning, and write a new file.",
        epilog=_FIX,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    fix.add_argument("file", type=Path, metavar="FILE", help="the data file; it is not changed")
    fix.add_argument(
        "--output", type=Path, required=True, metavar="NEW", help="the corrected file; it must not exist"
    )
    fix.set_defaults(run=run_fix)
    get = actions.add_parser(
        "get",
        help="download a data set",
        description="Download a data set.",
        epilog=_GET,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    get.add_argument(
        "name", choices=["korquad-v1", "korquad-v2.1"], metavar="korquad-v1|korquad-v2.1", help="the data set"
    )
    get.add_argument("--output", type=Path, default=Path("data"), metavar="FOLDER", help="default: data")
    get.set_defaults(run=run_get)


# --- lint --------------------------------------------------------------------------------------------------


class _Reached(NamedTuple):
    reach: Reach | None
    unreachable: Unreachable | None

    def warnings(self) -> list[str]:
        return self.unreachable.warnings() if self.unreachable else []


def run_lint(args: argparse.Namespace) -> int:
    """Print findings and statistics; 0 without findings, else 3."""
    if is_korquad2(args.file):
        return _lint_pages(args)
    loaded: Loaded | None = None
    problems: tuple[Problem, ...]
    try:
        loaded = scan_data(args.file)
        problems = loaded.problems
    except DataError as error:  # not even JSON: that is the one finding
        problems = (Problem("$", error.what, error.fix or "correct it"),)
    statistics = describe(loaded.examples) if loaded else None
    reached = _reach(loaded, args.tokenizer) if loaded and loaded.examples else _Reached(None, None)
    if args.json:
        print_json(_as_json(args.file, problems, loaded, statistics, reached))
    else:
        _show(
            args,
            problems,
            _rows(args, loaded, statistics, reached) if loaded and statistics else [],
        )
    return FINDINGS if problems else 0


def _lint_pages(args: argparse.Namespace) -> int:
    """The same for KorQuAD 2, page by page."""
    statistics = describe_pages(args.file)
    if args.json:
        print_json({"file": str(args.file), **asdict(statistics)})
    else:
        rows = [
            ("pages", f"{statistics.counts.articles:,}"),
            ("questions", f"{statistics.counts.questions:,}"),
            ("  usable", f"{statistics.counts.kept:,}"),
            ("  left out", f"{statistics.counts.left_out:,}"),
            ("answers with tags", _share(statistics.with_tags, statistics.counts.answers)),
            ("page, characters of HTML", _spread(statistics.context)),
            ("question, characters", _spread(statistics.question)),
            ("answer, characters of HTML", _spread(statistics.answer)),
        ]
        if statistics.counts.unreadable:
            rows.insert(1, ("unreadable pages", f"{statistics.counts.unreadable:,}"))
        _show(args, statistics.problems, rows)
    return FINDINGS if statistics.problems else 0


def _reach(loaded: Loaded, tokenizer: str | None) -> _Reached:
    """What can be reached with the default lengths of training."""
    from komrc.config import ReaderConfig
    from komrc.tokenization import load_tokenizer
    from komrc.unreachable import count_unreachable
    from komrc.windows import build_windows

    backend, defaults = load_tokenizer(tokenizer), ReaderConfig()
    longest = min(defaults.windows.max_seq_length, backend.model_max_length)
    config = defaults.changed(max_seq_length=longest)
    unreachable = count_unreachable(
        loaded.examples,
        build_windows(loaded.examples, backend, config.windows, labels=True),
        config,
    )
    reached = reach(loaded.examples, backend, max_answer_tokens=defaults.decoding.max_answer_tokens)
    return _Reached(reached, unreachable)


def _as_json(
    file: Path,
    problems: tuple[Problem, ...],
    loaded: Loaded | None,
    statistics: Statistics | None,
    reached: _Reached,
) -> dict[str, Any]:
    return {
        "file": str(file),
        "sha256": loaded.sha256 if loaded else None,
        "problems": [asdict(problem) for problem in problems],
        "counts": asdict(loaded.counts) if loaded else None,
        "left_out": list(loaded.left_out) if loaded else None,
        "statistics": asdict(statistics) if statistics else None,
        "reach": asdict(reached.reach) if reached.reach else None,
        "unreachable": asdict(reached.unreachable) if reached.unreachable else None,
        "warnings": reached.warnings(),
    }


def _rows(
    args: argparse.Namespace,
    loaded: Loaded,
    statistics: Statistics,
    reached: _Reached,
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
    if reach := reached.reach:
        rows += [
            ("tokenizer", args.tokenizer or "the embedded model's"),
            ("  context, tokens", _spread(reach.context_tokens)),
            ("  unknown tokens", _share(reach.unknown_tokens, reach.tokens)),
            ("  answers at token boundaries", _share(reach.exact, reach.answers)),
            ("  best possible EM / F1", f"{reach.em:.1f} / {reach.f1:.1f}"),
        ]
    rows += [("out of reach", warning) for warning in reached.warnings()]
    return [*rows, ("SHA-256", loaded.sha256)]


def _share(part: int, whole: int) -> str:
    return f"{part:,} ({100 * part / whole:.1f} %)" if whole else "0"


def _spread(lengths: Lengths | None) -> str:
    if lengths is None:
        return "none"
    return f"{lengths.shortest:,} to {lengths.longest:,}, mean {lengths.mean:.1f}, median {lengths.median:,}"


def _shown(problems: Sequence[Problem]) -> list[Problem]:
    """The first problems of each kind, in their order."""
    counts: Counter[str] = Counter()
    shown = []
    for problem in problems:
        counts[problem.kind] += 1
        if counts[problem.kind] <= PROBLEMS_SHOWN:
            shown.append(problem)
    return shown


def _show(args: argparse.Namespace, problems: tuple[Problem, ...], rows: list[tuple[str, str]]) -> None:
    """Tables on a terminal, lines elsewhere."""
    verdict = f"{len(problems)} problem{'s' if len(problems) > 1 else ''}" if problems else "nothing wrong"
    if not sys.stdout.isatty():
        print(f"{args.file}: {verdict}")
        shown = _shown(problems)
        for problem in shown:
            print(f"  {problem}")
        if len(shown) < len(problems):
            print(f"  … and {len(problems) - len(shown):,} more (--json lists all). By kind:")
            for kind, count in kinds_of(problems):
                print(f"  {count:,} × {kind}")
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
        shown = _shown(problems)
        if len(shown) < len(problems):
            kinds = "; ".join(f"{count:,} × {kind}" for kind, count in kinds_of(problems))
            findings.caption = Text(
                f"{len(shown):,} of {len(problems):,} are shown; --json lists all. {kinds}"
            )
        for problem in shown:
            findings.add_row(
                *(Text(part) for part in (problem.path, problem.id or "", problem.what, problem.fix))
            )
        console.print(findings)
    if rows:
        figures = Table(show_header=False, title=f"{args.file}: {verdict}", title_justify="left")
        for name, value in rows:
            figures.add_row(Text(name), Text(value))
        console.print(figures)


# --- fix ---------------------------------------------------------------------------------------------------


def run_fix(args: argparse.Namespace) -> int:
    """Write the corrected file; print what was changed and what is left. 3 if problems are left."""
    if args.output.exists():
        raise UsageError("exists already", where=str(args.output), fix="give --output a new name")
    fixed = fix_data(args.file, args.output)
    storage.write_bytes(args.output, fixed.content)
    try:
        problems = scan_data(args.output).problems
    except DataError as error:
        problems = (Problem("$", error.what, error.fix or "correct it"),)
    print(f"{args.output}: {len(fixed.changes):,} values corrected, {len(problems):,} problems left")
    for title, entries, kinds in (
        ("corrected", fixed.changes, Counter(change.kind for change in fixed.changes).most_common()),
        ("left", problems, kinds_of(problems)),
    ):
        for kind, count in kinds:
            print(f"{title}: {count:,} × {kind}")
        for entry in entries[:PROBLEMS_SHOWN]:
            print(f"  {entry}")
        if len(entries) > PROBLEMS_SHOWN:
            print(f"  … and {len(entries) - PROBLEMS_SHOWN:,} more")
    return FINDINGS if problems else 0


# --- get ---------------------------------------------------------------------------------------------------


def run_get(args: argparse.Namespace) -> int:
    """Download the files, print their paths."""
    overwriting.refuse_file_name(args.output, "--output")
    mirror = os.environ.get("KOMRC_KORQUAD_URL")
    if args.name == "korquad-v1":
        title, base_url = "KorQuAD v1.0", mirror or KORQUAD_URL
        parts = [(args.output, base_url, remote) for remote in KORQUAD_V1]
    else:
        title, base_url = "KorQuAD 2.1", mirror or KORQUAD_V2_1_URL
        parts = [
            (args.output / "korquad-v2.1" / part, f"{base_url.rstrip('/')}/{part}", remote)
            for part, remotes in KORQUAD_V2_1.items()
            for remote in remotes
        ]
    total = sum(remote.size for _, _, remote in parts)
    print(
        f"{title} from {base_url} ({total / 1e6:,.1f} MB), licence {KORQUAD_LICENCE}: "
        "use it and pass it on unchanged, naming the source",
        file=sys.stderr,
    )
    for folder, url, remote in parts:
        print(_get(remote, folder, url))
    return 0


def _get(remote: RemoteFile, folder: Path, base_url: str) -> Path:
    present = (folder / remote.name).exists()
    with showing_bytes(total=remote.size, what=remote.name) as show:
        path = fetch(remote, folder, base_url=base_url, progress=show)
    state = "is there already" if present else "downloaded"
    print(f"{remote.name}: {state}, {path.stat().st_size:,} bytes, checked", file=sys.stderr)
    return path
