"""The ONNX graph that computes on the int8 weights file in place.

The graph's initializers are external data: name, offset and length of the tensors in ``model.safetensors``.
Products run in int8, embeddings are gathered as int8 and scaled. BERT encoders only: what the embedded
model is.

Each token's activations have a scale of their own. One scale for a whole window, as ONNX Runtime's dynamic
quantization has it, costs 1.2 points of EM, and makes an answer depend on what else is in the batch; the
measurements stand in docs/benchmarks.md. The graph has no attention mask, so that ONNX Runtime takes its
flash attention: feed windows one at a time.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, NamedTuple

from komrc.errors import ModelError
from komrc.modeling.quantized import SCALE, is_quantized, read_header
from komrc.storage import write_bytes

OPSET = 17
CONTRIB = "com.microsoft"
PARTS = ("query", "key", "value")
GELU_BOTTOM = 0.17  # the lowest value of GELU, without its sign
HEADER_KEY = "weights_header_sha256"  # engines.onnx compares it before it trusts the offsets


class Quantized(NamedTuple):
    """Names in the graph of an activation in int8: value = (values - zero) * step * size."""

    values: str  # uint8 [B, L, H]
    size: str  # float32 [B, L, 1]: the token's largest magnitude
    step: str  # scalar
    zero: str  # scalar


def write_graph(weights: Path, config: dict[str, Any], output: Path) -> None:
    """Write ``output`` (a graph without weights) for ``weights``, which lies in the same folder.

    ``config`` is the model's config.json. Raises ModelError where it isn't a BERT with GELU.
    """
    import onnx

    if config.get("model_type") != "bert" or config.get("hidden_act", "gelu") != "gelu":
        raise ModelError(
            f"no int8 graph for model type {config.get('model_type')!r}",
            where=str(weights),
            fix="use `komrc export --quantize int8`",
        )
    if not is_quantized(weights):
        raise ModelError("not an int8 weights file", where=str(weights), fix="quantize it first")
    model = _Builder(weights, config).build()
    write_bytes(output, model.SerializeToString())
    onnx.checker.check_model(str(output))  # by path: it looks at the external data, too


class _Builder:
    """Nodes and initializers of one graph, in the order in which they are made."""

    def __init__(self, weights: Path, config: dict[str, Any]) -> None:
        import onnx

        self.onnx = onnx
        self.table, _, self.header = read_header(weights)
        self.location = weights.name
        self.config = config
        self.nodes: list[Any] = []
        self.initializers: dict[str, Any] = {}

    def build(self) -> Any:
        helper, tensor = self.onnx.helper, self.onnx.TensorProto
        hidden = self.embeddings()
        for layer in range(self.config["num_hidden_layers"]):
            hidden = self.layer(f"bert.encoder.layer.{layer}.", hidden)
        span = self.float_linear(hidden, "qa_outputs")
        for index, name in enumerate(("start", "end")):
            chosen = self.constant(f"index.{name}", index)
            self.node("Gather", [span, chosen], axis=-1, output=name)
        outputs: list[tuple[str, list[str | int]]] = [
            ("start", ["batch", "length"]),
            ("end", ["batch", "length"]),
        ]
        if "boundary.start.weight" in self.table:
            for name, head in (("drop_front", "boundary.start"), ("drop_back", "boundary.end")):
                self.float_linear(hidden, head, output=name)
                classes = self.shape(f"{head}.weight")[0]
                outputs.append((name, ["batch", "length", classes]))
        inputs = [
            helper.make_tensor_value_info("input_ids", tensor.INT64, ["batch", "length"]),
            helper.make_tensor_value_info("token_type_ids", tensor.INT64, ["batch", "length"]),
        ]
        graph = helper.make_graph(
            self.nodes,
            "komrc-int8",
            inputs,
            [helper.make_tensor_value_info(name, tensor.FLOAT, shape) for name, shape in outputs],
            list(self.initializers.values()),
        )
        model = helper.make_model(
            graph,
            producer_name="komrc",
            ir_version=8,
            opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid(CONTRIB, 1)],
        )
        helper.set_model_props(model, {HEADER_KEY: hashlib.sha256(self.header).hexdigest()})
        return model

    def embeddings(self) -> str:
        types = self.rows("bert.embeddings.token_type_embeddings.weight", "token_type_ids")
        words = self.rows("bert.embeddings.word_embeddings.weight", "input_ids")
        size = self.node("Shape", ["input_ids"], start=1, end=2)
        length = self.node("Squeeze", [size])
        zero, one = self.constant("zero", 0), self.constant("one", 1)
        places = self.node("Range", [zero, length, one])
        positions = self.rows("bert.embeddings.position_embeddings.weight", places)
        total = self.node("Add", [self.node("Add", [words, types]), positions])
        return self.norm(total, "bert.embeddings.LayerNorm")

    def layer(self, prefix: str, hidden: str) -> str:
        """[B, L, H] -> [B, L, H]"""
        inputs = self.quantized(hidden, signed=True)
        parts = [self.product(inputs, f"{prefix}attention.self.{part}") for part in PARTS]
        biases = [self.weight(f"{prefix}attention.self.{part}.bias") for part in PARTS]
        heads = self.config["num_attention_heads"]
        context = self.node(
            "MultiHeadAttention",
            [*parts, self.node("Concat", biases, axis=0)],
            domain=CONTRIB,
            num_heads=heads,
        )
        projected = self.product(self.quantized(context, signed=True), f"{prefix}attention.output.dense")
        hidden = self.add_and_norm(projected, hidden, f"{prefix}attention.output")
        inner = self.product(self.quantized(hidden, signed=True), f"{prefix}intermediate.dense")
        inner = self.node(
            "BiasGelu", [inner, self.weight(f"{prefix}intermediate.dense.bias")], domain=CONTRIB
        )
        outer = self.product(self.quantized(inner, signed=False), f"{prefix}output.dense")
        return self.add_and_norm(outer, hidden, f"{prefix}output")

    def quantized(self, value: str, *, signed: bool) -> Quantized:
        """uint8, one scale a token; ``signed=False``: what GELU returns, which is never below -0.17."""
        top = self.node("ReduceMax", [value], axes=[-1], keepdims=1)
        if signed:
            bottom = self.node("Neg", [self.node("ReduceMin", [value], axes=[-1], keepdims=1)])
            size, zero = self.node("Max", [top, bottom]), 128
        else:
            size, zero = self.node("Max", [top, self.real("gelu.floor", GELU_BOTTOM * 191 / 64)]), 64
        step = self.real(f"step.{zero}", 1 / (255 - zero))
        offset = self.byte(f"zero.{zero}", zero)
        relative = self.node("Mul", [value, self.node("Reciprocal", [size])])
        return Quantized(self.node("QuantizeLinear", [relative, step, offset]), size, step, offset)

    def product(self, value: Quantized, name: str) -> str:
        """Product with a linear layer's weight; its bias is left to the next node."""
        weight, scale = self.weight(f"{name}.weight"), self.weight(f"{name}.weight{SCALE}")
        inputs = [value.values, weight, value.step, scale, value.zero]
        relative = self.node("MatMulIntegerToFloat", inputs, domain=CONTRIB)
        return self.node("Mul", [relative, value.size])

    def float_linear(self, value: str, name: str, *, output: str | None = None) -> str:
        product = self.node("FusedMatMul", [value, self.weight(f"{name}.weight")], domain=CONTRIB, transB=1)
        return self.node("Add", [product, self.weight(f"{name}.bias")], output=output)

    def add_and_norm(self, value: str, skip: str, name: str) -> str:
        # Not SkipLayerNormalization: on CPU it takes six times as long as these three nodes.
        biased = self.node("Add", [value, self.weight(f"{name}.dense.bias")])
        return self.norm(self.node("Add", [biased, skip]), f"{name}.LayerNorm")

    def norm(self, value: str, name: str) -> str:
        inputs = [value, self.weight(f"{name}.weight"), self.weight(f"{name}.bias")]
        return self.node("LayerNormalization", inputs, epsilon=self.config["layer_norm_eps"], axis=-1)

    def rows(self, table: str, indices: str) -> str:
        """Rows of an int8 table, as float32."""
        values = self.node("Gather", [self.weight(table), indices])
        scales = self.node("Gather", [self.weight(table + SCALE), indices])
        return self.node("Mul", [self.node("Cast", [values], to=self.onnx.TensorProto.FLOAT), scales])

    def node(
        self,
        operator: str,
        inputs: list[str],
        *,
        domain: str = "",
        output: str | None = None,
        **attributes: Any,
    ) -> str:
        name = output or f"n{len(self.nodes)}"
        self.nodes.append(
            self.onnx.helper.make_node(operator, inputs, [name], domain=domain or None, **attributes)
        )
        return name

    def constant(self, name: str, value: int) -> str:
        return self.scalar(name, value, self.onnx.TensorProto.INT64)

    def byte(self, name: str, value: int) -> str:
        return self.scalar(name, value, self.onnx.TensorProto.UINT8)

    def real(self, name: str, value: float) -> str:
        return self.scalar(name, value, self.onnx.TensorProto.FLOAT)

    def scalar(self, name: str, value: float, kind: int) -> str:
        self.initializers[name] = self.onnx.helper.make_tensor(name, kind, [], [value])
        return name

    def shape(self, name: str) -> list[int]:
        shape: Any = self.table[name]["shape"]
        return list(shape)

    def weight(self, name: str) -> str:
        """The initializer that points at a tensor of the weights file."""
        if name in self.initializers:
            return name
        entry = self.table[name]
        offsets: Any = entry["data_offsets"]
        proto = self.onnx.TensorProto(
            name=name,
            data_type={"I8": self.onnx.TensorProto.INT8, "F32": self.onnx.TensorProto.FLOAT}[
                str(entry["dtype"])
            ],
            dims=self.shape(name),
            data_location=self.onnx.TensorProto.EXTERNAL,
        )
        where = {
            "location": self.location,
            "offset": len(self.header) + offsets[0],
            "length": offsets[1] - offsets[0],
        }
        for key, value in where.items():
            proto.external_data.add(key=key, value=str(value))
        self.initializers[name] = proto
        return name
