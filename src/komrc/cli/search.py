"""``komrc search``: the passages of an index that match a question best."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from komrc.cli.commands import Commands, add_command
from komrc.cli.console import print_json
from komrc.cli.reader_options import index_name, positive

if TYPE_CHECKING:
    from komrc.index import Hit

EXAMPLES = """\
examples:
  komrc search "연차 신청 기한" --index my.index --top-k 5
  komrc search "연차는 며칠 전에 신청해야 하나?" --index my.index --json

Without a terminal each passage is a line: score, document, start, end, page, line, text, separated by tabs.
Offsets count characters (code points) of the document's extracted text from 0; end is one past the last
character. The page is empty if the format has no pages.
"""
_ADVICE = 'Put the question in quotation marks: komrc search "연차 신청 기한" --index my.index'


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(commands, "search", epilog=EXAMPLES, advice=_ADVICE)
    parser.add_argument("question", metavar="QUESTION", help="a question, or words to search for")
    parser.add_argument(
        "--index",
        required=True,
        type=index_name,
        metavar="INDEX",
        help="the folder or URL of the index, as `komrc index` writes it",
    )
    parser.add_argument("--top-k", type=positive, default=10, metavar="N", help="passages (default: 10)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the passages, best first."""
    from komrc.index import Index

    with Index.open(args.index) as index:
        hits = index.search(args.question, args.top_k)
    if args.json:
        passages = [asdict(hit.passage) | {"score": hit.score} for hit in hits]
        print_json({"question": args.question, "passages": passages})
    elif sys.stdout.isatty():
        _show(hits)
    else:
        for hit in hits:
            p = hit.passage
            page = "" if p.page is None else p.page
            text = " ".join(p.text.split())
            print(f"{hit.score:.4f}", p.document, p.start, p.end, page, p.line, text, sep="\t")
    if not hits:
        print("komrc: no passage has a word of the question", file=sys.stderr)
    return 0


def _show(hits: Sequence[Hit]) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False)
    for hit in hits:
        p = hit.passage
        place = f"{p.page}쪽" if p.page is not None else f"{p.line}행"
        title = Text(p.document, style="bold")
        console.print(title.append(f"  {place}  {hit.score:.1f}", style="dim not bold"))
        if p.heading:
            console.print(Text(p.heading, style="dim"))
        console.print(Text(f"  {' '.join(p.text.split())}"))
