"""Reads a model folder: its configuration and its weights, never any code or pickle."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from komrc.errors import ModelError
from komrc.modeling.names import agreed_architecture, recognised
from komrc.modeling.quantized import is_quantized, load_quantized
from komrc.models import checks, files
from komrc.models.files import CONFIG, PICKLED, SHARDS, WEIGHTS

if TYPE_CHECKING:
    from transformers import PretrainedConfig

logger = logging.getLogger(__name__)

# A checkpoint of another task may have three classes; a span has a start and an end.
_LEFT_OUT = frozenset({"num_labels", "id2label", "label2id", "transformers_version"})
# What transformers' models read from a configuration although its class doesn't declare it. Left out, they
# would silently be other models.
UNDECLARED = frozenset(
    {
        "attention_head_size", "conv_act", "conv_groups", "conv_kernel_size", "decoder_start_token_id",
        "embedding_size", "head_dim", "norm_rel_ebd", "position_buckets", "share_att_key", "talking_head",
    }
)  # fmt: skip
_WEIGHTS_ALONE = "save the weights alone, with model.save_pretrained(folder)"
_FOREIGN = ("tf_model.h5", "flax_model.msgpack")  # TensorFlow's and Flax' weights


def read_config(
    folder: Path, model_type: str | None = None, *, weight_names: Callable[[], Iterable[str]] = tuple
) -> PretrainedConfig:
    """The configuration in ``folder/config.json``; of its keys, those that the model type has.

    Args:
        model_type: what it must be; None: the type in the file.
        weight_names: gives the names of the model's weights, which show the type if the file names none.

    Raises ModelError where it is missing, damaged, asks for code, or is of another type than ``model_type``.
    """
    from transformers import CONFIG_MAPPING

    path = folder / CONFIG
    if folder.is_dir():
        checks.check(folder)
    try:
        values = files.read_json(path)
    except FileNotFoundError:
        raise ModelError(
            "no config.json in the model folder",
            where=str(folder),
            fix="name a folder that training wrote, or a hub id such as monologg/kobert",
        ) from None
    checks.check_config(values, path)
    stated_type = values.pop("model_type", None)
    if not isinstance(stated_type, str | None):
        raise ModelError(f"model_type must be text, found {stated_type!r}", where=str(path), fix="correct it")
    if stated_type is None and model_type is None:
        stated_type = recognised(values.get("architectures"), weight_names)
    name = agreed_architecture(model_type, stated_type, str(path))
    kind = CONFIG_MAPPING[name]
    try:
        beside = {key for key in UNDECLARED if not hasattr(kind, key)}
        known = (kind().to_dict().keys() | kind.attribute_map.keys() | beside) - _LEFT_OUT
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
        checks.check(folder)
    if (folder / WEIGHTS).is_file():
        return _read_safetensors(folder / WEIGHTS)
    if (folder / SHARDS).is_file():
        return _read_shards(folder)
    if (folder / PICKLED).is_file():
        return _read_pickled(folder / PICKLED)
    for name in _FOREIGN:
        if (folder / name).is_file():
            raise ModelError(
                f"contains {name} only, weights that PyTorch can't read",
                where=str(folder),
                fix="convert them with transformers 4, where TensorFlow or Flax is installed: AutoModel…."
                "from_pretrained(folder, from_tf=True or from_flax=True).save_pretrained(folder)",
            )
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
        names = sorted(set(files.read_json(index)["weight_map"].values()))
    except (KeyError, AttributeError, TypeError) as error:
        raise ModelError(
            f"can't be read ({error})", where=str(index), fix="copy or download the model again"
        ) from error
    tensors: dict[str, torch.Tensor] = {}
    for name in names:
        tensors.update(_read_safetensors(checks.member(folder, name, named_in=index)))
    return tensors


def _read_pickled(path: Path) -> dict[str, torch.Tensor]:
    logger.warning(
        "%s: a pickle file and no safetensors; reading tensors only (weights_only=True), no code is run", path
    )
    try:
        loaded: Any = torch.load(path, map_location="cpu", weights_only=True, mmap=False)
    except Exception as error:  # the unpickler raises many kinds on a hostile or damaged file
        raise ModelError(
            "contains something other than tensors, or is damaged",
            where=str(path),
            fix=_WEIGHTS_ALONE,
        ) from error
    tables = [loaded] if _is_table(loaded) else _tables(loaded)
    if len(tables) != 1:
        raise ModelError(
            f"contains {len(tables) or 'no'} tables of tensors, not one",
            where=str(path),
            fix=_WEIGHTS_ALONE,
        )
    return {str(name): _as_float32(tensor) for name, tensor in tables[0].items()}


def _is_table(value: Any) -> bool:
    return (
        isinstance(value, dict) and bool(value) and all(isinstance(v, torch.Tensor) for v in value.values())
    )


def _tables(checkpoint: Any) -> list[dict[str, torch.Tensor]]:
    """The weights in a trainer's checkpoint: {"model": {...}, "epoch": 3, ...}."""
    return (
        [value for value in checkpoint.values() if _is_table(value)] if isinstance(checkpoint, dict) else []
    )
