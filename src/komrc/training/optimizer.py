"""The optimizer and the learning rate: AdamW, linear warm-up and decay, lower rates for lower layers."""

from __future__ import annotations

import math
import re

import torch
from torch import nn
from torch.optim.lr_scheduler import LRScheduler
from transformers import get_linear_schedule_with_warmup

from komrc.modeling import SpanReader
from komrc.training.options import TrainingOptions

_NOT_DECAYED = re.compile(r"bias|layernorm|rmsnorm|(?:^|\.)norm(?:$|\.)|_norm(?:$|\.)", re.IGNORECASE)
_LAYER = re.compile(r"\.(?:layers?|h|block)\.(\d+)\.")


def build_optimizer(model: SpanReader, options: TrainingOptions) -> torch.optim.AdamW:
    """Fused AdamW. Biases and norms have no weight decay; the boundary head has its own learning rate; with
    ``layer_decay`` each layer's rate is that share of the rate of the layer above it."""
    norms = {
        id(parameter)
        for module in model.modules()
        if isinstance(module, nn.LayerNorm)
        for parameter in module.parameters(recurse=False)
    }
    depth = _depths(model)
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            rate = options.boundary_learning_rate
            if not name.startswith("boundary."):
                rate = options.learning_rate * options.layer_decay ** depth[name]
            decays = id(parameter) not in norms and not _NOT_DECAYED.search(name)
            groups.setdefault((rate, options.weight_decay if decays else 0.0), []).append(parameter)
    return torch.optim.AdamW(
        [{"params": p, "lr": rate, "weight_decay": decay} for (rate, decay), p in groups.items()],
        lr=options.learning_rate,
        eps=options.adam_epsilon,
        fused=True,
    )


def build_scheduler(
    optimizer: torch.optim.Optimizer, options: TrainingOptions, total_steps: int
) -> LRScheduler:
    """The learning rates rise linearly over the warm-up and then fall linearly to 0 at the last step."""
    warmup = options.warmup_steps or math.ceil(total_steps * options.warmup_ratio)
    scheduler: LRScheduler = get_linear_schedule_with_warmup(  # type: ignore[no-untyped-call]
        optimizer, warmup, total_steps
    )
    return scheduler


def ignore_span_bias(model: SpanReader) -> None:
    """Set the gradient of the span layer's bias to zero.

    A constant added to all logits changes no softmax, so the true gradient is zero. What is computed is
    rounding, and Adam would turn it into steps that differ with the number of processes.
    """
    layer = model.span_layer
    if layer is not None and layer.bias is not None:
        layer.bias.register_hook(torch.zeros_like)  # type: ignore[no-untyped-call]


def _depths(model: nn.Module) -> dict[str, int]:
    """How many layers are above each parameter: 0 for the heads, 1 for the last layer, and so on."""
    layer = {name: _LAYER.search(name) for name, _ in model.named_parameters()}
    count = 1 + max((int(match[1]) for match in layer.values() if match), default=-1)
    return {
        name: count - int(match[1]) if match else count + 1 if "embeddings" in name else 0
        for name, match in layer.items()
    }
