"""The private operators of PyTorch that the bfloat16 layers use: this fails when a release changes them."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from komrc.modeling.onednn import BFloat16Linear, available  # noqa: E402

WIDE = bool(torch.cpu.get_capabilities().get("avx512_bw"))


@pytest.mark.skipif(not WIDE, reason="oneDNN computes in bfloat16 from AVX-512 on")
def test_the_operators_exist() -> None:
    assert available(), "PyTorch changed its private oneDNN operators: torch-bf16 would lose speed"


@pytest.mark.skipif(not WIDE, reason="oneDNN computes in bfloat16 from AVX-512 on")
@pytest.mark.parametrize("after", ["none", "gelu"])
@pytest.mark.parametrize("rows", [1, 40, 500])
@pytest.mark.parametrize("bias", [True, False])
def test_a_layer_has_the_outputs_of_a_linear_layer(after: str, rows: int, bias: bool) -> None:
    torch.manual_seed(0)
    layer = torch.nn.Linear(24, 48, bias=bias)
    inputs = torch.randn(2, rows, 24)
    expected = layer(inputs)
    if after == "gelu":
        expected = torch.nn.functional.gelu(expected)
    with torch.inference_mode():
        outputs = BFloat16Linear(layer, after)(inputs)  # type: ignore[arg-type]
    assert outputs.dtype == torch.bfloat16
    torch.testing.assert_close(outputs.float(), expected, atol=0.03, rtol=0.03)
