"""Attention over windows that follow one another in one row, so that padding costs nothing.

transformers passes the windows' edges through its encoders to the attention, as it does for the flash-attn
package; the kernel is PyTorch's own, ``torch.nn.attention.varlen``.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

KERNEL = "komrc_packed"  # its name among transformers' attention kernels


class Packing(NamedTuple):
    """The edges of B windows that follow one another in one row of T tokens."""

    positions: Tensor  # int64 [1, T]: in the token's window
    edges: Tensor  # int32 [B + 1]: window n is tokens edges[n]:edges[n + 1]
    longest: int  # tokens

    @classmethod
    def of(cls, indptr: Tensor) -> Packing:
        """Of the windows' edges as int64 [B + 1]."""
        lengths = indptr.diff()
        first = torch.repeat_interleave(indptr[:-1], lengths)
        positions = torch.arange(len(first), device=indptr.device) - first
        return cls(positions[None], indptr.to(torch.int32), int(lengths.max()))

    def arguments(self) -> dict[str, Any]:
        """The arguments of ``attend``, under the names that transformers gives them."""
        return {
            "cu_seq_lens_q": self.edges,
            "cu_seq_lens_k": self.edges,
            "max_length_q": self.longest,
            "max_length_k": self.longest,
        }


def attend(
    module: nn.Module,  # noqa: ARG001 -- transformers passes it
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,  # noqa: ARG001 -- the edges contain it
    *,
    cu_seq_lens_q: Tensor,
    max_length_q: int,
    scaling: float | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """Query, key, value [1, heads, T, d] -> [1, T, heads, d]; each window attends to itself."""
    if query.is_cuda:
        from torch.nn.attention.varlen import varlen_attn

        q, k, v = (x[0].transpose(0, 1) for x in (query, key, value))
        edges, longest = cu_seq_lens_q, max_length_q
        output: Any = varlen_attn(q, k, v, edges, edges, longest, longest, scale=scaling)
        return output[None], None
    lengths = cu_seq_lens_q.diff().tolist()
    windows = zip(*(torch.split(x, lengths, dim=2) for x in (query, key, value)), strict=True)
    outputs = [F.scaled_dot_product_attention(q, k, v, scale=scaling) for q, k, v in windows]
    return torch.cat(outputs, dim=2).transpose(1, 2), None


def register() -> None:
    """Register the kernel in transformers."""
    from transformers import AttentionInterface, AttentionMaskInterface

    AttentionInterface.register(KERNEL, attend)
    AttentionMaskInterface.register(KERNEL, _no_mask)


def _no_mask(*_: Any, **__: Any) -> None:
    return None
