"""The layer picture of docs/architecture.md, checked against the imports."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from komrc.config import NAMES, DecodingConfig, WindowConfig
from komrc.models import files

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src/komrc"
PICTURE = ROOT / "docs/architecture.md"
TORCH = ("torch", "transformers", "accelerate")
TORCH_ROOMS = ("modeling", "training", "exporting", "engines.torch_engine")


def layers() -> dict[str, int]:
    """Room -> layer, read from the table in docs/architecture.md."""
    rows = re.findall(r"^\|\s*(\d)\s*\|\s*`([\w/.]+)`", PICTURE.read_text(encoding="utf-8"), re.MULTILINE)
    return {name.removesuffix("/").removesuffix(".py"): int(layer) for layer, name in rows}


def modules() -> list[Path]:
    return sorted(SOURCE.rglob("*.py"))


def dotted(path: Path) -> str:
    parts = path.relative_to(SOURCE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room(name: str) -> str:
    """``engines.torch`` -> ``engines``: the first part of a dotted name below komrc."""
    return name.partition(".")[0]


def constants(path: Path) -> list[object]:
    """The values of all constants in a file that are no docstrings."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    alone = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    return [n.value for n in ast.walk(tree) if isinstance(n, ast.Constant) and id(n) not in alone]


def numbers_given(path: Path) -> dict[str, object]:
    """Name -> number, of all fields, variables and parameters that get one in a file, also in a call such as
    ``option(20, …)``."""
    numbers: dict[str, object] = {}
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        pairs: list[tuple[str, ast.expr | None]] = []
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            pairs = [(node.target.id, node.value)]
        elif isinstance(node, ast.Assign):
            pairs = [(target.id, node.value) for target in node.targets if isinstance(target, ast.Name)]
        elif isinstance(node, ast.arguments):
            positional = [*node.posonlyargs, *node.args]
            pairs = [(a.arg, d) for a, d in zip(reversed(positional), reversed(node.defaults), strict=False)]
            pairs += [(a.arg, d) for a, d in zip(node.kwonlyargs, node.kw_defaults, strict=True)]
        for name, value in pairs:
            first = value.args[0] if isinstance(value, ast.Call) and value.args else value
            if isinstance(first, ast.Constant) and type(first.value) in (int, float):
                numbers[name] = first.value
    return numbers


def imports(path: Path) -> set[str]:
    """Full names of everything a file imports, wherever the statement stands."""
    found: set[str] = set()
    package = ["komrc", *path.relative_to(SOURCE).parts[:-1]]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            name = ".".join(filter(None, [base, node.module or ""]))
            found.update({name, *(f"{name}.{alias.name}" for alias in node.names)})
    return found


def rooms_imported(path: Path) -> set[str]:
    rooms = {room(name.removeprefix("komrc.")) for name in imports(path) if name.startswith("komrc.")}
    return rooms & set(layers())


def test_every_room_stands_in_the_picture() -> None:
    there = {room(dotted(path)) for path in modules()} - {"", "__main__"}
    assert there == set(layers())


@pytest.mark.parametrize("path", modules(), ids=dotted)
def test_imports_point_down(path: Path) -> None:
    own = room(dotted(path))
    if own in {"", "__main__"}:
        return  # the package's own face
    level = layers()
    upward = {name for name in rooms_imported(path) if level[name] > level[own]}
    assert not upward, f"{dotted(path)} (layer {level[own]}) imports {upward}"


def test_no_room_imports_in_a_circle() -> None:
    edges = {name: set[str]() for name in layers()}
    for path in modules():
        own = room(dotted(path))
        if own in edges:
            edges[own] |= rooms_imported(path) - {own}

    def reaches(start: str, goal: str, seen: set[str]) -> bool:
        for name in edges[start] - seen:
            seen.add(name)
            if name == goal or reaches(name, goal, seen):
                return True
        return False

    assert [name for name in edges if reaches(name, name, set())] == []


@pytest.mark.parametrize("path", modules(), ids=dotted)
def test_torch_stays_in_its_rooms(path: Path) -> None:
    name = dotted(path)
    if (
        name.startswith(TORCH_ROOMS) or name == "tokenization.kobert"
    ):  # KoBertTokenizer is a transformers class
        return
    used = {found for found in imports(path) if found.partition(".")[0] in TORCH}
    lazy_only = name.startswith(("tokenization", "hub"))
    top = {alias for alias in used if not lazy_only}
    assert not top, f"{name} imports {top}"


MODEL_FILES = {
    *(files.CONFIG, files.SETTINGS, files.WEIGHTS, files.SHARDS, files.PICKLED, *files.GRAPHS.values()),
    *(files.VOCAB, files.TOKENIZER_JSON, files.TOKENIZER_CONFIG, files.SPECIAL_TOKENS, files.CARD),
}


@pytest.mark.parametrize("path", modules(), ids=dotted)
def test_names_of_a_models_files_are_written_in_one_module(path: Path) -> None:
    if dotted(path) != "models.files":
        assert MODEL_FILES.isdisjoint(constants(path)), "use komrc.models.files"


@pytest.mark.parametrize("path", modules(), ids=dotted)
def test_defaults_of_windows_and_decoding_are_written_in_one_module(path: Path) -> None:
    if dotted(path) in {"config", "serving.options"}:  # the server's limits have names of their own meaning
        return
    settings = {*NAMES, *WindowConfig.__slots__, *DecodingConfig.__slots__}
    assert settings.isdisjoint(numbers_given(path)), "use the defaults of komrc.config"


def test_one_module_locks_files() -> None:
    users = {dotted(path) for path in modules() if {"fcntl", "filelock"} & imports(path)}
    assert users == {"system"}


def test_one_facts_second_home_is_noticed(tmp_path: Path) -> None:
    """The tests above fail when a fact gets a second home."""
    module = tmp_path / "module.py"
    module.write_text(
        '''"""config.json in a docstring."""\nname = "config.json"\n'''
        "def f(a, doc_stride=128, *, n_best_size=option(20)): ...\nmax_seq_length: int = option(384, low=8)\n"
    )
    assert "config.json" in constants(module)
    assert numbers_given(module) == {"doc_stride": 128, "n_best_size": 20, "max_seq_length": 384}
