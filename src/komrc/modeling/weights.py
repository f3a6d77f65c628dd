"""Reads a model folder: its configuration and its weights, never any code or pickle."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from komrc.errors import ModelError
from komrc.modeling.names import agreed_architecture
from komrc.modeling.quantized import is_quantized, load_quantized

if TYPE_CHECKING:
    from transformers import PretrainedConfig

logger = logging.getLogger(__name__)

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
SHARDS = "model.safetensors.index.json"
PICKLED = "pytorch_model.bin"
# Keys that choose code or kernels: the program decides about those, not a downloaded file.
_REFUSED_KEYS = frozenset({"auto_map", "attn_implementation", "custom_pipelines", "quantization_config"})


def read_config(folder: Path, model_type: str | None = None) -> PretrainedConfig:
    """The configuration in ``folder/config.json``; keys that would choose code are left out.

    Raises ModelError where it is missing, damaged or of another type than ``model_type``.
    """
    from transformers import CONFIG_MAPPING

    path = folder / CONFIG
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelError(
            "no config.json in the model folder",
            where=str(folder),
            fix="name a folder that training wrote, or a hub id such as monologg/kobert",
        ) from None
    except (OSError, ValueError) as error:
        raise ModelError(
            f"can't be read ({error})", where=str(path), fix="copy or download the model again"
        ) from error
    if not isinstance(values, dict):
        raise ModelError("is not a JSON object", where=str(path), fix="copy or download the model again")
    name = agreed_architecture(model_type, values.pop("model_type", None), str(path))
    values = {key: v for key, v in values.items() if not key.startswith("_") and key not in _REFUSED_KEYS}
    # A checkpoint of another task may have three classes; a span has a start and an end.
    for labels in ("num_labels", "id2label", "label2id"):
        values.pop(labels, None)
    try:
        config: PretrainedConfig = CONFIG_MAPPING[name].from_dict(values)
    except Exception as error:  # transformers and huggingface_hub raise their own kinds on a bad value
        raise ModelError(
            f"has values that a {name} model can't have ({error})",
            where=str(path),
            fix="copy or download the model again",
        ) from error
    return config


def read_weights(folder: Path) -> dict[str, torch.Tensor]:
    """All tensors of a folder as float32 (integers as they are).

    Reads safetensors in float32, float16, bfloat16 or KoMRC's int8, in one file or in shards; a
    ``pytorch_model.bin`` only where there is no other, through torch's weights-only unpickler.
    Raises ModelError.
    """
    if (folder / WEIGHTS).is_file():
        return _read_safetensors(folder / WEIGHTS)
    if (folder / SHARDS).is_file():
        return _read_shards(folder)
    if (folder / PICKLED).is_file():
        return _read_pickled(folder / PICKLED)
    raise ModelError(
        "no model.safetensors in the model folder",
        where=str(folder),
        fix="name a folder that training wrote, or a hub id such as monologg/kobert",
    )


def _as_float32(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.float() if tensor.is_floating_point() else tensor


def _read_safetensors(path: Path) -> dict[str, torch.Tensor]:
    try:
        if is_quantized(path):
            return load_quantized(path)
        return {name: _as_float32(tensor) for name, tensor in load_file(path).items()}
    except (OSError, SafetensorError) as error:
        raise ModelError(
            f"can't be read ({error})", where=str(path), fix="copy or download the model again"
        ) from error


def _read_shards(folder: Path) -> dict[str, torch.Tensor]:
    index = folder / SHARDS
    try:
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise ModelError(
            f"can't be read ({error})", where=str(index), fix="copy or download the model again"
        ) from error
    tensors: dict[str, torch.Tensor] = {}
    for name in names:
        if Path(name).name != name:
            raise ModelError(f"names a file outside the folder: {name!r}", where=str(index))
        tensors.update(_read_safetensors(folder / name))
    return tensors


def _read_pickled(path: Path) -> dict[str, torch.Tensor]:
    logger.warning(
        "%s: a pickle file and no safetensors; reading tensors only (weights_only=True), no code is run", path
    )
    try:
        loaded: Any = torch.load(path, map_location="cpu", weights_only=True, mmap=False)
    except Exception as error:  # the unpickler raises many kinds on a hostile or damaged file
        raise ModelError(
            "holds something other than tensors, or is damaged",
            where=str(path),
            fix="use a model with safetensors weights",
        ) from error
    if not isinstance(loaded, dict) or not all(isinstance(v, torch.Tensor) for v in loaded.values()):
        raise ModelError(
            "is not a table of tensors", where=str(path), fix="use a model with safetensors weights"
        )
    return {str(name): _as_float32(tensor) for name, tensor in loaded.items()}
