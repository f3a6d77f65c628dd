"""A recipe's steps run in order, once each; a failure or a changed command runs the rest again."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "recipes/run.py"
APPEND = "python -c \"import sys; open(sys.argv[1], 'a').write(sys.argv[2])\" '{work}/log'"


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "steps.yaml"
    steps = [{"name": name, "run": f"{APPEND} {name}{{mark}}"} for name in ("a", "b", "c")]
    path.write_text(yaml.safe_dump({"variables": {"work": "", "mark": "1"}, "steps": steps}))
    return path


def run(recipe: Path, *values: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, SCRIPT, recipe, "--set", *values], capture_output=True, text=True, check=False
    )


def log(folder: Path) -> str:
    return (folder / "log").read_text()


def test_each_step_runs_once(recipe: Path, tmp_path: Path) -> None:
    assert run(recipe, f"work={tmp_path}").returncode == 0
    again = run(recipe, f"work={tmp_path}")
    assert again.returncode == 0 and again.stderr.count("done before") == 3
    assert log(tmp_path) == "a1b1c1"


def test_a_failure_stops_and_is_tried_again(recipe: Path, tmp_path: Path) -> None:
    broken = yaml.safe_load(recipe.read_text())
    good = broken["steps"][1]["run"]
    broken["steps"][1]["run"] = "python -c 'raise SystemExit(7)'"
    recipe.write_text(yaml.safe_dump(broken))
    failed = run(recipe, f"work={tmp_path}")
    assert failed.returncode == 7 and "exit code 7" in failed.stderr
    assert log(tmp_path) == "a1"
    broken["steps"][1]["run"] = good
    recipe.write_text(yaml.safe_dump(broken))
    assert run(recipe, f"work={tmp_path}").returncode == 0
    assert log(tmp_path) == "a1b1c1"


def test_a_changed_command_runs_it_and_what_follows(recipe: Path, tmp_path: Path) -> None:
    run(recipe, f"work={tmp_path}")
    changed = yaml.safe_load(recipe.read_text())
    changed["steps"][1]["run"] = f"{APPEND} B"
    recipe.write_text(yaml.safe_dump(changed))
    assert run(recipe, f"work={tmp_path}").returncode == 0
    assert log(tmp_path) == "a1b1c1Bc1"


def test_variables_are_checked(recipe: Path, tmp_path: Path) -> None:
    missing = run(recipe, "mark=2")
    assert missing.returncode == 1 and "--set work=" in missing.stderr
    unknown = run(recipe, f"work={tmp_path}", "wrk=x")
    assert unknown.returncode == 1 and "has no variable wrk" in unknown.stderr


@pytest.mark.parametrize("file", sorted((ROOT / "recipes").glob("*/steps.yaml")), ids=lambda p: p.parent.name)
def test_the_steps_of_every_recipe_name_files_of_the_tree(file: Path) -> None:
    recipe = yaml.safe_load(file.read_text(encoding="utf-8"))
    names = [step["name"] for step in recipe["steps"]]
    assert len(set(names)) == len(names)
    for step in recipe["steps"]:
        words = (step.get("run") or step["train"]).split()
        for word in words:
            if word.startswith("recipes/"):
                assert (ROOT / word).is_file(), word
