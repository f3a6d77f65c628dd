"""``komrc index``: build an index of documents, and keep it up to date."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from komrc.cli.commands import Commands, add_command
from komrc.cli.console import print_json
from komrc.cli.reader_options import index_name, positive
from komrc.errors import DataError, UsageError

if TYPE_CHECKING:
    from komrc.documents.document import Unread
    from komrc.index.updating import Changes

EXAMPLES = """\
examples:
  komrc index ~/문서 --output my.index             index all files of a folder
  komrc index a.txt notes.md --output my.index     add files to it
  komrc index ~/문서 --output my.index --actors 4   read the files with four processes
  komrc index my.index --update                    read what is new or has changed, remove what was deleted
  komrc index my.index --remove ~/문서/old.txt      remove a file or folder; --update doesn't read it again
  komrc index my.index --info                      what it contains, as JSON
  komrc search "연차 신청 기한" --index my.index
  komrc index ~/문서 --output opensearch://localhost:9200/documents     on many machines, in OpenSearch

A file that can't be read is named on stderr with the reason; the others are indexed. The command then ends
with exit code 3. If it is stopped or killed, what was indexed is kept: run it again, and it continues.
The summary on stdout is one JSON object with the numbers of documents.
"""
_ADVICE = "Give the files and a new folder: komrc index FILE_OR_FOLDER --output my.index"


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(commands, "index", epilog=EXAMPLES, advice=_ADVICE)
    parser.add_argument(
        "paths",
        metavar="PATH",
        type=index_name,
        nargs="+",
        help="files and folders to index; with --update, --remove and --info the index",
    )
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument(
        "--output",
        type=index_name,
        metavar="INDEX",
        help="the folder of the index, or opensearch://HOST:PORT/NAME: a new one, or an index to add to",
    )
    action.add_argument("--update", action="store_true", help="bring the index to what its files are now")
    action.add_argument(
        "--remove",
        type=Path,
        action="append",
        metavar="PATH",
        help="remove the documents of a file or folder; may be repeated",
    )
    action.add_argument("--info", action="store_true", help="print what the index contains")
    parser.add_argument(
        "--actors",
        type=positive,
        default=1,
        metavar="N",
        help="processes that read the files at the same time (default: 1)",
    )
    parser.add_argument(
        "--ray", action="store_true", help="take actors on Ray, of the cluster that RAY_ADDRESS names"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Build, update, remove or print."""
    from komrc.index import Index

    options = {"report": _report, "progress": True, "actors": args.actors, "on_ray": args.ray}
    if args.output is not None:
        with Index.build(args.paths, args.output, **options) as index:
            assert index.changes is not None
            return _finish(index.changes)
    if not args.update and (args.ray or args.actors > 1):
        raise UsageError("has no effect with --remove or --info", where="--actors, --ray", fix="leave it out")
    with Index.open(_one_index(args)) as index:
        if args.update:
            return _finish(index.update(**options))
        if args.remove:
            removed = sum(index.remove(path) for path in args.remove)
            print(json.dumps({"removed": removed}))
        else:
            print_json(index.info().to_dict())
    return 0


def _one_index(args: argparse.Namespace) -> str | Path:
    """Raises UsageError."""
    if len(args.paths) != 1:
        option = "--update" if args.update else "--remove" if args.remove else "--info"
        raise UsageError(
            f"{option} needs one index, {len(args.paths)} paths were given",
            where="PATH",
            fix="to add files to an index, give them with --output INDEX",
        )
    index: str | Path = args.paths[0]
    return index


def _report(unread: Unread) -> None:
    print(f"komrc: not indexed: {unread.source}: {unread.reason}", file=sys.stderr)


def _finish(changes: Changes) -> int:
    """Print the summary; returns the exit code."""
    numbers = {name: getattr(changes, name) for name in ("added", "replaced", "removed", "unchanged_files")}
    print(json.dumps(numbers | {"unread": len(changes.unread)}))
    return DataError.exit_code if changes.unread else 0
