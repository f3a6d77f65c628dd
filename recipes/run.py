"""Run the steps of a recipe, from the first to the last; what is done already is skipped.

    python recipes/run.py recipes/komrc-small/steps.yaml
    python recipes/run.py recipes/no-answer/steps.yaml --set korquad=train.json klue=klue_train.json

A file of steps names its variables with their defaults, and the steps in order:

    variables: {work: work, source: ../shared/data}
    steps:
      - name: data
        run: python recipes/komrc-small/data.py --source {source} --output {work}/data
      - name: korean
        train: recipes/komrc-small/2-korean.yaml --output-dir {work}/korean
        output: "{work}/korean"

``run`` is a command (``python`` is this Python), ``train`` the arguments of ``komrc train --config``, which
resumes by itself. A finished step leaves a mark in ``{work}/.steps``; a step whose command changed, and all
steps after it, run again. Stop with Ctrl-C and give the same command to resume.
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from komrc.storage import write_text


@dataclass(frozen=True)
class Step:
    """A command with its mark; ``output`` is the folder of a training."""

    name: str
    command: tuple[str, ...]
    mark: Path
    output: Path | None

    @property
    def done(self) -> bool:
        return self.mark.is_file() and self.mark.read_text(encoding="utf-8") == shlex.join(self.command)

    def run(self) -> int:
        """The exit code of the command; leaves the mark when it is 0."""
        resume = self.output is not None and any(self.output.glob("checkpoint-*"))
        code = subprocess.run([*self.command, *(["--resume"] if resume else [])], check=False).returncode
        if code == 0:
            write_text(self.mark, shlex.join(self.command))
        return code


def read_steps(file: Path, values: Mapping[str, str]) -> list[Step]:
    """The steps of a recipe with its variables filled in. Exits with a message for what is wrong in it."""
    recipe: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))
    unknown = sorted(set(values) - set(recipe["variables"]))
    if unknown:
        sys.exit(f"{file}: has no variable {', '.join(unknown)}; it has {', '.join(recipe['variables'])}")
    variables = {name: str(value) for name, value in {**recipe["variables"], **values}.items()}
    missing = sorted(name for name, value in variables.items() if value == "")
    if missing:
        sys.exit(f"{file}: needs a value: --set {' '.join(f'{name}=…' for name in missing)}")
    steps = []
    for entry in recipe["steps"]:
        words = [word.format(**variables) for word in shlex.split(entry.get("run") or entry["train"])]
        output = None
        if "train" in entry:
            words = [sys.executable, "-m", "komrc", "train", "--config", *words]
            output = Path(entry["output"].format(**variables))
        elif words[0] == "python":
            words[0] = sys.executable
        mark = Path(variables["work"], ".steps", entry["name"])
        steps.append(Step(entry["name"], tuple(words), mark, output))
    return steps


def run(steps: list[Step]) -> int:
    """Run what is not done; the exit code of the first step that fails, else 0."""
    fresh = True  # every step so far was done before
    for number, step in enumerate(steps, 1):
        title = f"step {number} of {len(steps)}, {step.name}"
        if fresh and step.done:
            print(f"{title}: done before", file=sys.stderr)
            continue
        fresh = False
        step.mark.unlink(missing_ok=True)
        print(f"{title}: {shlex.join(step.command)}", file=sys.stderr)
        begin = time.monotonic()
        if code := step.run():
            print(
                f"{title}: ended with exit code {code}; give the same command to try again", file=sys.stderr
            )
            return code
        print(f"{title}: {(time.monotonic() - begin) / 60:.1f} minutes", file=sys.stderr)
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("steps", type=Path, help="file of steps")
    parser.add_argument("--set", nargs="+", default=[], metavar="NAME=VALUE", help="values of variables")
    args = parser.parse_args()
    if odd := [text for text in args.set if "=" not in text]:
        parser.error(f"--set takes NAME=VALUE, not {odd[0]}")
    values = dict(text.split("=", 1) for text in args.set)
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    try:
        return run(read_steps(args.steps, values))
    except KeyboardInterrupt:
        print("stopped; give the same command to resume", file=sys.stderr)
        return 130


if __name__ == "__main__":
    raise SystemExit(main())
