"""``komrc demo``: the whole path from a data set to answers, in a few minutes and offline."""

from __future__ import annotations

import argparse
import logging
import os
import shlex
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from komrc import overwriting, storage
from komrc.cli.commands import add_command
from komrc.data import load_squad
from komrc.errors import UsageError, require
from komrc.metrics import korquad
from komrc.models import hub
from komrc.types import Answer, Example

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

_EXAMPLES = """\
examples:
  komrc demo                                  on the sample that the package carries; needs no network
  KOMRC_DATA=data komrc demo                  the same on KorQuAD (komrc data get korquad-v1 downloads it)
  komrc demo --data data --max-steps 200      a first look at KorQuAD within minutes
  komrc demo --data mine --train-file a.json --predict-file b.json

exit codes: 0 done, 2 usage, 3 the data can't be used, 8 torch is missing, 130 after Ctrl-C
"""

OUTPUT = Path("models/demo")
PASSAGE = "passage.txt"  # what the demo asks about; also the mark of a folder that a demo wrote
ASKED = ("komrc-sample-046-1", "komrc-sample-046-3", "komrc-sample-046-5")  # of the sample's dev part

_TRAINING: Mapping[str, Any] = {"num_train_epochs": 2, "warmup_ratio": 0.1, "save_total_limit": 1}
_ON_SAMPLE: Mapping[str, Any] = {**_TRAINING, "logging_steps": 10}
_LONG = 3_000  # training questions from which on a CPU is busy for much more than minutes


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    parser = add_command(
        commands,
        "demo",
        epilog=_EXAMPLES,
        more="Fine-tune the embedded reader on a small Korean data set, evaluate it by the official "
        "metric, and ask it three questions. Each step names the command that does the same.",
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=OUTPUT,
        metavar="FOLDER",
        help=f"where the trained model goes; what a former demo left there is replaced (default: {OUTPUT})",
    )
    parser.add_argument(
        "--data",
        type=Path,
        default=os.environ.get("KOMRC_DATA") or None,
        metavar="FOLDER",
        help="folder with KorQuAD files to use instead of the sample (default: KOMRC_DATA, where it is set)",
    )
    parser.add_argument("--train-file", metavar="FILE", help="file in it to train on (default: *train*.json)")
    parser.add_argument(
        "--predict-file", metavar="FILE", help="file in it to evaluate on (default: *dev*.json)"
    )
    parser.add_argument("--max-steps", type=int, metavar="N", help="end the training after so many steps")
    parser.set_defaults(run=run)


@dataclass(frozen=True, slots=True)
class Part:
    """A data file and what is in it."""

    path: Path
    examples: list[Example]


def run(args: argparse.Namespace) -> int:
    """Show the whole path; returns the exit code."""
    from rich.console import Console

    if args.max_steps is not None and args.max_steps < 1:
        raise UsageError(f"{args.max_steps} is too small", where="--max-steps", fix="give 1 or more")
    _require_training()
    files = find_data(args.data, args.train_file, args.predict_file)
    overwriting.refuse_inputs([args.output], [*files, hub.embedded_model()])
    _prepare(args.output)
    logging.basicConfig(format="  %(message)s", level=logging.WARNING)
    logging.getLogger("komrc").setLevel(logging.INFO)

    wide = None if sys.stdout.isatty() else 160  # the width of a file or a pipe is not known
    screen = Console(highlight=False, markup=False, width=wide)
    screen.print("KoMRC: from a data set to a model that answers questions, on this machine.", style="bold")
    train, dev = (Part(path, load_squad(path)) for path in files)
    _show_data(screen, train, dev, own=args.data is not None or args.train_file is not None)
    before = _read_before(screen, dev)
    on_sample = train.path == hub.sample_data("train")
    options = dict(_ON_SAMPLE if on_sample else _TRAINING)
    if args.max_steps:
        options["max_steps"] = args.max_steps
    code = _train(screen, train, dev, args.output, options)
    if code:
        return code
    _evaluate(screen, dev, args.output, before)
    _ask(screen, args.output)
    _say_next(screen, args.output)
    return 0


# --- before anything is done -------------------------------------------------------------------------------


def _require_training() -> None:
    require(
        *("torch", "transformers", "accelerate"),
        extra="train",
        purpose="the training in the demo",
        where="komrc demo",
        instead="make demo; komrc ask works without",
    )


def find_data(folder: Path | None, train_file: str | None, predict_file: str | None) -> tuple[Path, Path]:
    """The files to train and to evaluate on: the sample's, or those in a folder.

    In a folder the names decide, unless they are given: *train* or *prerelease* to train, *dev* to evaluate.
    Raises UsageError where there is none or more than one.
    """
    if folder is None and train_file is None and predict_file is None:
        return hub.sample_data("train"), hub.sample_data("dev")
    if folder is not None and not folder.expanduser().is_dir():
        raise UsageError(
            "no such folder", where=str(folder), fix="komrc data get korquad-v1 --output data makes data/"
        )
    place = Path() if folder is None else folder.expanduser()
    return (
        _pick(place, train_file, ("train", "prerelease"), "--train-file"),
        _pick(place, predict_file, ("dev",), "--predict-file"),
    )


def _pick(folder: Path, name: str | None, words: Sequence[str], flag: str) -> Path:
    if name is not None:
        path = folder / name
        if not path.is_file():
            raise UsageError("no such file", where=str(path), fix=f"check {flag}")
        return path
    names = sorted(path.name for path in folder.glob("*.json"))
    for word in words:
        matching = [name for name in names if word in name.lower()]
        if len(matching) == 1:
            return folder / matching[0]
        if matching:
            raise UsageError(
                f"{len(matching)} files have '{word}' in their name: {', '.join(matching)}",
                where=str(folder),
                fix=f"choose one with {flag}",
            )
    raise UsageError(
        f"no file is called *{words[0]}*.json; there is {', '.join(names) or 'no JSON file at all'}",
        where=str(folder),
        fix=f"name the file with {flag}",
    )


def _prepare(output: Path) -> None:
    """Make the folder a demo's. Raises UsageError where it holds somebody's files, StorageError."""
    overwriting.refuse_file_name(output, "--output")
    used = output.is_dir() and any(path.name[0] != "." for path in output.iterdir())
    if used and not (output / PASSAGE).exists():
        raise UsageError(
            "the folder holds files that no demo wrote", where=str(output), fix="choose another --output"
        )
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"can't be written ({error.strerror})", where=str(output), fix="choose another --output"
        ) from error
    storage.write_text(output / PASSAGE, _asked()[0].context + "\n")


def _asked() -> list[Example]:
    by_id = {example.id: example for example in load_squad(hub.sample_data("dev"))}
    return [by_id[name] for name in ASKED]


# --- the steps ---------------------------------------------------------------------------------------------


def _show_data(screen: Console, train: Part, dev: Part, *, own: bool) -> None:
    _heading(screen, 1, "The data" if own else "The data: a sample of our own, in KorQuAD's form")
    rows = [
        (
            what,
            f"{len(part.examples):,} questions",
            f"on {len({e.context for e in part.examples}):,} paragraphs",
        )
        for what, part in (("to train on", train), ("to evaluate on", dev))
    ]
    _table(screen, rows)
    example = dev.examples[0]
    if example.answers:
        screen.print(f"  for example: {example.question}  →  {example.answers[0].text}", soft_wrap=True)
    _command(screen, "data", "lint", _shown(dev.path))


def _read_before(screen: Console, dev: Part) -> korquad.Scores:
    from komrc import Reader

    _heading(screen, 2, "The embedded reader as it comes")
    reader = Reader.load()
    predictions = reader.read_examples(dev.examples, progress=True)
    texts = {p.id: p.text for p in predictions}
    scores = korquad.score(texts, dev.examples)
    screen.print(f"  EM {scores['exact_match']:.1f}   F1 {scores['f1']:.1f}")
    _command(screen, "evaluate", _shown(dev.path), "--model", _shown(hub.embedded_model()))
    return scores


def _train(screen: Console, train: Part, dev: Part, output: Path, options: Mapping[str, Any]) -> int:
    from komrc.options import flag
    from komrc.training.options import build_options
    from komrc.training.train import train as run_training

    _heading(screen, 3, "Fine-tuning it, with official EM and F1 on the way")
    if len(train.examples) > _LONG and "max_steps" not in options:
        screen.print(
            "  This much data takes long on a CPU: the estimate follows. Ctrl-C stops it; "
            "--max-steps 200 gives a first look.",
            soft_wrap=True,
        )
    files = {"train_file": (str(train.path),), "predict_file": str(dev.path), "output_dir": str(output)}
    shown = [
        ("train_file", _shown(train.path)),
        ("predict_file", _shown(dev.path)),
        ("output_dir", _shown(output)),
    ]
    _command(
        screen,
        "train",
        *(str(part) for name, value in [*shown, *options.items()] for part in (flag(name), value)),
    )
    outcome = run_training(build_options({**files, **options, "overwrite_output_dir": True}))
    if outcome.exit_code == 0:
        names = sorted(path.name for path in output.iterdir() if path.is_file() and path.name[0] != ".")
        screen.print(f"  written to {output}: {', '.join(names)}", soft_wrap=True)
    return outcome.exit_code


def _evaluate(screen: Console, dev: Part, output: Path, before: korquad.Scores) -> None:
    from komrc.evaluation import load_predictions

    _heading(screen, 4, "The official evaluation")
    predictions = output / "predictions_.json"
    after = korquad.score(load_predictions(predictions), dev.examples)
    _table(
        screen,
        [
            ("", "EM", "F1"),
            ("as it comes", f"{before['exact_match']:.1f}", f"{before['f1']:.1f}"),
            ("fine-tuned", f"{after['exact_match']:.1f}", f"{after['f1']:.1f}"),
        ],
    )
    if dev.path == hub.sample_data("dev"):
        one = 100 / len(dev.examples)
        screen.print(
            f"  One question is {one:.1f} points here: the sample shows the way; KorQuAD measures a model.",
            soft_wrap=True,
        )
    _command(screen, "evaluate", _shown(dev.path), _shown(predictions))


def _ask(screen: Console, output: Path) -> None:
    from rich.padding import Padding
    from rich.text import Text

    from komrc import Reader

    _heading(screen, 5, "Asking it")
    asked = _asked()
    context = asked[0].context
    reader = Reader.load(output)
    answers = [best[0] for best in reader.read_many([(e.question, context) for e in asked])]
    passage = Text(context)
    for answer in answers:
        passage.stylize("bold green", answer.start, answer.end)
    screen.print(Padding(passage, (0, 2), expand=False))
    for example, answer in zip(asked, answers, strict=True):
        screen.print(f"\n  {example.question}", soft_wrap=True)
        screen.print(_reply(example, answer), soft_wrap=True)
    screen.print()
    _command(
        screen, "ask", _quoted(asked[0]), "--model", _shown(output), "--context", _shown(output / PASSAGE)
    )


def _reply(example: Example, answer: Answer) -> Text:
    from rich.text import Text

    gold = example.answers[0].text
    verdict = "right" if korquad.exact_match(answer.text, gold) else f"expected: {gold}"
    return Text.assemble("    → ", (answer.text, "bold green"), f"   {answer.score:.0%} sure, {verdict}")


def _say_next(screen: Console, output: Path) -> None:
    _heading(screen, None, "What next")
    question = _quoted(_asked()[1])
    screen.print("  Ask it something else; --context takes any text file:")
    _command(screen, "ask", question, "--model", _shown(output), "--context", _shown(output / PASSAGE))
    screen.print("  Serve it over HTTP, with a page to try it on http://localhost:8888:")
    _command(screen, "serve", "--model", _shown(output))
    screen.print("  Train on KorQuAD v1.0, 60,407 questions (CC BY-ND 2.0 KR):")
    _command(screen, "data", "get", "korquad-v1", "--output", "data")
    train, dev = "KorQuAD_v1.0_train.json", "KorQuAD_v1.0_dev.json"
    files = ("--data-dir", "data", "--train-file", train, "--predict-file", dev)
    _command(screen, "train", *files, "--output-dir", "models/korquad")


# --- how it looks ------------------------------------------------------------------------------------------


def _heading(screen: Console, number: int | None, text: str) -> None:
    from rich.text import Text

    title = text if number is None else f"{number}. {text}"
    screen.print()
    if screen.is_terminal:
        screen.rule(Text(title, style="bold"), align="left")
    else:
        screen.print(title)


def _table(screen: Console, rows: Sequence[Sequence[str]]) -> None:
    """Aligned columns; Hangul counts as two."""
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 3))
    for first, *rest in rows:
        table.add_row(Text(f"  {first}"), *map(Text, rest))
    screen.print(table)


def _command(screen: Console, *words: object) -> None:
    """The command that does the same by hand, ready to be copied."""
    from rich.text import Text

    line = " ".join([_program(), *map(str, words)])
    screen.print(Text(f"  $ {line}", style="cyan"), soft_wrap=True)


def _program() -> str:
    """How komrc is called here: by its name where the shell finds this one, else by its path."""
    here = Path(sys.executable).with_name("komrc")
    found = shutil.which("komrc")
    if not here.exists() or (found and Path(found).samefile(here)):
        return "komrc"
    return _shown(here)


def _shown(path: Path) -> str:
    """A path as one would type it: relative where it is below the current folder."""
    absolute = Path(os.path.abspath(path))  # noqa: PTH100 - resolve() would follow the links of a virtual environment
    if absolute.is_relative_to(Path.cwd()):
        absolute = absolute.relative_to(Path.cwd())
    return shlex.quote(str(absolute))


def _quoted(example: Example) -> str:
    return f'"{example.question}"'
