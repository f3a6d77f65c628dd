"""The OpenVINO engine: the float32 graph of `komrc export`, compiled for Intel's processors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from komrc.engines import Batch, Logits
from komrc.engines.onnx_engine import OUTPUTS, usable_cores
from komrc.errors import EngineError
from komrc.models import files
from komrc.models.files import GRAPHS


class OpenVinoEngine:
    """Runs an ONNX graph in float32 or bfloat16, a window on each core, without padding.

    That answers most questions a second; a single short question has one core.

    Args:
        path: the graph, as for OnnxEngine.
        name: "openvino", or "openvino-bf16" for products in bfloat16 (float32 where the processor has none).
        threads: windows at a time; None: as many as OMP_NUM_THREADS, or one for each core.
        config: the model's config.json. OpenVINO reads zeros where a table has no such row, so its limits
            are checked here.

    Raises EngineError where OpenVINO can't load the graph.
    """

    def __init__(
        self,
        path: Path,
        *,
        name: Literal["openvino", "openvino-bf16"] = "openvino",
        threads: int | None = None,
        config: Mapping[str, Any],
    ) -> None:
        import openvino

        self.name: str = name
        self._longest, self._pieces = files.longest_window(config), config.get("vocab_size")
        count = threads or usable_cores()
        settings = {
            "INFERENCE_PRECISION_HINT": "bf16" if name == "openvino-bf16" else "f32",
            "INFERENCE_NUM_THREADS": count,
            "NUM_STREAMS": count,
        }
        try:
            # As bytes, so that a hostile graph can't name other files as its weights.
            graph = openvino.Core().read_model(path.read_bytes(), b"")
            names = {output.any_name: n for n, output in enumerate(graph.outputs)}
            self._inputs = frozenset(item.any_name for item in graph.inputs)
            self._outputs = [names[output] for output in OUTPUTS if output in names]
            self._queue = openvino.AsyncInferQueue(openvino.compile_model(graph, "CPU", settings), count)
        except (RuntimeError, OSError) as error:
            raise EngineError(
                f"OpenVINO can't load it ({_first_line(error)})",
                where=str(path),
                fix="export the model again with `komrc export`",
            ) from error
        if "input_ids" not in self._inputs or not {"start", "end"} <= set(names):
            raise EngineError(
                "the graph is not a KoMRC export",
                where=str(path),
                fix="export the model again with `komrc export`",
            )

    @classmethod
    def load(cls, folder: Path, name: Literal["openvino", "openvino-bf16"]) -> OpenVinoEngine:
        """The float32 graph of a folder. Raises EngineError."""
        path = folder / GRAPHS["onnx"]
        if not path.is_file():
            raise EngineError(
                f"the model has no {path.name}",
                where=str(folder),
                fix="make one with `komrc export`, or take another engine",
            )
        return cls(path, name=name, config=files.read_config(folder))

    def run(self, batch: Batch) -> Logits:
        """Logits of a batch. Raises EngineError where OpenVINO fails."""
        self._check(batch)
        windows: list[Logits | None] = [None] * len(batch)

        def keep(request: Any, n: int) -> None:
            windows[n] = Logits.of([request.get_output_tensor(o).data[0].copy() for o in self._outputs])

        self._queue.set_callback(keep)
        try:
            for n, window in enumerate(batch.microbatches(0)):
                self._queue.start_async(self._feeds(window), n)
            self._queue.wait_all()
        except RuntimeError as error:
            raise EngineError(
                f"OpenVINO failed on a batch of {len(batch)} windows ({_first_line(error)})",
                where=f"engine {self.name}",
            ) from error
        return Logits.concatenate([window for window in windows if window is not None])

    def _check(self, batch: Batch) -> None:
        longest, highest = int(batch.lengths.max()), int(batch.input_ids.max())
        if self._longest is not None and longest > self._longest:
            what, fix = f"a window of {longest} tokens", f"use --max-seq-length {self._longest} or less"
        elif isinstance(self._pieces, int) and highest >= self._pieces:
            what, fix = f"piece {highest} of the tokenizer", "use the tokenizer that belongs to the model"
        else:
            return
        raise EngineError(f"the model can't read {what}", where=f"engine {self.name}", fix=fix)

    def _feeds(self, window: Batch) -> dict[str, NDArray[np.int64]]:
        given = {
            "input_ids": window.input_ids[None],
            "attention_mask": np.ones((1, len(window.input_ids)), np.int64),
            "token_type_ids": window.token_type_ids[None],
        }
        return {name: values for name, values in given.items() if name in self._inputs}


def _first_line(error: Exception) -> str:
    """What happened; OpenVINO puts the place in its own sources first."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    return next((line for line in lines if not line.startswith("Exception from ")), "no reason given")
