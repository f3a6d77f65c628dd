"""The public API: which names `komrc` exports, where they come from, and that importing it is cheap."""

from __future__ import annotations

import ast
import importlib.metadata
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import komrc

SOURCE = Path(komrc.__file__)
HEAVY = ("torch", "transformers", "onnxruntime", "numpy", "httpx", "huggingface_hub", "tokenizers", "rich")


def test_exported_members() -> None:
    assert komrc.__all__ == [
        "Answer",
        "AsyncClient",
        "Client",
        "DataError",
        "DocumentAnswer",
        "EngineError",
        "Example",
        "Gold",
        "HubError",
        "Index",
        "InputError",
        "KoBertTokenizer",
        "KomrcError",
        "MissingPackageError",
        "ModelError",
        "Page",
        "Prediction",
        "Reader",
        "ServerError",
        "Span",
        "SpanReaderConfig",
        "SpanReaderForQuestionAnswering",
        "StorageError",
        "TrainingError",
        "TrainingOptions",
        "UsageError",
        "__version__",
        "evaluate",
        "export",
        "from_dataset",
        "load_korquad2",
        "load_squad",
        "to_dataset",
        "train",
    ]


@pytest.mark.parametrize("name", komrc.__all__)
def test_every_name_is_there_and_has_a_docstring(name: str) -> None:
    value = getattr(komrc, name)
    assert name in dir(komrc)
    assert name == "__version__" or (value.__doc__ or "").strip()


def test_names_are_declared_once_and_no_module_hides_one() -> None:
    """A module of the same name would take the place of the function once it is imported."""
    declared = sorted([*komrc._MODULE_OF, "__version__"])
    assert declared == sorted(komrc.__all__) == sorted(names_for_type_checkers())
    assert not set(komrc.__all__) & {module.name for module in pkgutil.iter_modules(komrc.__path__)}


def names_for_type_checkers() -> list[str]:
    """The names that the module imports under TYPE_CHECKING, and the version."""
    tree = ast.parse(SOURCE.read_text(encoding="utf-8"))
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    imported = [node for node in block.body if isinstance(node, ast.ImportFrom)]
    assert {(name.name, node.module) for node in imported for name in node.names} == set(
        komrc._MODULE_OF.items()
    )
    return [name.name for node in imported for name in node.names] + ["__version__"]


def test_every_error_is_exported() -> None:
    import komrc.errors

    of_errors = {
        name
        for name, value in vars(komrc.errors).items()
        if isinstance(value, type) and issubclass(value, komrc.KomrcError)
    }
    assert of_errors <= set(komrc.__all__)


def test_unknown_names_are_attribute_errors() -> None:
    with pytest.raises(AttributeError, match="'nothing'"):
        komrc.nothing  # noqa: B018


def test_importing_is_cheap() -> None:
    code = f"import sys, komrc; dir(komrc); print([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_reader_and_errors_need_no_torch() -> None:
    code = (
        "import sys; sys.modules['torch'] = sys.modules['transformers'] = None\n"
        "from komrc import Client, KomrcError, Reader, load_squad, evaluate, TrainingOptions"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_version_has_one_place() -> None:
    """The installed version is that of the module; an editable install may be older than the source."""
    pyproject = SOURCE.parents[2] / "pyproject.toml"
    if pyproject.is_file():
        text = pyproject.read_text(encoding="utf-8")
        assert 'dynamic = ["version"]' in text and 'path = "src/komrc/__init__.py"' in text
    assert importlib.metadata.version("komrc") == komrc.__version__
