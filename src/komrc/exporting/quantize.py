"""An fp32 graph in int8, with the nodes of ``exporting.int8_nodes``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from komrc.exporting.int8_nodes import Int8Nodes, Quantized
from komrc.modeling.quantized import round_int8
from komrc.types import HEAD_WIDTH


def quantize_graph(source: Path, target: Path) -> None:
    """An fp32 graph of ``optimize`` -> the graph in int8: embedding tables, linear layers except heads."""
    import onnx
    from onnx import numpy_helper

    model = onnx.load(str(source))
    graph = model.graph
    weights = {item.name: item for item in graph.initializer}
    gelu = {name for node in graph.node if node.op_type.endswith("Gelu") for name in node.output}
    made = Int8Nodes()
    inputs: dict[str, Quantized] = {}

    def stored(name: str, values: np.ndarray[Any, Any]) -> str:
        made.initializers[name] = numpy_helper.from_array(np.ascontiguousarray(values), name)
        return name

    def rounded(name: str, axis: int) -> tuple[str, str]:
        """int8 values and float32 scales; ``axis`` is the one that a scale covers."""
        if f"{name}.int8" not in made.initializers:
            weight = numpy_helper.to_array(weights[name])
            values, scale = round_int8(weight, axis=axis)
            stored(f"{name}.int8", values)
            stored(f"{name}.scale", scale if axis == 1 else scale[0])
        return f"{name}.int8", f"{name}.scale"

    def is_table(name: str, *, wide: int) -> bool:
        return name in weights and len(weights[name].dims) == 2 and weights[name].dims[1] > wide

    for node in graph.node:
        if node.op_type == "MatMul" and is_table(node.input[1], wide=HEAD_WIDTH):
            value = node.input[0]
            if value not in inputs:
                inputs[value] = made.quantized(value, after_gelu=value in gelu)
            made.product(inputs[value], *rounded(node.input[1], axis=0), output=node.output[0])
        elif node.op_type == "Gather" and is_table(node.input[0], wide=1):
            made.rows(*rounded(node.input[0], axis=1), node.input[1], output=node.output[0])
        else:
            made.nodes.append(node)
    used = {name for node in made.nodes for name in node.input}
    kept = [item for item in graph.initializer if item.name in used]
    nodes = list(made.nodes)
    del graph.node[:], graph.initializer[:], graph.value_info[:]
    graph.node.extend(nodes)
    graph.initializer.extend([*kept, *made.initializers.values()])
    onnx.save(model, str(target))
