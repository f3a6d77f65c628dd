"""Which engine runs a model folder."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Literal

from komrc.engines import Engine
from komrc.engines.onnx_engine import OnnxEngine
from komrc.errors import UsageError, require
from komrc.models import checks
from komrc.models.files import GRAPHS
from komrc.types import ENGINES, EngineName

__all__ = ["EngineName", "chosen_engine", "load_engine"]

logger = logging.getLogger(__name__)

_Chosen = Literal["torch", "torch-bf16", "onnx", "onnx-int8", "openvino", "openvino-bf16"]


def load_engine(folder: Path, engine: EngineName = "auto", *, model_type: str | None = None) -> Engine:
    """The engine for a model folder; the log says which one "auto" took.

    ``model_type``: what the model must be, for the torch engine; None takes what the folder says.

    Raises UsageError for another name, EngineError where its library or its files are missing, ModelError
    for a damaged model.
    """
    chosen = chosen_engine(folder, engine)
    found: Engine
    match chosen:
        case "onnx" | "onnx-int8":
            found = OnnxEngine.load(folder, chosen)
        case "openvino" | "openvino-bf16":
            found = _openvino(folder, chosen)
        case _:
            found = _torch(folder, chosen, model_type)
    if engine == "auto":
        logger.info("%s: engine %s", folder, found.name)
    return found


def chosen_engine(folder: Path, engine: EngineName = "auto") -> _Chosen:
    """What ``load_engine`` loads, without loading it. Raises UsageError, ModelError."""
    if engine not in ENGINES:
        raise UsageError(
            f"no engine is called {engine!r}", where="engine", fix=f"choose {', '.join(ENGINES)}"
        )
    checks.check(folder)
    graphs = [name for name, graph in GRAPHS.items() if (folder / graph).is_file()]
    match engine:
        case "torch" | "torch-bf16" | "onnx-int8" | "openvino" | "openvino-bf16":
            return engine
        case "auto" if not graphs:
            return "torch"
        case _:  # "onnx", too, takes the int8 graph where there is no other
            return "onnx-int8" if graphs == ["onnx-int8"] else "onnx"


def _torch(folder: Path, name: Literal["torch", "torch-bf16"], model_type: str | None) -> Engine:
    require(
        *("torch", "transformers"),
        extra="train",
        purpose=f"engine {name}",
        where=str(folder),
        instead="use another engine",
    )
    from komrc.engines.torch_engine import TorchEngine

    return TorchEngine.load(folder, name, model_type=model_type)


def _openvino(folder: Path, name: Literal["openvino", "openvino-bf16"]) -> Engine:
    require(
        "openvino",
        extra="openvino",
        purpose=f"engine {name}",
        where=str(folder),
        instead="use another engine",
    )
    from komrc.engines.openvino_engine import OpenVinoEngine

    return OpenVinoEngine.load(folder, name)
