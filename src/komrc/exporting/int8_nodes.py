"""ONNX nodes that compute a linear layer in int8, each token's activations with a scale of their own.

One scale for a whole window, as ONNX Runtime's own dynamic quantization has it, lets the largest token
decide the precision of all others; docs/lab-notes/engines.md has the accuracy and the speed of both. A
token's result doesn't depend on what else is in the batch.
"""

from __future__ import annotations

from typing import Any, NamedTuple

OPSET = 20
CONTRIB = "com.microsoft"
_GELU_BOTTOM = 0.17  # the lowest value of GELU, without its sign
_GELU_ZERO = 64  # GELU's outputs are mostly above 0: three quarters of the 256 steps for those


class Quantized(NamedTuple):
    """Names in the graph of an activation in int8: value = (values - zero) * step * size."""

    values: str  # uint8 [B, L, H]
    size: str  # float32 [B, L, 1]: the token's largest magnitude
    step: str  # scalar
    zero: str  # scalar


class Int8Nodes:
    """Nodes and initializers of a graph, in the order in which they are made."""

    def __init__(self) -> None:
        import onnx

        self.onnx = onnx
        self.nodes: list[Any] = []
        self.initializers: dict[str, Any] = {}

    def quantized(self, value: str, *, after_gelu: bool = False) -> Quantized:
        """A float activation [B, L, H] in uint8."""
        last = self._stored("last.axis", [1], -1, self.onnx.TensorProto.INT64)
        top = self.node("ReduceMax", [value, last], keepdims=1)
        if after_gelu:
            zero = _GELU_ZERO
            floor = self.real("gelu.floor", _GELU_BOTTOM * (255 - zero) / zero)
            size = self.node("Max", [top, floor])
        else:
            zero = 128
            bottom = self.node("Neg", [self.node("ReduceMin", [value, last], keepdims=1)])
            # A token of zeros only would divide by zero.
            size = self.node("Max", [top, bottom, self.real("tiny", 1e-20)])
        step = self.real(f"step.{zero}", 1 / (255 - zero))
        offset = self.byte(f"zero.{zero}", zero)
        relative = self.node("Mul", [value, self.node("Reciprocal", [size])])
        return Quantized(self.node("QuantizeLinear", [relative, step, offset]), size, step, offset)

    def product(self, value: Quantized, weight: str, scale: str, *, output: str | None = None) -> str:
        """Product with an int8 weight [H, N] whose columns have float32 scales [N]: float32 [B, L, N]."""
        inputs = [value.values, weight, value.step, scale, value.zero]
        relative = self.node("MatMulIntegerToFloat", inputs, domain=CONTRIB)
        return self.node("Mul", [relative, value.size], output=output)

    def rows(self, table: str, scales: str, indices: str, *, output: str | None = None) -> str:
        """Rows of an int8 table [rows, H] with scales [rows, 1], as float32."""
        values = self.node("Gather", [table, indices])
        chosen = self.node("Gather", [scales, indices])
        cast = self.node("Cast", [values], to=self.onnx.TensorProto.FLOAT)
        return self.node("Mul", [cast, chosen], output=output)

    def node(
        self,
        operator: str,
        inputs: list[str],
        *,
        domain: str = "",
        output: str | None = None,
        **attributes: Any,
    ) -> str:
        """Append a node with one output; returns the output's name."""
        name = output or f"int8.{len(self.nodes)}"
        made = self.onnx.helper.make_node(operator, inputs, [name], domain=domain or None, **attributes)
        self.nodes.append(made)
        return name

    def integer(self, name: str, value: int) -> str:
        """Store an int64; returns its name."""
        return self._stored(name, [], value, self.onnx.TensorProto.INT64)

    def byte(self, name: str, value: int) -> str:
        """Store a uint8; returns its name."""
        return self._stored(name, [], value, self.onnx.TensorProto.UINT8)

    def real(self, name: str, value: float) -> str:
        """Store a float32; returns its name."""
        return self._stored(name, [], value, self.onnx.TensorProto.FLOAT)

    def _stored(self, name: str, shape: list[int], value: float, kind: int) -> str:
        self.initializers[name] = self.onnx.helper.make_tensor(name, kind, shape, [value])
        return name
