"""The ONNX graph that computes on the int8 weights file in place.

The graph's initializers are external data: name, offset and length of the tensors in ``model.safetensors``.
Products run in int8, embeddings are gathered as int8 and scaled. BERT encoders only: what the embedded
model is. There is no attention mask, so that ONNX Runtime takes its flash attention: feed windows one at a
time.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import onnx

from komrc.engines.onnx_engine import HEADER_KEY
from komrc.errors import ModelError
from komrc.exporting.int8_nodes import CONTRIB, OPSET, Int8Nodes, Quantized
from komrc.modeling.quantized import SCALE, is_quantized
from komrc.modeling.span_reader import boundary_layer
from komrc.models.checks import read_header
from komrc.storage import write_bytes

PARTS = ("query", "key", "value")


def write_graph(weights: Path, config: dict[str, Any], output: Path) -> None:
    """Write ``output`` (a graph without weights) for ``weights``, which is in the same folder.

    ``config`` is the model's config.json. Raises ModelError where it isn't a BERT with GELU.
    """
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


class _Builder(Int8Nodes):
    """The nodes of a BERT with its heads, over the tensors of one weights file."""

    def __init__(self, weights: Path, config: dict[str, Any]) -> None:
        super().__init__()
        header = read_header(weights)
        self.entries, self.header = header.tensors, header.raw
        self.location = weights.name
        self.config = config

    def build(self) -> Any:
        helper, tensor = self.onnx.helper, self.onnx.TensorProto
        hidden = self.embeddings()
        states = [hidden]
        for layer in range(self.config["num_hidden_layers"]):
            hidden = self.layer(f"bert.encoder.layer.{layer}.", hidden)
            states.append(hidden)
        span = self.float_linear(hidden, "qa_outputs")
        for index, name in enumerate(("start", "end")):
            chosen = self.integer(f"index.{name}", index)
            self.node("Gather", [span, chosen], axis=-1, output=name)
        outputs: list[tuple[str, list[str | int]]] = [
            ("start", ["batch", "length"]),
            ("end", ["batch", "length"]),
        ]
        if "boundary.start.weight" in self.entries:
            early = states[boundary_layer(self.config["num_hidden_layers"])]
            for name, head in (("drop_front", "boundary.start"), ("drop_back", "boundary.end")):
                self.float_linear(early, head, output=name)
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
            ir_version=9,
            opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid(CONTRIB, 1)],
        )
        helper.set_model_props(model, {HEADER_KEY: hashlib.sha256(self.header).hexdigest()})
        return model

    def embeddings(self) -> str:
        types = self.table("bert.embeddings.token_type_embeddings", "token_type_ids")
        words = self.table("bert.embeddings.word_embeddings", "input_ids")
        size = self.node("Shape", ["input_ids"], start=1, end=2)
        length = self.node("Squeeze", [size])
        zero, one = self.integer("zero", 0), self.integer("one", 1)
        places = self.node("Range", [zero, length, one])
        positions = self.table("bert.embeddings.position_embeddings", places)
        total = self.node("Add", [self.node("Add", [words, types]), positions])
        return self.norm(total, "bert.embeddings.LayerNorm")

    def layer(self, prefix: str, hidden: str) -> str:
        """[B, L, H] -> [B, L, H]"""
        inputs = self.quantized(hidden)
        parts = [self.linear(inputs, f"{prefix}attention.self.{part}") for part in PARTS]
        biases = [self.weight(f"{prefix}attention.self.{part}.bias") for part in PARTS]
        heads = self.config["num_attention_heads"]
        context = self.node(
            "MultiHeadAttention",
            [*parts, self.node("Concat", biases, axis=0)],
            domain=CONTRIB,
            num_heads=heads,
        )
        projected = self.linear(self.quantized(context), f"{prefix}attention.output.dense")
        hidden = self.add_and_norm(projected, hidden, f"{prefix}attention.output")
        inner = self.linear(self.quantized(hidden), f"{prefix}intermediate.dense")
        inner = self.node(
            "BiasGelu", [inner, self.weight(f"{prefix}intermediate.dense.bias")], domain=CONTRIB
        )
        outer = self.linear(self.quantized(inner, after_gelu=True), f"{prefix}output.dense")
        return self.add_and_norm(outer, hidden, f"{prefix}output")

    def linear(self, value: Quantized, name: str) -> str:
        """Product with a linear layer's weight; its bias is left to the next node."""
        return self.product(value, self.weight(f"{name}.weight"), self.weight(f"{name}.weight{SCALE}"))

    def table(self, name: str, indices: str) -> str:
        return self.rows(self.weight(f"{name}.weight"), self.weight(f"{name}.weight{SCALE}"), indices)

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

    def shape(self, name: str) -> list[int]:
        shape: Any = self.entries[name]["shape"]
        return list(shape)

    def weight(self, name: str) -> str:
        """The initializer that points at a tensor of the weights file."""
        if name in self.initializers:
            return name
        entry = self.entries[name]
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
