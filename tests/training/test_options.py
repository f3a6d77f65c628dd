"""Options from the command line and YAML."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pytest

from komrc.errors import UsageError
from komrc.training.options import TrainingOptions, add_options, build_options

RECIPES = Path(__file__).resolve().parents[2] / "recipes/korquad-v1"


def parsed(*argv: str) -> dict[str, Any]:
    parser = argparse.ArgumentParser()
    add_options(parser)
    return vars(parser.parse_args(argv))


def written(folder: Path, text: str) -> Path:
    path = folder / "options.yaml"
    path.write_text(text)
    return path


def test_the_command_line_wins_over_yaml_over_defaults(tmp_path: Path) -> None:
    config = written(
        tmp_path, "learning-rate: 3e-5\nseed: 7\ntrain_file: [a.json, b.json]\noutput_dir: out\n"
    )
    options = build_options(parsed("--seed", "8"), config=config, defaults={"save_steps": 500, "seed": 6})
    assert (options.learning_rate, options.seed, options.save_steps) == (3e-5, 8, 500)
    assert options.train_file == ("a.json", "b.json")
    assert options.num_train_epochs == 3.0


def test_names_are_understood_with_dashes_underscores_and_as_in_2020() -> None:
    assert parsed("--max-seq-length", "9") == parsed("--max_seq_length", "9") == {"max_seq_length": 9}
    assert parsed("--model_name_or_path", "a") == parsed("--model", "a") == {"model": "a"}
    assert parsed("--no-boundary-head") == {"boundary_head": False}
    assert parsed("--train-file", "a", "b") == {"train_file": ["a", "b"]}


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("learning_rat: 1\n", "Did you mean learning_rate"),
        ("xyzzy: 1\n", "no option"),
        ("seed: x\n", "seed"),
        ("seed: true\n", "seed"),
        ("boundary_head: 1\n", "boundary_head"),
        ("precision: fp64\n", "auto or fp32 or bf16"),
        ("train_file: [1]\n", "list of strings"),
        ("- a\n", "no options"),
        ("a: [\n", "not YAML"),
        ("max_seq_length: 2\n", "too small"),
        ("negative_windows: 1.5\n", r"too large.*[Gg]ive 0 to 1"),
    ],
)
def test_a_wrong_yaml_file_is_named_with_what_is_wrong(tmp_path: Path, text: str, what: str) -> None:
    with pytest.raises(UsageError, match=what):
        build_options({"output_dir": "out"}, config=written(tmp_path, text))


def test_a_missing_file_and_a_missing_folder_are_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none\.yaml"):
        build_options({}, config=tmp_path / "none.yaml")
    with pytest.raises(UsageError, match="output folder"):
        build_options({})


@pytest.mark.parametrize("recipe", sorted(RECIPES.glob("*.yaml")), ids=lambda path: path.stem)
def test_each_recipe_of_2020_stands_and_uses_512_tokens(recipe: Path) -> None:
    options = build_options({}, config=recipe)
    assert options.max_seq_length == 512
    assert options.learning_rate == TrainingOptions.learning_rate
    assert options.model_type in ("kobert", "distilkobert", "bert", "distilbert")


def test_there_are_four_recipes() -> None:
    assert len(list(RECIPES.glob("*.yaml"))) == 4
