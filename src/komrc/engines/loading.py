"""Which engine runs a model folder."""

from __future__ import annotations

import logging
import typing
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from komrc import model_folder
from komrc.engines import Engine
from komrc.engines.onnx import GRAPHS, OnnxEngine
from komrc.errors import EngineError, UsageError

logger = logging.getLogger(__name__)

EngineName = Literal["auto", "torch", "onnx", "onnx-int8"]


def load_engine(folder: Path, engine: EngineName = "auto") -> Engine:
    """The engine for a model folder; the log says which one "auto" took.

    Raises UsageError for another name, EngineError where its library or its files are missing, ModelError
    for a damaged model.
    """
    chosen = chosen_engine(folder, engine)
    found = _torch(folder) if chosen == "torch" else OnnxEngine.load(folder, chosen)
    if engine == "auto":
        logger.info("%s: engine %s", folder, found.name)
    return found


def chosen_engine(folder: Path, engine: EngineName = "auto") -> Literal["torch", "onnx", "onnx-int8"]:
    """What ``load_engine`` loads, without loading it. Raises UsageError, ModelError."""
    names = typing.get_args(EngineName)
    if engine not in names:
        raise UsageError(f"no engine is called {engine!r}", where="engine", fix=f"choose {', '.join(names)}")
    model_folder.check(folder)
    graphs = [name for name, graph in GRAPHS.items() if (folder / graph).is_file()]
    if engine == "torch" or (engine == "auto" and not graphs):
        return "torch"
    # "onnx" takes the int8 graph where there is no other.
    return "onnx" if engine != "onnx-int8" and graphs != ["onnx-int8"] else "onnx-int8"


def _torch(folder: Path) -> Engine:
    if find_spec("torch") is None or find_spec("transformers") is None:
        raise EngineError(
            "the torch engine needs PyTorch and transformers",
            where=str(folder),
            fix="run pip install 'komrc[train]', or take another engine",
        )
    from komrc.engines.torch import TorchEngine

    return TorchEngine.load(folder)
