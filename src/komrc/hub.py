"""Where models and sample data come from: a folder, a hub id, or what the package carries."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files as package_files
from pathlib import Path
from typing import Literal

from komrc.errors import ModelError


def embedded_model() -> Path:
    """The folder of the Korean reader that the package carries."""
    return Path(str(package_files("komrc"))) / "resources" / "model"


def sample_data(part: Literal["train", "dev"]) -> Path:
    """The file of the sample set that the package carries, in KorQuAD v1.0 form."""
    return Path(str(package_files("komrc"))) / "resources" / "sample" / f"{part}.json"


def resolve(
    name: str | Path | None,
    *,
    files: Sequence[str] | None = None,
    revision: str | None = None,
    offline: bool | None = None,
) -> Path:
    """The folder that holds a model's files: a folder as it is, None for the embedded model."""
    if name is None:
        return embedded_model()
    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder
    raise ModelError("no such folder", where=str(name), fix="check the name")
