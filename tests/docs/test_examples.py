"""The examples run: scripts as programs, notebooks cell by cell."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
QUICK = ["--max-steps", "1", "--eval-steps", "-1", "--save-steps", "-1", "--no-particle-labels"]
SCRIPTS = {  # name -> (arguments, package that it needs, part of what it prints)
    "ask.py": ([], None, "세종"),
    "read_many.py": ([], None, "answers in answers.jsonl"),
    "fine_tune.py": (["mine", *QUICK], "torch", "년"),
    "serve_and_ask.py": ([], "fastapi", "세종"),
    "no_answer.py": ([], None, "different places:"),
}
NOTEBOOKS = {"ask.ipynb": None, "error_report.ipynb": "matplotlib"}  # name -> package that it needs


def test_every_example_is_run_here() -> None:
    assert {path.name for path in EXAMPLES.glob("*.py")} == set(SCRIPTS)
    assert {path.name for path in EXAMPLES.glob("*.ipynb")} == set(NOTEBOOKS)


@pytest.mark.parametrize("name", SCRIPTS)
def test_script(name: str, own_folder: Path, shell_environment: dict[str, str]) -> None:
    arguments, package, printed = SCRIPTS[name]
    require(package)
    done = subprocess.run(
        [sys.executable, EXAMPLES / name, *arguments],
        check=False,
        cwd=own_folder,
        env=shell_environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert printed in done.stdout


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebook(name: str, own_folder: Path) -> None:
    require(NOTEBOOKS[name])
    names: dict[str, Any] = {"__name__": "__main__"}
    for number, code in enumerate(code_cells(EXAMPLES / name), 1):
        exec(compile(code, f"{name}, code cell {number}", "exec"), names)


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebook_is_stored_without_outputs(name: str) -> None:
    notebook = json.loads((EXAMPLES / name).read_text(encoding="utf-8"))
    assert notebook["nbformat"] == 4
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            assert not cell["outputs"] and cell["execution_count"] is None


def code_cells(notebook: Path) -> list[str]:
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]


def require(package: str | None) -> None:
    if package and importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
