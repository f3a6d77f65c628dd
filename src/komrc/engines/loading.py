"""Which engine runs a model folder."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, Literal

from komrc.engines import Engine
from komrc.engines.choice import ChosenEngine, Circumstances, choose
from komrc.engines.onnx_engine import OnnxEngine
from komrc.errors import UsageError, require
from komrc.models import checks
from komrc.types import ENGINES, EngineName

__all__ = ["EngineName", "chosen_engine", "load_engine"]

logger = logging.getLogger(__name__)

_TORCH_OF_DTYPE: dict[str, EngineName] = {"float32": "torch", "bfloat16": "torch-bf16"}


def load_engine(
    folder: Path,
    engine: EngineName = "auto",
    *,
    model_type: str | None = None,
    device: Any = None,
    dtype: Any = None,
) -> Engine:
    """The engine for a model folder; the log names the one that "auto" chose.

    Args:
        model_type: what the model must be, for the torch engine; None: the type in the folder.
        device: where to compute, such as "cpu", "cuda:1", 1 (that GPU), -1 (CPU) or a torch.device. Others
            than the CPU need the torch engine, which "auto" then takes. None: a GPU where the torch engine
            finds one.
        dtype: "float32", "bfloat16" or torch's own, for the torch engine, which "auto" then takes. None: what
            the engine's name means.

    Raises UsageError for another name, device or dtype, EngineError where the engine's library or its files
    are missing, ModelError for a damaged model.
    """
    place = _device_name(device)
    engine = _with_dtype(engine, dtype)
    if engine == "auto" and place not in (None, "cpu"):
        engine = "torch"
    chosen, reason = chosen_engine(folder, engine)
    if place not in (None, "cpu") and not chosen.startswith("torch"):
        raise UsageError(
            f"engine {chosen} computes on the CPU only, not on {place}",
            where="device",
            fix='use engine="torch", or leave device out',
        )
    loaded: Engine
    match chosen:
        case "onnx" | "onnx-int8":
            loaded = OnnxEngine.load(folder, chosen)
        case "openvino" | "openvino-bf16":
            loaded = _openvino(folder, chosen)
        case _:
            loaded = _torch(folder, chosen, model_type, place)
    if engine == "auto":
        logger.info("%s: engine %s (%s)", folder, loaded.name, reason)
    return loaded


def chosen_engine(folder: Path, engine: EngineName = "auto") -> tuple[ChosenEngine, str]:
    """What ``load_engine`` loads, and why, without loading it. Raises UsageError, ModelError."""
    if engine not in ENGINES:
        raise UsageError(
            f"no engine is called {engine!r}", where="engine", fix=f"choose {', '.join(ENGINES)}"
        )
    checks.check(folder)
    if engine == "auto":
        choice = choose(Circumstances.of(folder))
        return choice.engine, choice.reason
    if engine == "onnx" and Circumstances.of(folder).graphs == {"onnx-int8"}:
        return "onnx-int8", "the int8 graph is the only one in the folder"
    return engine, "asked for"


def _device_name(device: Any) -> str | None:
    """``device`` as torch spells it."""
    if isinstance(device, int) and not isinstance(device, bool):
        return "cpu" if device < 0 else f"cuda:{device}"
    return None if device is None else str(device)


def _with_dtype(engine: EngineName, dtype: Any) -> EngineName:
    """The engine of this name, or in place of "auto", that computes in ``dtype``."""
    if dtype is None or dtype == "auto":
        return engine
    name = _TORCH_OF_DTYPE.get(str(dtype).removeprefix("torch."))
    if name is None:
        raise UsageError(f"can't compute in {dtype}", where="dtype", fix='use "float32" or "bfloat16"')
    if engine not in ("auto", "torch", name):
        raise UsageError(
            f"engine {engine} has a precision of its own", where="dtype", fix=f'use engine="{name}"'
        )
    return name


def _torch(
    folder: Path, name: Literal["torch", "torch-bf16"], model_type: str | None, device: str | None
) -> Engine:
    require(
        *("torch", "transformers"),
        extra="train",
        purpose=f"engine {name}",
        where=str(folder),
        instead="use another engine",
    )
    from komrc.engines.torch_engine import TorchEngine

    return TorchEngine.load(folder, name, model_type=model_type, device=device)


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
