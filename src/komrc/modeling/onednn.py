"""Linear layers for inference in bfloat16 whose weights are in the order that oneDNN needs.

PyTorch's own linear layer reorders the weights at every call: the linear layers of a BERT layer take 1.03 to
1.3 times as long (hidden size 256 to 768, 128 and 384 tokens). The operators here are the ones that
torch.compile uses. They are private members of PyTorch, and the only private members that KoMRC uses: no
public interface keeps reordered weights (``torch.utils.mkldnn`` reorders at every call, too). Without them
the engine computes under autocast. ``tests/modeling/test_onednn.py`` fails if a release changes them.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn

from komrc.types import HEAD_WIDTH

# Rows of a product that is fastest: about one window. At twice as many a row takes a quarter longer.
ROWS = 384


def available() -> bool:
    """Whether this PyTorch and processor have the operator."""
    return (
        hasattr(torch.ops.mkldnn, "_linear_pointwise")
        and hasattr(torch.ops.mkldnn, "_reorder_linear_weight")
        and bool(torch.cpu.get_capabilities().get("avx512_bw"))  # what oneDNN's bfloat16 needs
    )


class BFloat16Linear(nn.Module):
    """``nn.Linear`` for inference, maybe with GELU behind it: any float -> bfloat16."""

    def __init__(self, layer: nn.Linear, after: Literal["none", "gelu"]) -> None:
        super().__init__()
        weight = layer.weight.detach().bfloat16()
        self.weight = torch.ops.mkldnn._reorder_linear_weight(weight, ROWS)
        self.bias = None if layer.bias is None else layer.bias.detach().bfloat16()
        self.after = after

    def forward(self, inputs: Tensor) -> Tensor:
        """[..., in] -> [..., out]"""
        operator: Any = torch.ops.mkldnn._linear_pointwise
        outputs: Tensor = operator(inputs.bfloat16(), self.weight, self.bias, self.after, [], "none")
        return outputs


def to_bfloat16(encoder: nn.Module) -> None:
    """Replace an encoder's linear layers in place; all between them stays in float32."""
    from transformers.activations import GELUActivation

    for module in list(encoder.modules()):
        # What BERT and its kin call the layer whose output goes through GELU.
        fused = isinstance(getattr(module, "intermediate_act_fn", None), GELUActivation)
        for name, layer in list(module.named_children()):
            if isinstance(layer, nn.Linear) and layer.out_features > HEAD_WIDTH:
                gelu = fused and name == "dense"
                setattr(module, name, BFloat16Linear(layer, "gelu" if gelu else "none"))
        if fused:
            module.intermediate_act_fn = nn.Identity()
