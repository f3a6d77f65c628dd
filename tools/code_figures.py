"""Figures of a checkout's code: files, lines, imports between rooms, circles, homes of defaults and names.

python tools/code_figures.py            # this checkout
python tools/code_figures.py ../before  # another one
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterable
from pathlib import Path

SETTINGS = {
    *("max_seq_length", "doc_stride", "max_query_length", "n_best_size", "n_best"),
    *("max_answer_length", "max_answer_tokens"),
}
MODEL_FILES = {
    *("config.json", "komrc.json", "model.safetensors", "model.onnx", "model-int8.onnx", "vocab.txt"),
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"),
}
# Documented, in spite of the underscore: of os, and of named tuples.
DOCUMENTED = {"_exit", "_replace"}


def count(folder: Path, *endings: str) -> str:
    """Files and lines below a folder."""
    files = [path for path in folder.rglob("*") if path.suffix in endings and "resources" not in path.parts]
    lines = sum(len(path.read_text(encoding="utf-8").splitlines()) for path in files)
    return f"{len(files)} files, {lines:,} lines"


def imports(tree: ast.AST, package: list[str]) -> set[str]:
    """Full names of everything imported, also inside functions."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            name = ".".join([*base, *filter(None, [node.module])])
            names |= {name, *(f"{name}.{alias.name}" for alias in node.names)}
    return names


def defaults(tree: ast.AST) -> set[str]:
    """Settings of windows and decoding that get a number here, in a field or as a parameter's default."""
    pairs: list[tuple[str, ast.expr | None]] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            pairs.append((node.target.id, node.value))
        elif isinstance(node, ast.arguments):
            names = [argument.arg for argument in [*node.posonlyargs, *node.args]]
            pairs += zip(reversed(names), reversed(node.defaults), strict=False)
            pairs += zip([a.arg for a in node.kwonlyargs], node.kw_defaults, strict=True)
    values = [(n, v.args[0] if isinstance(v, ast.Call) and v.args else v) for n, v in pairs]
    return {n for n, v in values if n in SETTINGS and isinstance(v, ast.Constant) and type(v.value) is int}


def underscored(tree: ast.AST) -> tuple[set[str], set[str]]:
    """Names with a leading underscore: those a module defines, and those it uses of other objects."""
    own = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    used: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            own.add(node.target.id)
        if not isinstance(node, ast.Attribute) or not re.fullmatch("_[A-Za-z].*[^_]", node.attr):
            continue
        owner = ast.unparse(node.value)
        if owner == "super()":
            used.add(f"super().{node.attr}")
        else:
            (own if owner in {"self", "cls"} else used).add(node.attr)
    return own, used


def circles(arrows: Iterable[tuple[str, str]]) -> list[str]:
    """Rooms that reach themselves over the arrows."""
    following: dict[str, set[str]] = {}
    for start, end in arrows:
        following.setdefault(start, set()).add(end)

    def reached(start: str) -> set[str]:
        seen: set[str] = set()
        waiting = [start]
        while waiting:
            new = following.get(waiting.pop(), set()) - seen
            seen |= new
            waiting += new
        return seen

    return sorted(room for room in following if room in reached(room))


def main() -> None:
    root = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
    for folder, *endings in (("src", ".py"), ("tests", ".py"), ("benchmarks", ".py"), ("docs", ".md")):
        print(f"{folder}: {count(root / folder, *endings)}")
    source = root / "src/komrc"
    trees = {p: ast.parse(p.read_text(encoding="utf-8")) for p in sorted(source.rglob("*.py"))}
    rooms = {path.relative_to(source).parts[0].removesuffix(".py") for path in trees}
    rooms -= {"__init__", "__main__"}
    arrows = set()
    for path, tree in trees.items():
        parts = path.relative_to(source).parts
        own = parts[0].removesuffix(".py")
        for name in imports(tree, ["komrc", *parts[:-1]]):
            other = name.removeprefix("komrc.").partition(".")[0]
            if name.startswith("komrc.") and {own, other} <= rooms and own != other:
                arrows.add((own, other))
    picture = (root / "docs/architecture.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\|\s*(\d)\s*\|\s*`([\w/.]+)`", picture, re.MULTILINE)
    layer = {name.removesuffix("/").removesuffix(".py"): int(number) for number, name in rows}
    upward = [arrow for arrow in arrows if layer.get(arrow[1], 0) > layer.get(arrow[0], 9)]
    print(f"rooms: {len(rooms)}; import arrows: {len(arrows)} of {len(rooms) * (len(rooms) - 1)}")
    print(f"rooms in a circle: {len(circles(arrows))}; upward arrows: {len(upward)}")
    homes = [path.relative_to(source).as_posix() for path, tree in trees.items() if defaults(tree)]
    print(f"modules with a default of windows or decoding: {', '.join(homes)}")
    literals = {p: [n.value for n in ast.walk(t) if isinstance(n, ast.Constant)] for p, t in trees.items()}
    naming = [path for path, values in literals.items() if not MODEL_FILES.isdisjoint(map(str, values))]
    print(f"modules with a name of a model's file: {len(naming)}")
    names = {path: underscored(tree) for path, tree in trees.items()}
    own_names = DOCUMENTED.union(*(own for own, _ in names.values()))
    private = {
        f"{p.relative_to(source)} {name}" for p, (_, used) in names.items() for name in used - own_names
    }
    print(f"private members of other packages: {len(private)}", *sorted(private), sep="\n  ")
    longest = max(trees, key=lambda path: len(path.read_text(encoding="utf-8").splitlines()))
    print(f"longest: {longest.relative_to(source)}, {len(longest.read_text().splitlines())} lines")


if __name__ == "__main__":
    main()
