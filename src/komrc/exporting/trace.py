"""A model as an ONNX graph in fp32: traced by torch.onnx, fused by ONNX Runtime's optimizer."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from komrc.errors import ModelError
from komrc.exporting.int8_nodes import OPSET
from komrc.modeling import SpanReader

_ATTENTION = "komrc_onnx"


class _Traced(nn.Module):
    """A SpanReader with as many outputs as it has heads."""

    def __init__(self, reader: SpanReader) -> None:
        super().__init__()
        self.reader = reader

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        return tuple(output for output in self.reader(*inputs) if output is not None)


def write_graph(reader: SpanReader, path: Path) -> None:
    """The model as an ONNX graph in one file: int64 ``input_ids``, ``attention_mask`` and, where the model
    has them, ``token_type_ids`` [batch, length]; float32 ``start``, ``end`` [batch, length] and, with a
    boundary head, ``drop_front``, ``drop_back`` [batch, length, 8]. Raises ModelError."""
    # Sizes of 2 or more: torch.export takes 0 and 1 for constants.
    ids = torch.full((2, 8), 5, dtype=torch.int64)
    names = ["input_ids", "attention_mask"]
    inputs = [ids, torch.ones_like(ids)]
    if reader.uses_token_types:
        names.append("token_type_ids")
        inputs.append(torch.zeros_like(ids))
    outputs = ["start", "end"] + (["drop_front", "drop_back"] if reader.boundary is not None else [])
    traced = _Traced(reader.eval())
    _register_attention()
    try:
        with _quiet(), reader.attending_by(_ATTENTION), torch.inference_mode():
            program = torch.onnx.export(
                traced,
                tuple(inputs),
                input_names=names,
                output_names=outputs,
                dynamic_shapes=(tuple({0: "batch", 1: "length"} for _ in names),),
                opset_version=OPSET,
                dynamo=True,
                verbose=False,
            )
    except Exception as error:  # the exporter raises many kinds for a model that it can't trace
        raise ModelError(
            f"torch.onnx can't trace a {reader.config.model_type} model"
            f" ({str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__})",
            fix="use engine torch for this model",
        ) from error
    assert program is not None
    program.save(str(path), external_data=False)


def _register_attention() -> None:
    """Register ONNX Runtime's attention operator as a kernel of transformers."""
    from transformers import AttentionInterface, AttentionMaskInterface

    AttentionInterface.register(_ATTENTION, _attention)
    AttentionMaskInterface.register(_ATTENTION, _attention_bias)


def _attention(  # noqa: PLR0917 -- called by transformers, in this order
    module: nn.Module,  # noqa: ARG001 -- likewise
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """Query, key, value [B, heads, L, d], additive mask [B, 1, L, L] -> [B, L, heads, d]"""
    batch, heads, length, size = query.shape

    def flat(value: Tensor) -> Tensor:
        if value.shape[1] != heads:  # grouped queries
            value = value.repeat_interleave(heads // value.shape[1], dim=1)
        return value.transpose(1, 2).reshape(batch, -1, heads * size)

    scale = size**-0.5 if scaling is None else float(scaling)
    output = torch.onnx.ops.symbolic(
        "com.microsoft::MultiHeadAttention",
        (flat(query), flat(key), flat(value), None, None, attention_mask),
        attrs={"num_heads": heads, "scale": scale},
        dtype=query.dtype,
        shape=(batch, length, heads * size),
        version=1,
    )
    return output.reshape(batch, length, heads, size), None


def _attention_bias(
    batch_size: int,
    q_length: int,
    kv_length: int,
    *,
    mask_function: Callable[..., Any],
    attention_mask: Tensor | None,
    dtype: torch.dtype,
    **rest: Any,
) -> Tensor | None:
    """What is added to the attention scores: [B, 1, L, L], 0 or the type's lowest value."""
    from transformers.masking_utils import bidirectional_mask_function, eager_mask

    if mask_function is not bidirectional_mask_function or attention_mask is None:
        mask: Tensor | None = eager_mask(
            batch_size,
            q_length,
            kv_length,
            mask_function=mask_function,
            attention_mask=attention_mask,
            dtype=dtype,
            **rest,
        )
        return mask
    lowest = torch.finfo(dtype).min
    bias = torch.where(attention_mask[:, None, None, :].bool(), 0.0, lowest).to(dtype)
    return bias.expand(batch_size, 1, q_length, kv_length)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's remarks on what doesn't concern us, such as torchvision."""
    exporter = logging.getLogger("torch.onnx")
    level = exporter.level
    exporter.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        exporter.setLevel(level)


def optimize(path: Path, *, heads: int, hidden: int) -> None:
    """Fuse operators of the graph in place, by ONNX Runtime's transformer optimizer."""
    from onnxruntime.transformers import optimizer
    from onnxruntime.transformers.fusion_options import FusionOptions

    options = FusionOptions("bert")
    # On the CPU, ONNX Runtime's SkipLayerNormalization is slower than the nodes it replaces.
    options.enable_skip_layer_norm = False
    options.enable_bias_skip_layer_norm = False
    options.enable_embed_layer_norm = False
    chatter = logging.getLogger("onnxruntime.transformers")
    level = chatter.level
    chatter.setLevel(logging.ERROR)
    logging.getLogger("fusion_base").setLevel(logging.ERROR)
    try:
        fused = optimizer.optimize_model(
            str(path),
            model_type="bert",
            num_heads=heads,
            hidden_size=hidden,
            optimization_options=options,
            opt_level=0,
        )
    finally:
        chatter.setLevel(level)
    fused.save_model_to_file(str(path))
