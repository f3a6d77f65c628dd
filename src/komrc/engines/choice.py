"""Which engine "auto" takes, why, and what would be faster: for loading, the log and ``komrc doctor``.

The rule: of the engines that the folder and the installation have, the one that was the fastest on such a
processor. Engines in bfloat16 or int8 count only where the processor computes in them. A folder without a
graph is read by torch in float32.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from komrc import system
from komrc.models.files import GRAPHS, PICKLED, SHARDS, WEIGHTS

ChosenEngine = Literal["torch", "torch-bf16", "onnx", "onnx-int8", "openvino", "openvino-bf16"]

# Questions a second, 2 cores, KoBERT's size (docs/results/benchmarks.md, docs/how-to/faster.md).
_WITH_AMX: Mapping[ChosenEngine, float] = {
    "torch": 3.36, "torch-bf16": 12.10, "onnx": 3.55, "onnx-int8": 10.62,
    "openvino": 3.72, "openvino-bf16": 13.50,
}  # fmt: skip
_WITHOUT_AMX: Mapping[ChosenEngine, float] = {
    "torch": 2.33, "torch-bf16": 4.44, "onnx": 2.61, "onnx-int8": 7.14,
    "openvino": 2.70, "openvino-bf16": 5.11,
}  # fmt: skip
# What "auto" may take where the folder has a graph. Not "openvino": it gains 3 to 5 % with many questions,
# and a single one has one core only.
_WITH_GRAPH: tuple[ChosenEngine, ...] = ("onnx", "onnx-int8", "openvino-bf16")
_NEEDS: Mapping[ChosenEngine, tuple[str, ...]] = {  # any of these features
    "torch-bf16": ("amx", "avx512_bf16"),
    "onnx-int8": ("amx", "vnni"),
    "openvino-bf16": ("amx", "avx512_bf16"),
}
_WORTH_IT = 1.1  # times as fast, from which on another engine is named


@dataclass(frozen=True, slots=True)
class Choice:
    """An engine and the reason for it, a clause without a full stop."""

    engine: ChosenEngine
    reason: str


@dataclass(frozen=True, slots=True)
class Faster:
    """An engine that was ``times`` as fast as the chosen one, and what has to be done to use it."""

    engine: ChosenEngine
    times: float
    steps: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What the choice depends on.

    Args:
        graphs: of the folder, by engine: "onnx", "onnx-int8".
        packages: names of those of torch, transformers, openvino, onnx and onnxscript that are installed.
        features: of the processor, as ``system.processor_features`` names them.
        weights: whether the folder has weights that torch reads.
    """

    graphs: frozenset[str]
    packages: frozenset[str]
    features: frozenset[str]
    weights: bool = True

    @classmethod
    def of(cls, folder: Path) -> Circumstances:
        """Those of a model folder on this machine. Nothing is loaded."""
        return cls(
            frozenset(name for name, graph in GRAPHS.items() if (folder / graph).is_file()),
            frozenset(filter(_installed, ("torch", "transformers", "openvino", "onnx", "onnxscript"))),
            system.processor_features(),
            any((folder / name).is_file() for name in (WEIGHTS, SHARDS, PICKLED)),
        )

    @property
    def speeds(self) -> Mapping[ChosenEngine, float]:
        """Questions a second that were measured on a processor like this one."""
        return _WITH_AMX if "amx" in self.features else _WITHOUT_AMX

    def computes(self, engine: ChosenEngine) -> bool:
        """Whether the processor has the arithmetic that makes the engine fast."""
        return engine not in _NEEDS or bool(self.features & set(_NEEDS[engine]))

    def has(self, engine: ChosenEngine) -> bool:
        """Whether folder and installation have all that the engine needs."""
        return not self.missing(engine)

    def missing(self, engine: ChosenEngine) -> tuple[str, ...]:
        """What has to be done before the engine can be used; nothing where it can."""
        return tuple(filter(None, (self._missing_package(engine), self._missing_graph(engine))))

    def _missing_package(self, engine: ChosenEngine) -> str:
        if engine.startswith("torch"):
            return "" if {"torch", "transformers"} <= self.packages else "pip install 'komrc[train]'"
        if engine.startswith("openvino"):
            return "" if "openvino" in self.packages else "pip install 'komrc[openvino]'"
        return ""

    def _missing_graph(self, engine: ChosenEngine) -> str:
        if engine.startswith("torch"):
            return "" if self.weights else "take the folder that the graph was exported from"
        graph = "onnx-int8" if engine == "onnx-int8" else "onnx"
        if graph in self.graphs:
            return ""
        extra = "" if {"torch", "onnx", "onnxscript"} <= self.packages else "pip install 'komrc[onnx]'; "
        return f"{extra}komrc export{' --quantize int8' if graph == 'onnx-int8' else ''}"


def choose(around: Circumstances) -> Choice:
    """What "auto" takes on the CPU."""
    if not around.graphs:
        return Choice("torch", "the folder has no ONNX graph")
    if around.graphs == {"onnx-int8"}:
        return Choice("onnx-int8", "the int8 graph is the only one in the folder")
    usable = [e for e in _WITH_GRAPH if around.has(e) and around.computes(e)]
    best = max(usable, key=lambda engine: around.speeds[engine])
    if len(usable) == 1:
        return Choice(best, f"of {_listed(_WITH_GRAPH)}, no other can be used here")
    processor = "with AMX" if "amx" in around.features else "without AMX"
    return Choice(best, f"measured as the fastest of {_listed(usable)} on a processor {processor}")


def faster(around: Circumstances, chosen: ChosenEngine) -> list[Faster]:
    """Engines that this processor suits and that were clearly faster than ``chosen``, the fastest first."""
    speeds = around.speeds
    engines = [
        Faster(engine, round(speed / speeds[chosen], 1), around.missing(engine))
        for engine, speed in speeds.items()
        if around.computes(engine) and speed >= _WORTH_IT * speeds[chosen]
    ]
    return sorted(engines, key=lambda other: -other.times)


def _installed(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except (ImportError, ValueError):  # an import hook refuses it; another module has the name in sys.modules
        return False


def _listed(engines: Collection[str]) -> str:
    return ", ".join(engines)
