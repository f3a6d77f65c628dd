"""How fast this machine multiplies matrices at a model's shapes, and how long the model's products take at
that speed: the compute limit.

The best of the libraries at hand counts: PyTorch (oneDNN, MKL), NumPy, ONNX Runtime.

    python -m benchmarks.gemm          prints GFLOP/s by type and product, as JSON
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

ROWS = (320, 640, 1280, 2560)  # tokens at once; the best of them counts
TOKENS = 320  # of an attention product: what a window has in the middle


@dataclass(frozen=True)
class Shape:
    """A BERT's sizes."""

    hidden: int
    inner: int
    layers: int
    heads: int

    def products(self, length: int) -> dict[str, float]:
        """FLOP of one window of ``length`` tokens, by kind of product."""
        h, f = self.hidden, self.inner
        return {
            "square": self.layers * 2.0 * length * 4 * h * h,
            "up": self.layers * 2.0 * length * h * f,
            "down": self.layers * 2.0 * length * f * h,
            "attention": self.layers * 4.0 * length * length * h,
        }


KOBERT = Shape(768, 3072, 12, 12)


def best(run: Callable[[], object], flop: float, seconds: float = 0.4) -> float:
    """GFLOP/s of the fastest of the runs that fit into the time."""
    run()
    fastest, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end:
        began = time.perf_counter()
        run()
        fastest = min(fastest, time.perf_counter() - began)
    return flop / fastest / 1e9


def speeds(shape: Shape) -> dict[str, dict[str, float]]:
    """GFLOP/s by type and kind of product."""
    h, f = shape.hidden, shape.inner
    found: dict[str, dict[str, float]] = {"fp32": {}, "bf16": {}, "int8": {}}
    for kind, (k, n) in {"square": (h, h), "up": (h, f), "down": (f, h)}.items():
        for precision, speed in found.items():
            speed[kind] = max(
                best(run, 2.0 * rows * k * n) for rows in ROWS for run in _runs(precision, rows, k, n)
            )
    attention = _attention(shape)
    for precision, speed in found.items():  # ONNX Runtime's int8 graph attends in fp32
        speed["attention"] = attention["bf16" if precision == "bf16" else "fp32"]
    return found


def _runs(precision: str, rows: int, k: int, n: int) -> list[Callable[[], object]]:
    import torch

    a, w = np.ones((rows, k), np.float32), np.ones((k, n), np.float32)
    if precision == "int8":
        session = _session(k, n, quantized=True)
        feeds = {"a": np.ones((rows, k), np.uint8)}
        return [lambda: session.run(None, feeds)]
    kind = torch.float32 if precision == "fp32" else torch.bfloat16
    left, right = torch.from_numpy(a).to(kind), torch.from_numpy(w.T.copy()).to(kind)
    runs: list[Callable[[], object]] = [lambda: torch.nn.functional.linear(left, right)]
    if precision == "fp32":
        session = _session(k, n, quantized=False)
        runs += [lambda: a @ w, lambda: session.run(None, {"a": a})]
    return runs


def _session(k: int, n: int, *, quantized: bool):  # type: ignore[no-untyped-def]
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    kind, name = (TensorProto.UINT8, "MatMulInteger") if quantized else (TensorProto.FLOAT, "MatMul")
    weight = np.ones((k, n), np.int8 if quantized else np.float32)
    graph = helper.make_graph(
        [helper.make_node(name, ["a", "w"], ["o"])],
        "product",
        [helper.make_tensor_value_info("a", kind, ["m", k])],
        [helper.make_tensor_value_info("o", TensorProto.INT32 if quantized else TensorProto.FLOAT, ["m", n])],
        [numpy_helper.from_array(weight, "w")],
    )
    model = helper.make_model(graph, ir_version=9, opset_imports=[helper.make_opsetid("", 20)])
    return onnxruntime.InferenceSession(model.SerializeToString())


def _attention(shape: Shape) -> dict[str, float]:
    """Both products of attention, one window."""
    import torch

    size = shape.hidden // shape.heads
    found = {}
    for name, kind in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        q = torch.ones(shape.heads, TOKENS, size, dtype=kind)
        p = torch.ones(shape.heads, TOKENS, TOKENS, dtype=kind)
        flop = 2.0 * shape.heads * TOKENS * TOKENS * size
        one = best(lambda q=q: torch.bmm(q, q.transpose(1, 2)), flop)  # type: ignore[misc]
        two = best(lambda p=p, q=q: torch.bmm(p, q), flop)  # type: ignore[misc]
        found[name] = 2 / (1 / one + 1 / two)
    return found


def limit_seconds(shape: Shape, lengths: list[int], speed: dict[str, float]) -> float:
    """Seconds for the products of windows of these lengths at these speeds."""
    return sum(flop / speed[kind] / 1e9 for n in lengths for kind, flop in shape.products(n).items())


if __name__ == "__main__":
    print(json.dumps(speeds(KOBERT)))
