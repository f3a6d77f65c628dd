"""``komrc demo``: what the tool is for, and a fine-tuning on texts that the embedded reader can't read."""

from __future__ import annotations

import argparse
import logging
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from komrc import overwriting, storage
from komrc.cli.commands import Commands, add_command
from komrc.data import load_squad
from komrc.errors import UsageError, require
from komrc.metrics import korquad
from komrc.models import hub
from komrc.types import Answer, Example

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from komrc import Reader

_EXAMPLES = """\
examples:
  komrc demo                                  on data that the package carries; needs no network
  KOMRC_DATA=data komrc demo                  the same on KorQuAD (komrc data get korquad-v1 downloads it)
  komrc demo --data data --max-steps 200      a first look at KorQuAD within minutes
  komrc demo --data mine --train-file a.json --predict-file b.json

exit codes: 0 done, 2 usage, 3 the data can't be used, 8 torch is missing, 130 after Ctrl-C
"""

OUTPUT = Path("models/demo")
PASSAGE = "passage.txt"  # what the demo asks about; also the mark of a folder that a demo wrote
_NOTHING = "not in there"
_SHOWN = 3  # questions that are shown with their answers, before and after
_LONG = 3_000  # training questions from which on a CPU is busy for much more than minutes


def add_parser(commands: Commands) -> None:
    """Add the command and its options."""
    parser = add_command(
        commands,
        "demo",
        epilog=_EXAMPLES,
        more="Ask the embedded reader about everyday texts, fine-tune it on texts that it can't read, "
        "and compare before and after. Each step names the command that does the same.",
    )
    what = "where the trained model goes; what a former demo left there is replaced"
    parser.add_argument(
        "--output", type=Path, default=OUTPUT, metavar="FOLDER", help=f"{what} (default: {OUTPUT})"
    )
    parser.add_argument(
        "--data",
        type=Path,
        default=os.environ.get("KOMRC_DATA") or None,
        metavar="FOLDER",
        help="folder with KorQuAD files to use instead (default: KOMRC_DATA, where it is set)",
    )
    parser.add_argument("--train-file", metavar="FILE", help="file in it to train on (default: *train*.json)")
    parser.add_argument(
        "--predict-file", metavar="FILE", help="file in it to evaluate on (default: *dev*.json)"
    )
    parser.add_argument("--max-steps", type=int, metavar="N", help="end the training after so many steps")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Show the whole path; returns the exit code."""
    from rich.console import Console

    from komrc import Reader

    if args.max_steps is not None and args.max_steps < 1:
        raise UsageError(f"{args.max_steps} is too small", where="--max-steps", fix="give 1 or more")
    require(
        *("torch", "transformers", "accelerate"),
        extra="train",
        purpose="the training in the demo",
        where="komrc demo",
        instead="make demo; komrc ask works without",
    )
    train_file, dev_file = find_data(args.data, args.train_file, args.predict_file)
    overwriting.refuse_inputs([args.output], [train_file, dev_file, hub.embedded_model()])
    train, dev = load_squad(train_file), load_squad(dev_file)
    asked = [e for e in dev if e.context == dev[0].context and not e.is_impossible][:_SHOWN]
    _prepare(args.output, asked[0].context)
    logging.basicConfig(format="  %(message)s", level=logging.WARNING)
    logging.getLogger("komrc").setLevel(logging.INFO)

    wide = None if sys.stdout.isatty() else 160  # in a file or a pipe the width of lines is unknown
    screen = Console(highlight=False, markup=False, soft_wrap=True, width=wide)
    reader = Reader.load()
    _title(screen, "1. Ask a text: the answer is cut out of it, to the character, or there is none")
    for _, examples in groupby(load_squad(hub.demo_data("everyday")), key=lambda example: example.context):
        _show(screen, reader, list(examples))
    _command(screen, "ask", '"쉬는 날은?"', "--context", "FILE")

    own = train_file != hub.demo_data("train")
    what = "your data" if own else "airport weather reports in code (METAR)"
    _title(screen, f"2. Read {what}: {len(dev):,} questions, as the embedded reader comes")
    before = {p.id: p.text for p in reader.read_examples(dev, progress=True)}
    _show(screen, reader, asked)
    _command(screen, "evaluate", _path(dev_file), "--model", _path(hub.embedded_model()))

    _title(screen, f"3. Fine-tune it on {len(train):,} questions on other texts")
    code = _train(screen, train_file, dev_file, args, long=len(train) > _LONG)
    if code:
        return code

    _title(screen, "4. Before and after, on the questions that it was not trained on")
    predictions = args.output / "predictions_.json"
    _compare(screen, dev, before, predictions)
    _command(screen, "evaluate", _path(dev_file), _path(predictions))

    _title(screen, "5. Ask again")
    _show(screen, Reader.load(args.output), asked)
    model = ("--model", _path(args.output))
    _command(screen, "ask", f'"{asked[0].question}"', *model, "--context", _path(args.output / PASSAGE))
    _command(screen, "serve", *model)
    screen.print("  To train on KorQuAD v1.0, 60,407 questions: KOMRC_DATA=data komrc demo, after")
    _command(screen, "data", "get", "korquad-v1", "--output", "data")
    return 0


def find_data(folder: Path | None, train_file: str | None, predict_file: str | None) -> tuple[Path, Path]:
    """The files to train and to evaluate on: those that the package carries, or those in a folder.

    In a folder the names decide, unless they are given: *train* or *prerelease* to train, *dev* to evaluate.
    Raises UsageError where there is none or more than one.
    """
    if folder is None and train_file is None and predict_file is None:
        return hub.demo_data("train"), hub.demo_data("dev")
    place = Path() if folder is None else folder.expanduser()
    if not place.is_dir():
        fix = "komrc data get korquad-v1 --output data makes data/"
        raise UsageError("no such folder", where=str(folder), fix=fix)
    train = _pick(place, train_file, ("train", "prerelease"), "--train-file")
    return train, _pick(place, predict_file, ("dev",), "--predict-file")


def _pick(folder: Path, name: str | None, words: Sequence[str], flag: str) -> Path:
    if name is not None:
        if not (folder / name).is_file():
            raise UsageError("no such file", where=str(folder / name), fix=f"check {flag}")
        return folder / name
    names = sorted(path.name for path in folder.glob("*.json"))
    matching = next(filter(None, ([n for n in names if word in n.lower()] for word in words)), [])
    if len(matching) == 1:
        return folder / matching[0]
    what = f"{len(matching)} files could be meant: {', '.join(matching)}"
    if not matching:
        what = f"no file is called *{words[0]}*.json; there is {', '.join(names) or 'no JSON file at all'}"
    raise UsageError(what, where=str(folder), fix=f"choose one with {flag}")


def _prepare(output: Path, passage: str) -> None:
    """Make the folder a demo's. Raises UsageError if it contains other files, StorageError."""
    overwriting.refuse_file_name(output, "--output")
    used = output.is_dir() and any(path.name[0] != "." for path in output.iterdir())
    if used and not (output / PASSAGE).exists():
        what = "the folder contains files that no demo wrote"
        raise UsageError(what, where=str(output), fix="choose another --output")
    storage.write_text(output / PASSAGE, passage + "\n")


def _train(screen: Console, train_file: Path, dev_file: Path, args: argparse.Namespace, *, long: bool) -> int:
    from komrc.options import flag
    from komrc.training.options import build_options
    from komrc.training.train import train

    options: dict[str, Any] = {
        "train_file": str(train_file), "predict_file": str(dev_file), "output_dir": str(args.output),
    }  # fmt: skip
    config = train_file.with_name("train.yaml") if train_file == hub.demo_data("train") else None
    if config is None:
        options |= {"num_train_epochs": 2, "warmup_ratio": 0.1}
    if args.max_steps:
        options["max_steps"] = args.max_steps
    elif long:
        screen.print("  This takes long on a CPU: the estimate follows. --max-steps 200 gives a first look.")
    words = [word for name, value in options.items() for word in (flag(name), shlex.quote(str(value)))]
    _command(screen, "train", *(["--config", _path(config)] if config else []), *words)
    given = {**options, "train_file": (str(train_file),), "overwrite_output_dir": True}
    return train(build_options(given, config=config)).exit_code


def _compare(screen: Console, dev: Sequence[Example], before: Mapping[str, str], predictions: Path) -> None:
    """Official EM and F1 of both, and whether the difference is larger than chance."""
    from komrc.evaluation import load_predictions
    from komrc.report.intervals import mcnemar

    after = load_predictions(predictions)
    for name, answers in (("as it comes", before), ("fine-tuned", after)):
        scores = korquad.score(answers, dev)
        screen.print(f"  {name:<14}EM {scores['exact_match']:5.1f}   F1 {scores['f1']:5.1f}")
    right = [[_right(example, answers.get(example.id, "")) for example in dev] for answers in (before, after)]
    won = sum(now and not then for then, now in zip(*right, strict=True))
    lost = sum(then and not now for then, now in zip(*right, strict=True))
    screen.print(
        f"  Of {len(dev):,} questions {won} became right and {lost} wrong: "
        f"by chance with a probability of {mcnemar(won, lost):.2g} (McNemar's test)."
    )


def _right(example: Example, text: str) -> bool:
    return korquad.best(text, [gold.text for gold in example.answers])[0]


def _show(screen: Console, reader: Reader, examples: Sequence[Example]) -> None:
    """A text with its answers marked, and below it each question with its answer."""
    from rich.padding import Padding
    from rich.text import Text

    answers = [best[0] for best in reader.read_many([(e.question, e.context) for e in examples])]
    text = Text(examples[0].context)
    for answer in answers:
        text.stylize("bold green", answer.start, answer.end)
    screen.print(Padding(text, (1, 2, 0, 2), expand=False))
    for example, answer in zip(examples, answers, strict=True):
        screen.print(Text(f"    {example.question} → ") + _reply(example, answer))


def _reply(example: Example, answer: Answer) -> Text:
    """The answer and its place, and whether it is right."""
    from rich.text import Text

    place = f"  {answer.start}–{answer.end}, {answer.score:.0%} sure" if answer.text else ""
    expected = example.answers[0].text if example.answers else _NOTHING
    verdict = "right" if _right(example, answer.text) else f"right would be: {expected}"
    return Text.assemble((answer.text or _NOTHING, "bold green"), f"{place}, {verdict}")


def _title(screen: Console, text: str) -> None:
    screen.print(f"\n{text}", style="bold")


def _command(screen: Console, *words: str) -> None:
    """The command that does the same by hand, ready to be copied."""
    screen.print(f"  $ {' '.join([_program(), *words])}", style="cyan")


def _program() -> str:
    """``komrc``, or its path where the shell would not find it (a virtual environment that is not active)."""
    here = Path(sys.executable).with_name("komrc")
    on_path = str(here.parent) in os.environ.get("PATH", "").split(os.pathsep)
    return "komrc" if on_path or not here.exists() else _path(here)


def _path(path: Path) -> str:
    """A path as one would type it: relative where it is below the current folder."""
    absolute = Path(os.path.abspath(path))  # noqa: PTH100 - resolve() would follow a virtual environment's links
    return shlex.quote(
        str(absolute.relative_to(Path.cwd()) if absolute.is_relative_to(Path.cwd()) else absolute)
    )
