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
from komrc.errors import EngineError, ModelError, first_line
from komrc.models import checks, files
from komrc.models.files import CONFIG, GRAPHS, WEIGHTS

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

logger = logging.getLogger(__name__)

HEADER_KEY = "weights_header_sha256"  # in a graph that reads its weights out of WEIGHTS
# Microseconds of processor time in so many of the clock: of control groups, version 2 and version 1.
_CPU_QUOTA = Path("/sys/fs/cgroup/cpu.max")
_CPU_QUOTA_V1 = Path("/sys/fs/cgroup/cpu/cpu.cfs_quota_us"), Path("/sys/fs/cgroup/cpu/cpu.cfs_period_us")
OUTPUTS = ("start", "end", "drop_front", "drop_back")
# Padded tokens of a microbatch. On a CPU a few hundred keep every core busy, and more of them only move
# activations out of the caches (docs/lab-notes/engines.md).
MICROBATCH_TOKENS = 640


class OnnxEngine:
    """Runs an ONNX graph on the CPU.

    A graph without the input ``attention_mask`` gets its windows one at a time, without padding: a single one
    with all threads, several with a thread each, which is faster (docs/lab-notes/engines.md).

    Args:
        path: the graph. Inputs int64 [B, L]: ``input_ids`` and, where the model has them,
            ``attention_mask`` and ``token_type_ids``. Outputs float32: ``start``, ``end`` [B, L] and,
            with a boundary head, ``drop_front``, ``drop_back`` [B, L, 8].
        name: "onnx" or "onnx-int8".
        pad_id: fills windows up to a microbatch's longest, where the graph takes a mask.
        threads: of all runs together; None: as many as OMP_NUM_THREADS, or one for each core that the process
            may use.

    Raises EngineError where ONNX Runtime can't load the graph, ModelError where the weights beside it are
    of another model.
    """

    def __init__(
        self,
        path: Path,
        *,
        name: Literal["onnx", "onnx-int8"] = "onnx",
        pad_id: int = 0,
        threads: int | None = None,
    ) -> None:
        self.path = path
        self.pad_id = pad_id
        self.threads = threads or usable_cores()
        self._files = _identity(path)
        self.session = _session(path, self.threads)
        _check_weights(path.parent, self.session.get_modelmeta().custom_metadata_map)
        self.name: str = name
        self.inputs = frozenset(item.name for item in self.session.get_inputs())
        self.masked = "attention_mask" in self.inputs
        graph_outputs = [item.name for item in self.session.get_outputs()]
        if "input_ids" not in self.inputs or not {"start", "end"} <= set(graph_outputs):
            raise EngineError(
                "the graph is not a KoMRC export",
                where=str(path),
                fix="export the model again with `komrc export`",
            )
        self.outputs = [output for output in OUTPUTS if output in graph_outputs]

    @classmethod
    def load(
        cls, folder: Path, name: Literal["onnx", "onnx-int8"], *, threads: int | None = None
    ) -> OnnxEngine:
        """The graph of a folder; "onnx" takes the int8 graph where there is no other. Raises EngineError."""
        for kind in (name, "onnx-int8"):
            if (folder / GRAPHS[kind]).is_file():
                pad_id = _pad_id(folder / CONFIG)
                return cls(folder / GRAPHS[kind], name=kind, pad_id=pad_id, threads=threads)
        raise EngineError(
            f"the model has no {GRAPHS[name]}",
            where=str(folder),
            fix="make one with `komrc export`, or take the torch engine",
        )

    def run(self, batch: Batch) -> Logits:
        """Logits of a batch. Raises EngineError where ONNX Runtime fails."""
        if self.masked:
            return Logits.concatenate([self._padded(p) for p in batch.microbatches(MICROBATCH_TOKENS)])
        if self.threads == 1 or len(batch) == 1:
            return Logits.concatenate([self._single(self.session, p) for p in batch.microbatches(0)])
        windows = self._lanes.map(partial(self._single, self._narrow), batch.microbatches(0))
        return Logits.concatenate(list(windows))

    @cached_property
    def _narrow(self) -> InferenceSession:
        """A session for several windows at once, each on one thread; made when it is first wanted."""
        if _identity(self.path) != self._files:  # the file is now another model
            return self.session
        return _session(self.path, 1)

    @cached_property
    def _lanes(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(self.threads, thread_name_prefix="komrc-onnx")

    def _padded(self, batch: Batch) -> Logits:
        ids, mask, types = batch.padded(self.pad_id)
        feeds = {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}
        outputs = self._outputs(self.session, feeds)
        real = mask.astype(np.bool_)
        return Logits.of([values[real] for values in outputs])

    def _single(self, session: InferenceSession, batch: Batch) -> Logits:
        feeds = {"input_ids": batch.input_ids[None], "token_type_ids": batch.token_type_ids[None]}
        return Logits.of([values[0] for values in self._outputs(session, feeds)])

    def _outputs(
        self, session: InferenceSession, feeds: dict[str, NDArray[Any]]
    ) -> list[NDArray[np.float32]]:
        given = {name: values for name, values in feeds.items() if name in self.inputs}
        try:
            return session.run(self.outputs, given)  # type: ignore[no-any-return]
        except Exception as error:  # as above
            raise EngineError(
                f"ONNX Runtime failed on a batch of {feeds['input_ids'].shape} tokens ({first_line(error)})",
                where=f"engine {self.name}",
            ) from error


def _pad_id(config: Path) -> int:
    """What config.json names; 0 without one. The mask hides it from all but convolutions."""
    value = files.read_json(config).get("pad_token_id") if config.is_file() else None
    return value if type(value) is int else 0


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
            # On the CPU it is six times slower than the three nodes that it replaces.
            disabled_optimizers=["SkipLayerNormFusion"],
        )
    except Exception as error:  # ONNX Runtime raises a dozen kinds of its own
        raise EngineError(
            f"ONNX Runtime can't load it ({first_line(error)})",
            where=str(path),
            fix="export the model again with `komrc export`",
        ) from error


def _identity(path: Path) -> list[tuple[int, int, int]]:
    """What distinguishes a graph and its weights from others of the same names."""
    statuses = [file.stat() for file in (path, path.parent / WEIGHTS) if file.is_file()]
    return [(status.st_ino, status.st_size, status.st_mtime_ns) for status in statuses]


def _check_weights(folder: Path, metadata: dict[str, str]) -> None:
    """The graph's offsets hold only for the weights file that it was written for."""
    expected = metadata.get(HEADER_KEY)
    if expected is None:
        return
    path = folder / WEIGHTS
    if hashlib.sha256(checks.read_header(path).raw).hexdigest() != expected:
        raise ModelError(
            "not the weights that the graph beside it was written for",
            where=str(path),
            fix="take both files from the same model",
        )


def usable_cores() -> int:
    """Threads for one run: OMP_NUM_THREADS, as for torch; else the cores that the process may use.

    A container may see 64 cores and be given the time of two: 64 threads would wait most of the time.
    """
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    if wanted.isdecimal() and int(wanted):
        return int(wanted)
    cores = system.cores()
    for paths in ((_CPU_QUOTA,), _CPU_QUOTA_V1):
        try:
            quota, period = map(int, " ".join(path.read_text(encoding="ascii") for path in paths).split())
        except (OSError, ValueError):  # no such control group, or "max"
            continue
        if quota > 0 and period > 0:  # version 1 has -1 for no limit
            return min(cores, max(1, math.ceil(quota / period)))
    return cores


def _has_exact_int8() -> bool:
    """Whether u8 x s8 products are exact: x86 without VNNI adds two of them in 16 bits, which overflow."""
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return True
    return bool(system.processor_features() & {"vnni", "amx"})  # empty where it isn't known: the sure way
