"""Reads a model folder: its configuration and its weights, never any code or pickle."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from komrc import model_folder
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
# A checkpoint of another task may have three classes; a span has a start and an end.
_LEFT_OUT = frozenset({"num_labels", "id2label", "label2id", "transformers_version"})


def read_config(folder: Path, model_type: str | None = None) -> PretrainedConfig:
    """The configuration in ``folder/config.json``; of its keys, those that the model type has.

    Raises ModelError where it is missing, damaged, asks for code, or is of another type than ``model_type``.
    """
    from transformers import CONFIG_MAPPING

    path = folder / CONFIG
    if folder.is_dir():
        model_folder.check(folder)
    try:
        values = model_folder.read_json(path)
    except FileNotFoundError:
        raise ModelError(
            "no config.json in the model folder",
            where=str(folder),
            fix="name a folder that training wrote, or a hub id such as monologg/kobert",
        ) from None
    model_folder.check_config(values, path)
    found = values.pop("model_type", None)
    if not isinstance(found, str | None):
        raise ModelError(f"model_type must be text, found {found!r}", where=str(path), fix="correct it")
    name = agreed_architecture(model_type, found, str(path))
    kind = CONFIG_MAPPING[name]
    try:
        known = (kind().to_dict().keys() | kind.attribute_map.keys()) - _LEFT_OUT
        config: PretrainedConfig = kind.from_dict({key: v for key, v in values.items() if key in known})
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
    if folder.is_dir():
        model_folder.check(folder)
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
        names = sorted(set(model_folder.read_json(index)["weight_map"].values()))
    except (KeyError, AttributeError, TypeError) as error:
        raise ModelError(
            f"can't be read ({error})", where=str(index), fix="copy or download the model again"
        ) from error
    tensors: dict[str, torch.Tensor] = {}
    for name in names:
        tensors.update(_read_safetensors(model_folder.member(folder, name, named_in=index)))
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
