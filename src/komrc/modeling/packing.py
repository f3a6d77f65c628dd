"""Attention over windows that lie one behind the other in one row, so that padding costs nothing.

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
    """Where the T real tokens of B windows, padded on the right to length L, lie."""

    at: Tensor  # int64 [T]: in the windows flattened to [B * L]
    positions: Tensor  # int64 [1, T]: in the token's window
    edges: Tensor  # int32 [B + 1]: window n is tokens edges[n]:edges[n + 1]
    shape: tuple[int, int]  # B, L

    @classmethod
    def of(cls, attention_mask: Tensor) -> Packing:
        """Of a mask [B, L], 1 on tokens, 0 on padding."""
        batch, length = attention_mask.shape
        at = attention_mask.flatten().nonzero().flatten()
        edges = F.pad(attention_mask.sum(1).cumsum(0), (1, 0)).to(torch.int32)
        return cls(at, (at % length)[None], edges, (batch, length))

    def pack(self, padded: Tensor) -> Tensor:
        """[B, L] -> [1, T]"""
        return padded.flatten()[self.at][None]

    def unpack(self, packed: Tensor) -> Tensor:
        """[1, T, ...] -> [B, L, ...], zeros at padding"""
        batch, length = self.shape
        rest = packed.shape[2:]
        flat = packed.new_zeros(batch * length, *rest).index_copy(0, self.at, packed[0])
        return flat.view(batch, length, *rest)

    def arguments(self) -> dict[str, Any]:
        """What ``attend`` is to be told, under the names that transformers gives them."""
        longest = self.shape[1]
        return {
            "cu_seq_lens_q": self.edges,
            "cu_seq_lens_k": self.edges,
            "max_length_q": longest,
            "max_length_k": longest,
        }


def attend(
    module: nn.Module,  # noqa: ARG001 -- transformers passes it
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,  # noqa: ARG001 -- the edges say it
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
    """Make the kernel known to transformers."""
    from transformers import AttentionInterface, AttentionMaskInterface

    AttentionInterface.register(KERNEL, attend)
    AttentionMaskInterface.register(KERNEL, _no_mask)


def _no_mask(*_: Any, **__: Any) -> None:
    return None
