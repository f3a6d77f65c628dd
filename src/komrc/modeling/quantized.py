"""The int8 weights file: one ``model.safetensors`` that torch and ONNX Runtime both read.

Layout, named in the file's metadata ``{"format": "komrc-int8"}``:

* embedding table ``[rows, H]``: int8 in torch's layout, ``<name>.scale`` float32 ``[rows, 1]``;
* linear weight, in torch ``[out, in]``: int8 stored as ``[in, out]``, since ONNX multiplies by it as it is
  in the file, with ``<name>.scale`` float32 ``[out]``;
* everything else (biases, layer norms, heads): float32, as it is.

Every scale is symmetric and belongs to one row of torch's layout: value = int8 * scale.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from komrc.errors import ModelError
from komrc.models import checks
from komrc.storage import write_bytes

FORMAT = "komrc-int8"
SCALE = ".scale"
HEADS = ("qa_outputs.", "boundary.")  # a few rows that decide everything: not worth rounding
Array = NDArray[Any]


def is_quantized(path: Path) -> bool:
    """Whether a safetensors file has this module's layout. Raises ModelError for a damaged file."""
    return checks.read_header(path).metadata.get("format") == FORMAT


def round_int8(weight: Array, *, axis: int) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """A float32 matrix as int8 and float32 scales, symmetric: value = int8 * scale.

    ``axis`` is the one that a scale covers; it has length 1 in the scales.
    """
    scale = np.abs(weight).max(axis=axis, keepdims=True) / np.float32(127)
    scale[scale == 0] = 1  # a row of zeros stays zero
    return np.rint(weight / scale).astype(np.int8), scale


def quantize(state: Mapping[str, Array]) -> dict[str, Array]:
    """float16/32 state dict in torch's layout -> tensors as the file contains them."""
    tensors: dict[str, Array] = {}
    for name, value in state.items():
        weight = np.asarray(value, np.float32)
        if weight.ndim != 2 or name.startswith(HEADS):
            tensors[name] = np.ascontiguousarray(weight)
            continue
        rounded, scale = round_int8(weight, axis=1)
        embedding = "embeddings" in name
        tensors[name] = rounded if embedding else np.ascontiguousarray(rounded.T)
        tensors[name + SCALE] = scale if embedding else np.ascontiguousarray(scale[:, 0])
    return tensors


def dequantize(tensors: Mapping[str, Array]) -> dict[str, NDArray[np.float32]]:
    """Tensors as the file contains them -> float32 state dict in torch's layout."""
    state = {}
    for name, value in tensors.items():
        if name.endswith(SCALE):
            continue
        scale = tensors.get(name + SCALE)
        if scale is None:
            state[name] = value.astype(np.float32)
        elif scale.ndim == 2:
            state[name] = value.astype(np.float32) * scale
        else:
            state[name] = np.ascontiguousarray((value.astype(np.float32) * scale).T)
    return state


def save_quantized(state: Mapping[str, Array], path: Path) -> None:
    """Quantize a state dict and write it. Raises StorageError."""
    write_bytes(path, save(quantize(state), metadata={"format": FORMAT}))


def load_quantized(path: Path) -> dict[str, torch.Tensor]:
    """Read such a file back as a float32 state dict. Raises ModelError for a damaged or other file."""
    if not is_quantized(path):
        raise ModelError(
            "not an int8 weights file", where=str(path), fix="load it as a plain safetensors file"
        )
    try:
        state = dequantize(load_file(path))
    except (SafetensorError, OSError, ValueError) as error:
        raise ModelError(
            f"damaged weights ({error})", where=str(path), fix="fetch or export the model again"
        ) from error
    return {name: torch.from_numpy(value) for name, value in state.items()}
