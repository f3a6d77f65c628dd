"""``komrc predict``: answer every question of the data."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from komrc import overwriting
from komrc.cli import reader_options
from komrc.cli.commands import Commands, add_command
from komrc.errors import UsageError
from komrc.types import ENGINES

if TYPE_CHECKING:
    from komrc.predicting.model_ref import ModelRef
    from komrc.predicting.pages import PageQuestions
    from komrc.predicting.questions import QuestionSet

EXAMPLES = """\
examples:
  komrc predict --data KorQuAD_v1.0_dev.json --output predictions.json
  komrc predict --model models --data dev.json --output predictions.json --nbest-output nbest.json
  komrc predict --model models --data questions.jsonl --output answers.jsonl --top-k 3
  komrc predict --data questions.parquet --output answers --actors 4
  komrc predict --index my.index --data questions.jsonl --output answers.jsonl
  komrc predict --korquad2 --model models --data data/korquad-v2.1/dev --output predictions.json
  komrc predict --engine ray --data s3://bucket/questions --output s3://bucket/answers --actors 16
  komrc predict --engine ray:onnx-int8 --data questions.jsonl --output answers --actors 2 --format parquet

--data is JSON in the form of KorQuAD (answers are not needed), JSON Lines with a question a line, CSV, TSV or
Parquet with such columns: {"id": "1", "question": "…", "context": "…"}, also with .gz; files, folders, URLs,
or - for standard input.
--output is a file, {"id": "text"}, as the official script reads it, or, with a name that ends in .jsonl, a
line for each question: id, text, start, end, score. A name without such an ending is a folder of shards, and
only such a folder can be written by several actors: processes of this machine, or, with --engine ray, actors
on Ray (RAY_ADDRESS names a cluster; without it Ray is started here).

With --index the questions need no context: each is answered from the documents of the index, as by
`komrc ask --index`. The output is one file; a line of .jsonl also has document, page, line, sentence and the
passages that were found, which `komrc evaluate --open` scores.

With --korquad2 the data are whole HTML pages in the layout of KorQuAD 2.0 or 2.1: a JSON file, a ZIP file
or a folder of them. The answers are HTML, as the official script and `komrc evaluate --korquad2` read them.
Of each page the passages that share the most with the question are read.

JSON Lines and Parquet need the same memory for any number of questions. An interrupted run leaves
OUTPUT.part, or the folder without manifest.json; the same command resumes it.
"""
RAY = "ray"
_FILES = (".json", ".jsonl", ".ndjson")
_NOT_WRITTEN = (".csv", ".tsv", ".txt", ".xlsx", ".xls", ".parquet", ".html", ".gz", ".zip")


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(commands, "predict", epilog=EXAMPLES)
    parser.add_argument("--data", required=True, nargs="+", metavar="FILE", help="the questions")
    parser.add_argument("--output", required=True, metavar="FILE|FOLDER", help="the answers")
    parser.add_argument(
        "--index",
        type=reader_options.index_name,
        metavar="INDEX",
        help="answer from the documents of this index (a folder or URL), as `komrc index` writes it",
    )
    parser.add_argument(
        "--passages",
        type=reader_options.positive,
        metavar="N",
        help="with --index or --korquad2: passages to read for a question (default: 10; of a page 8)",
    )
    parser.add_argument(
        "--korquad2", action="store_true", help="the data are HTML pages in the layout of KorQuAD 2"
    )
    parser.add_argument("--exhaustive", action="store_true", help="with --korquad2: read all of each page")
    parser.add_argument(
        "--nbest-output", type=Path, metavar="FILE", help="also write all ranked candidates (.json or .jsonl)"
    )
    parser.add_argument(
        "--top-k",
        type=reader_options.positive,
        default=1,
        metavar="N",
        help="answers to write for each question (default: 1; more need a .jsonl output or a folder)",
    )
    reader_options.add_arguments(
        parser,
        more_engines=(RAY, *(f"{RAY}:{engine}" for engine in ENGINES)),
        more="; ray, or ray:ENGINE: in actors on Ray",
    )
    parser.add_argument(
        "--actors",
        type=reader_options.positive,
        metavar="N",
        help="readers that run at the same time; the output is a folder (default: 1)",
    )
    parser.add_argument(
        "--format", choices=("jsonl", "parquet"), help="form of a folder's shards (default: jsonl)"
    )
    parser.add_argument(
        "--shard-size",
        type=reader_options.positive,
        metavar="N",
        help="questions of a shard, which is what a crash can cost each actor (default: 1000)",
    )
    parser.add_argument(
        "--skip-invalid",
        action="store_true",
        help="leave damaged questions out instead of stopping; stderr names them",
    )
    parser.add_argument(
        "--restart", action="store_true", help="start over, and delete the answers of an interrupted run"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Answer the data; reports on stderr what was done."""
    from komrc.predicting import fs
    from komrc.predicting.questions import standard_input

    folder = fs.suffix(args.output) not in _FILES
    _check(args, folder)
    with standard_input(args.data) as data:
        _refuse_inputs(args)
        return _predict(args, data, folder)


def _predict(args: argparse.Namespace, data: Sequence[str], folder: bool) -> int:
    from komrc.data import ASKING, PREDICTING
    from komrc.predicting.model_ref import ModelRef
    from komrc.predicting.questions import SHARD_SIZE, QuestionSet, open_questions

    kind, _, engine = args.engine.partition(":") if args.engine.startswith(RAY) else ("", "", args.engine)
    if args.korquad2:
        from komrc.predicting.pages import PageQuestions

        source: QuestionSet | PageQuestions = PageQuestions.open(
            [Path(name) for name in data], skip_invalid=args.skip_invalid
        )
    else:
        source = open_questions(
            data,
            skip_invalid=args.skip_invalid,
            shard_size=args.shard_size or SHARD_SIZE,
            needs=PREDICTING if args.index is None else ASKING,
        )
    model = ModelRef.of(
        args.model,
        engine=engine or "auto",
        trim_particles=args.trim_particles,
        model_type=args.model_type,
        settings=reader_options.settings(args),
    )
    try:
        if isinstance(source, QuestionSet) and folder:
            done = _to_folder(args, source, model, on_ray=kind == RAY)
        else:
            done = _to_file(args, source, model)
    except KeyboardInterrupt:
        print("komrc: run the same command again to resume", file=sys.stderr)
        raise
    before = f" ({done:,} of them before)" if done else ""
    shards = f" in {len(source.shards):,} shards" if isinstance(source, QuestionSet) and folder else ""
    print(f"{args.output}: {source.total:,} answers{before}{shards}, engine {model.engine}", file=sys.stderr)
    return 0


def _check(args: argparse.Namespace, folder: bool) -> None:
    """Raises UsageError for outputs that can't be written, and for options that the output does not allow."""
    from komrc.predicting import fs

    forms = {
        "--output": "a .json file, a .jsonl file or a folder",
        "--nbest-output": "a .json or .jsonl file",
    }
    for option, name in (("--output", args.output), ("--nbest-output", args.nbest_output)):
        if name is None or fs.suffix(str(name)) in _FILES:
            continue
        if overwriting.is_file_name(Path(name)):
            raise UsageError(
                f"{name} has none of the forms that can be written",
                where=option,
                fix=f"give the name of {forms[option]}",
            )
    if args.index is None and not args.korquad2 and args.passages:
        raise UsageError(
            "has no effect without --index or --korquad2", where="--passages", fix="leave it out"
        )
    if args.exhaustive and not args.korquad2:
        raise UsageError("has no effect without --korquad2", where="--exhaustive", fix="leave it out")
    if args.index is not None:
        _check_with_index(args, folder)
    if args.korquad2:
        _check_with_pages(args, folder)
    if folder:
        if args.nbest_output is not None:
            raise UsageError(
                "a folder of shards has no n-best file",
                where="--nbest-output",
                fix="take --top-k N, or give --output a name that ends in .json or .jsonl",
            )
        return
    wanted = {
        f"--engine {args.engine}": args.engine.startswith(RAY),
        "--actors": args.actors,
        "--format": args.format,
        "--shard-size": args.shard_size,
    }
    for option, given in wanted.items():
        if given:
            raise UsageError(
                f"{args.output} is one file, and this writes a folder of shards",
                where=option,
                fix="give --output the name of a folder, without .json or .jsonl",
            )


def _check_with_index(args: argparse.Namespace, folder: bool) -> None:
    """Raises UsageError for outputs and options that answers from an index don't have."""
    if folder:
        raise UsageError(
            f"{args.output} is a folder of shards, and answers from an index are one file",
            where="--index",
            fix="give --output a name that ends in .jsonl or .json",
        )
    if args.nbest_output is not None:
        raise UsageError(
            "answers from an index have no n-best file",
            where="--nbest-output",
            fix="use --top-k N with an --output that ends in .jsonl",
        )


def _check_with_pages(args: argparse.Namespace, folder: bool) -> None:
    """Raises UsageError for outputs and options that answers in pages don't have."""
    if folder:
        raise UsageError(
            f"{args.output} is a folder of shards, and answers in pages are one file",
            where="--korquad2",
            fix="give --output a name that ends in .json or .jsonl",
        )
    given = {
        "--index": args.index is not None,
        "--nbest-output": args.nbest_output is not None,
        "--top-k": args.top_k > 1,
        "--passages": args.exhaustive and args.passages is not None,
    }
    for option, wrong in given.items():
        if wrong:
            other = "--exhaustive" if option == "--passages" else "--korquad2"
            raise UsageError(f"can't be used with {other}", where=option, fix="leave it out")


def _refuse_inputs(args: argparse.Namespace) -> None:
    """Raises UsageError if an output is an input, or would be an input of the next run."""
    from komrc.models import checks, hub
    from komrc.predicting import fs, one_file

    outputs, inputs = [], []
    for name in filter(None, (args.output, args.nbest_output)):
        path = fs.as_local_path(name)
        outputs += [path, *one_file.partial_files(path)] if path is not None else []
    for name in args.data:
        path = fs.as_local_path(name)
        inputs += [path] if path is not None else []
        if path is None and _overlap(args.output.rstrip("/"), name.rstrip("/")):
            raise UsageError("is also an input", where=args.output, fix="give another output")
    overwriting.refuse_inputs(outputs, inputs)
    overwriting.refuse_inside(outputs, [path for path in inputs if path.is_dir()])
    if isinstance(args.index, Path):
        overwriting.refuse_inside(outputs, [args.index])
    overwriting.refuse_inputs(outputs, checks.inputs(args.model or hub.embedded_model()))


def _overlap(one: str, other: str) -> bool:
    """Whether two URLs are the same, or one is a folder above the other."""
    return one == other or one.startswith(f"{other}/") or other.startswith(f"{one}/")


def _to_file(args: argparse.Namespace, source: QuestionSet | PageQuestions, model: ModelRef) -> int:
    from komrc.asking import PASSAGES
    from komrc.index import Index
    from komrc.predicting.one_file import predict_file

    if args.korquad2:
        return _pages_to_file(args, source, model)

    index = Index.open(args.index) if args.index is not None else None
    passages = args.passages or PASSAGES
    run = model.identity()
    if index is not None:
        info = index.info()
        size = f"{info.documents} documents, {info.passages} passages, {info.characters} characters"
        name = args.index.absolute() if isinstance(args.index, Path) else args.index
        run |= {"index": f"{name}: {size}", "passages": str(passages)}
    return predict_file(
        model.load(),
        source,
        Path(args.output),
        nbest_output=args.nbest_output,
        top_k=args.top_k,
        run=run,
        restart=args.restart,
        index=index,
        passages=passages,
    )


def _pages_to_file(args: argparse.Namespace, source: QuestionSet | PageQuestions, model: ModelRef) -> int:
    from komrc.page_reader import PASSAGES, PageReader
    from komrc.predicting.one_file import predict_file

    passages = args.passages or PASSAGES
    run = model.identity() | {"passages": "all" if args.exhaustive else str(passages)}
    reader = model.load()
    pages = PageReader(reader, passages=passages, exhaustive=args.exhaustive)
    return predict_file(reader, source, Path(args.output), run=run, restart=args.restart, pages=pages)


def _to_folder(args: argparse.Namespace, source: QuestionSet, model: ModelRef, *, on_ray: bool) -> int:
    from komrc.predicting import fs, workers
    from komrc.predicting import on_ray as ray
    from komrc.predicting.shards import RunShards, ShardJob, predict_folder

    job = ShardJob(
        model.load, fs.absolute_url(args.output), args.format or "jsonl", args.top_k, args.skip_invalid
    )
    count = args.actors or 1
    actors: RunShards = partial(workers.run, actors=count)
    if on_ray:
        actors = partial(ray.run, actors=count, gpus=model.engine.startswith("torch"))
    return predict_folder(source, job, actors, run=model.identity(), restart=args.restart)
