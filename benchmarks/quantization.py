"""Which quantization: accuracy, speed and size of the ways that ONNX Runtime offers, and of ours.

    python -m benchmarks.quantization MODEL_FOLDER WORK_FOLDER QUESTIONS          prints JSON

MODEL_FOLDER holds float weights. The same fp32 graph goes into every way.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from benchmarks.rounds import say
from benchmarks.workload import questions, spread
from komrc import load_squad
from komrc.config import ReaderConfig, WindowConfig
from komrc.engines.onnx_engine import OnnxEngine
from komrc.exporting.quantize import quantize_graph
from komrc.exporting.trace import optimize, write_graph
from komrc.metrics import korquad
from komrc.modeling import SpanReader
from komrc.models import hub
from komrc.reader import Reader
from komrc.tokenization import ReaderTokenizer, load_tokenizer
from komrc.types import Example
from komrc.windows import build_windows, collate


class Calibration:
    """Inputs for static quantization, as onnxruntime asks for them."""

    def __init__(self, tokenizer: ReaderTokenizer, examples: list[Example], inputs: set[str]) -> None:
        windows = build_windows(examples, tokenizer, WindowConfig(), labels=False)
        self.batches: Iterator[dict[str, Any]] = (
            {name: value for name, value in self._named(batch).items() if name in inputs}
            for n in range(len(windows))
            for batch in [collate(windows, np.array([n]))]
        )

    @staticmethod
    def _named(batch: Any) -> dict[str, Any]:
        return dict(zip(("input_ids", "attention_mask", "token_type_ids"), batch.padded(0), strict=True))

    def get_next(self) -> dict[str, Any] | None:
        return next(self.batches, None)


def variants(graph: Path, folder: Path, tokenizer: ReaderTokenizer) -> dict[str, Path]:
    from onnxruntime.quantization import QuantType, quantize_dynamic, quantize_static

    model = onnx.load(str(graph))
    # What an optimized graph is called by: names are needed to leave nodes out.
    for number, node in enumerate(model.graph.node):
        node.name = f"{node.op_type}_{number}"
    named = folder / "named.onnx"
    onnx.save(model, str(named))
    gelu = {name for node in model.graph.node if node.op_type.endswith("Gelu") for name in node.output}
    weights = {item.name: item for item in model.graph.initializer}
    products = [node for node in model.graph.node if node.op_type == "MatMul" and node.input[1] in weights]
    heads = [node.name for node in products if weights[node.input[1]].dims[1] <= 8]
    outputs = [node.name for node in products if node.input[0] in gelu]

    def made(name: str) -> str:
        return str(folder / f"{name}.onnx")

    shared: dict[str, Any] = {"op_types_to_quantize": ["MatMul"], "weight_type": QuantType.QInt8}
    quantize_dynamic(named, made("dynamic"), nodes_to_exclude=heads, **shared)
    quantize_dynamic(named, made("dynamic-columns"), nodes_to_exclude=heads, per_channel=True, **shared)
    quantize_dynamic(named, made("dynamic-ffn"), nodes_to_exclude=heads + outputs, per_channel=True, **shared)
    examples = load_squad(hub.sample_data("train"))[:40]
    quantize_static(
        named,
        made("static"),
        Calibration(tokenizer, examples, {item.name for item in model.graph.input}),  # type: ignore[arg-type]
        nodes_to_exclude=heads,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        **shared,
    )
    quantize_graph(graph, Path(made("tokens")))
    return {
        "fp32": graph,
        "dynamic, one scale a weight matrix": Path(made("dynamic")),
        "dynamic, one scale a column": Path(made("dynamic-columns")),
        "the same, second FFN layer in fp32": Path(made("dynamic-ffn")),
        "static (QDQ), one scale a column": Path(made("static")),
        "one scale a token and a column (KoMRC)": Path(made("tokens")),
    }


def main() -> None:
    source, folder, count = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer, settings = load_tokenizer(source), ReaderConfig.load(source)
    graph = folder / "fp32.onnx"
    model = SpanReader.from_pretrained(source)
    write_graph(model, graph)
    optimize(graph, heads=model.config.num_attention_heads, hidden=model.config.hidden_size)
    ways = variants(graph, folder, tokenizer)
    readers = {name: Reader(tokenizer, OnnxEngine(path), settings) for name, path in ways.items()}
    examples = spread(questions(), count)
    texts: dict[str, dict[str, str]] = {name: {} for name in ways}
    seconds = dict.fromkeys(ways, 0.0)
    for begin in range(0, len(examples), 32):
        part = examples[begin : begin + 32]
        for name, reader in readers.items():  # in turns, so that all see the same machine
            began = time.perf_counter()
            predictions = reader.read_examples(part)
            seconds[name] += time.perf_counter() - began
            texts[name] |= {p.id: p.text for p in predictions}
        say(f"{begin + len(part)} of {len(examples)} questions")
    figures = {}
    for name, path in ways.items():
        scores = korquad.score(texts[name], examples)
        figures[name] = {
            "exact_match": scores["exact_match"],
            "f1": scores["f1"],
            "same answer": 100 * float(np.mean([texts[name][i] == t for i, t in texts["fp32"].items()])),
            "ms a question": 1000 * seconds[name] / len(examples),
            "MB": path.stat().st_size / 1e6,
        }
    print(json.dumps({"questions": len(examples), "model": source.name, "ways": figures}))


if __name__ == "__main__":
    main()
