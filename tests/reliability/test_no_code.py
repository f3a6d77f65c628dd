"""No pickle is read or written and no foreign code is run, anywhere in the source."""

from __future__ import annotations

import ast
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[2] / "src/komrc"
MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}
CALLS = {"eval", "exec", "torch.save", "torch.hub.load", "yaml.load", "yaml.unsafe_load", "os.system"}
# Keyword arguments and the only value they may have.
KEYWORDS = {"trust_remote_code": False, "allow_pickle": False, "weights_only": True, "shell": False}


def name_of(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return f"{name_of(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def findings(text: str) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = {alias.name.partition(".")[0] for alias in node.names}
            if isinstance(node, ast.ImportFrom):
                names = {(node.module or "").partition(".")[0]}
            found += [f"import {name}" for name in names & MODULES]
        if isinstance(node, ast.Call):
            name = name_of(node.func)
            given = {keyword.arg: keyword.value for keyword in node.keywords if keyword.arg}
            found += [name] if name in CALLS else []
            for key, only in KEYWORDS.items():
                value = given.get(key)
                if value is not None and not (isinstance(value, ast.Constant) and value.value is only):
                    found.append(f"{name}({key}=…)")
            if name == "torch.load" and "weights_only" not in given:
                found.append("torch.load without weights_only")
            if name in ("np.load", "np.save") and "allow_pickle" not in given:
                found.append(f"{name} without allow_pickle")
    return found


def test_the_search_finds_what_it_looks_for() -> None:
    bad = "import pickle\ntorch.load(f)\nnp.load(f)\nf(trust_remote_code=True)\neval(s)"
    assert len(findings(bad)) == 5
    assert findings("torch.load(f, weights_only=x)") != []
    assert findings("torch.load(f, weights_only=True)\nnp.load(f, allow_pickle=False)") == []


def test_nothing_is_unpickled_or_run() -> None:
    found = {path.name: findings(path.read_text(encoding="utf-8")) for path in SOURCE.rglob("*.py")}
    assert {name: what for name, what in found.items() if what} == {}


def test_torch_load_stands_in_one_place() -> None:
    users = [path for path in SOURCE.rglob("*.py") if "torch.load(" in path.read_text(encoding="utf-8")]
    assert [path.name for path in users] == ["weights.py"]
