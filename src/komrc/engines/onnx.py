"""The ONNX Runtime engine. It needs neither torch nor transformers."""

from __future__ import annotations

import hashlib
import logging
import math
import os
import platform
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from komrc import system
from komrc.engines import Batch, Logits
from komrc.engines.portions import TOKENS, in_portions
from komrc.errors import EngineError, ModelError
from komrc.model_folder import read_header

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

logger = logging.getLogger(__name__)

GRAPHS = {"onnx": "model.onnx", "onnx-int8": "model-int8.onnx"}
WEIGHTS = "model.safetensors"
HEADER_KEY = "weights_header_sha256"  # in a graph that reads its weights out of WEIGHTS
_CPU_QUOTA = Path("/sys/fs/cgroup/cpu.max")  # microseconds of processor time in so many of the clock
OUTPUTS = ("start", "end", "drop_front", "drop_back")


class OnnxEngine:
    """Runs an ONNX graph on the CPU.

    A graph without the input ``attention_mask`` gets its windows one at a time, without padding: a single one
    with all threads, several with a thread each, since together they are done sooner so (docs/benchmarks.md).

    Args:
        path: the graph. Inputs int64 [B, L]: ``input_ids`` and, where the model has them,
            ``attention_mask`` and ``token_type_ids``. Outputs float32: ``start``, ``end`` [B, L] and,
            with a boundary head, ``drop_front``, ``drop_back`` [B, L, 8].
        name: "onnx" or "onnx-int8".
        threads: of all runs together; None: as OMP_NUM_THREADS says, or one for each core that the process
            may use.

    Raises EngineError where ONNX Runtime can't load the graph, ModelError where the weights beside it are
    of another model.
    """

    def __init__(
        self, path: Path, *, name: Literal["onnx", "onnx-int8"] = "onnx", threads: int | None = None
    ) -> None:
        self.path = path
        self.threads = threads or usable_cores()
        self._files = _identity(path)
        self.session = _session(path, self.threads)
        _check_weights(path.parent, self.session.get_modelmeta().custom_metadata_map)
        self.name: str = name
        self.inputs = frozenset(item.name for item in self.session.get_inputs())
        self.masked = "attention_mask" in self.inputs
        found = [item.name for item in self.session.get_outputs()]
        if "input_ids" not in self.inputs or not {"start", "end"} <= set(found):
            raise EngineError(
                "the graph is not a KoMRC export",
                where=str(path),
                fix="export the model again with `komrc export`",
            )
        self.outputs = [output for output in OUTPUTS if output in found]

    @classmethod
    def load(
        cls, folder: Path, name: Literal["onnx", "onnx-int8"], *, threads: int | None = None
    ) -> OnnxEngine:
        """The graph of a folder; "onnx" takes the int8 graph where there is no other. Raises EngineError."""
        for kind in (name, "onnx-int8"):
            if (folder / GRAPHS[kind]).is_file():
                return cls(folder / GRAPHS[kind], name=kind, threads=threads)
        raise EngineError(
            f"the model has no {GRAPHS[name]}",
            where=str(folder),
            fix="make one with `komrc export`, or take the torch engine",
        )

    def run(self, batch: Batch) -> Logits:
        """Logits of a batch. Raises EngineError where ONNX Runtime fails."""
        if self.masked:
            return in_portions(batch, partial(self._outputs, self.session), TOKENS)
        if self.threads == 1 or len(batch.input_ids) == 1:
            return in_portions(batch, partial(self._outputs, self.session), 0)
        return in_portions(batch, partial(self._outputs, self._narrow), 0, spread=self._lanes.map)

    @cached_property
    def _narrow(self) -> InferenceSession:
        """A session for several windows at once, each on one thread; made when it is first wanted."""
        if _identity(self.path) != self._files:  # another model stands there now
            return self.session
        return _session(self.path, 1)

    @cached_property
    def _lanes(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(self.threads, thread_name_prefix="komrc-onnx")

    def _outputs(self, session: InferenceSession, batch: Batch) -> list[NDArray[np.float32]]:
        ids, types = batch.input_ids, batch.token_type_ids
        feeds: dict[str, NDArray[Any]] = {"input_ids": np.ascontiguousarray(ids)}
        if self.masked:
            feeds["attention_mask"] = np.ascontiguousarray(batch.attention_mask)
        if "token_type_ids" in self.inputs:
            feeds["token_type_ids"] = np.zeros_like(ids) if types is None else np.ascontiguousarray(types)
        try:
            return session.run(self.outputs, feeds)  # type: ignore[no-any-return]
        except Exception as error:  # as above
            raise EngineError(
                f"ONNX Runtime failed on a batch of {ids.shape} tokens ({_first_line(error)})",
                where=f"engine {self.name}",
            ) from error


def _session(path: Path, threads: int) -> InferenceSession:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.enable_mem_pattern = False  # it would keep a plan for every length it has seen
    options.log_severity_level = 3
    # Idle threads stop burning a core as soon as a run is over.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    if not _has_exact_int8():  # a factor of 2.7 slower where it isn't needed, so only where it is
        options.add_session_config_entry("session.x64quantprecision", "1")
    try:
        return onnxruntime.InferenceSession(
            str(path),
            options,
            providers=["CPUExecutionProvider"],
            # On the CPU it is six times slower than the three nodes that it stands for.
            disabled_optimizers=["SkipLayerNormFusion"],
        )
    except Exception as error:  # ONNX Runtime raises a dozen kinds of its own
        raise EngineError(
            f"ONNX Runtime can't load it ({_first_line(error)})",
            where=str(path),
            fix="export the model again with `komrc export`",
        ) from error


def _identity(path: Path) -> list[tuple[int, int, int]]:
    """What tells a graph and the weights beside it from others that take their place."""
    found = [file.stat() for file in (path, path.parent / WEIGHTS) if file.is_file()]
    return [(status.st_ino, status.st_size, status.st_mtime_ns) for status in found]


def _check_weights(folder: Path, metadata: dict[str, str]) -> None:
    """The graph's offsets hold only for the weights file that it was written for."""
    expected = metadata.get(HEADER_KEY)
    if expected is None:
        return
    path = folder / WEIGHTS
    if hashlib.sha256(read_header(path).raw).hexdigest() != expected:
        raise ModelError(
            "not the weights that the graph beside it was written for",
            where=str(path),
            fix="take both files from the same model",
        )


def usable_cores() -> int:
    """Threads for one run: what OMP_NUM_THREADS says, as to torch; else the cores that the process may use.

    A container may see 64 cores and be given the time of two: 64 threads would stand still most of the time.
    """
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    if wanted.isdecimal() and int(wanted):
        return int(wanted)
    cores = system.cores()
    try:
        quota, period = _CPU_QUOTA.read_text(encoding="ascii").split()
        return min(cores, max(1, math.ceil(int(quota) / int(period))))
    except (OSError, ValueError):  # no control group, or "max"
        return cores


def _has_exact_int8() -> bool:
    """Whether u8 x s8 products are exact: x86 without VNNI adds two of them in 16 bits, which overflow."""
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return True
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:  # not Linux: the sure way
        return False
    return any(name in flags for name in ("avx512_vnni", "avx_vnni", "amx_int8"))


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0]
