"""Checkpoints, each complete or absent: what is in them, how they are found, checked and rotated.

Tensors are kept in safetensors, everything else in JSON. Nothing is pickled.
"""

from __future__ import annotations

import json
import logging
import random
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from komrc import storage, system
from komrc.errors import StorageError, TrainingError, UsageError
from komrc.models import files

logger = logging.getLogger(__name__)

_NAME = re.compile(r"checkpoint-(\d+)")
LOCK = ".komrc.lock"
STATE = "trainer_state.json"
RUN = "run.json"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A folder that passed its manifest."""

    folder: Path
    step: int


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep every other run out of an output folder. Raises StorageError where one is in it already."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = system.open_locked(folder / LOCK)
    except BlockingIOError:
        raise StorageError(
            "another run is writing to this folder",
            where=str(folder),
            fix="wait for it or stop it, or choose another --output-dir",
        ) from None
    except OSError as error:
        raise StorageError(
            f"can't be written ({error.strerror or error})",
            where=str(folder),
            fix="check free space and permissions, or choose another --output-dir",
        ) from error
    with file:
        yield


def refuse_foreign(folder: Path) -> None:
    """Raise UsageError for an output folder with files that KoMRC did not write; nothing in it is touched."""
    if not folder.is_dir():
        return
    names = sorted(path.name for path in folder.iterdir() if path.name[0] != ".")
    ours = (folder / LOCK).exists() or any(folder.glob(f"checkpoint-*/{RUN}"))
    if ours or names in ([], ["lost+found"]):  # every new ext4 file system has lost+found
        return
    models = [path for _, path in _numbered(folder)] + [folder]
    start = next((path for path in models if (path / files.CONFIG).is_file()), None)
    raise UsageError(
        f"the folder contains files that no training run of KoMRC wrote: {', '.join(names[:3])}"
        + (f" and {len(names) - 3} more" if len(names) > 3 else ""),
        where=str(folder),
        fix="choose a new --output-dir, or let files in it be replaced with --overwrite-output-dir"
        + (f"; to train the model in it further: --model {start} and a new --output-dir" if start else ""),
    )


def _is_foreign(checkpoint: Path) -> bool:
    """Whether another program wrote it, such as transformers: ours have a manifest and ``run.json``."""
    return not any((checkpoint / name).exists() for name in (storage.MANIFEST, RUN))


def clean(folder: Path) -> None:
    """Remove the incomplete files that killed runs left in an output folder (call it under the lock)."""
    for path in storage.remove_stale(folder, age=0):
        logger.info("%s: left by a run that was killed; removed", path)


def _numbered(folder: Path) -> list[tuple[int, Path]]:
    """Checkpoint folders, valid or not, newest first."""
    paths = folder.glob("checkpoint-*")
    return sorted(((int(m[1]), p) for p in paths if (m := _NAME.fullmatch(p.name))), reverse=True)


def valid_checkpoints(folder: Path) -> Iterator[Checkpoint]:
    """Checkpoints that pass their manifest, newest first.

    A damaged one is logged and renamed, so that rotation doesn't count it (call it under the lock). Raises
    UsageError for one that another program wrote.
    """
    for step, path in _numbered(folder):
        if _is_foreign(path):
            raise UsageError(
                "KoMRC did not write this checkpoint, so a run can't be resumed from it",
                where=str(path),
                fix=f"train its model further with --model {path} and a new --output-dir, or move it away to "
                "resume from another checkpoint",
            )
        problems = storage.verify_folder(path)
        if problems:
            aside = storage.set_aside(path)
            logger.warning("%s is damaged (%s); set aside as %s", path, "; ".join(problems), aside.name)
        else:
            yield Checkpoint(path, step)


def newest(folder: Path) -> Checkpoint | None:
    """The newest valid checkpoint of an output folder."""
    return next(valid_checkpoints(folder), None)


def write(folder: Path, step: int, fill: Callable[[Path], None]) -> Path:
    """Write ``checkpoint-<step>`` whole or not at all; ``fill`` writes its files. Raises StorageError."""
    path = folder / f"checkpoint-{step}"
    with storage.replacing_folder(path) as temporary:
        fill(temporary)
    return path


def rotate(folder: Path, *, keep: int | None, best_step: int | None) -> None:
    """Remove all but the newest ``keep`` checkpoints (None: all stay) and the best one."""
    if not keep:
        return
    ours = [(step, path) for step, path in _numbered(folder) if not _is_foreign(path)]
    for step, path in ours[keep:]:
        if step != best_step:
            storage.remove_folder(path)


def clear(folder: Path) -> None:
    """Remove every checkpoint of an output folder."""
    for _, path in _numbered(folder):
        storage.remove_folder(path)


def read_weights(folder: Path) -> dict[str, torch.Tensor]:
    """The model's weights in a checkpoint, under their names in the file."""
    return load_file(folder / files.WEIGHTS)


# --- states ------------------------------------------------------------------------------------------------


def save_optimizer(optimizer: torch.optim.Optimizer, folder: Path) -> None:
    """Write an optimizer's state: tensors to optimizer.safetensors, the rest to optimizer.json."""
    state = optimizer.state_dict()
    tensors, plain = {}, {}
    for index, entries in state["state"].items():
        for name, value in entries.items():
            if isinstance(value, torch.Tensor):
                tensors[f"{index}.{name}"] = value.detach().cpu().contiguous()
            else:
                plain[f"{index}.{name}"] = value
    save_file(tensors, folder / "optimizer.safetensors")
    write_json(folder / "optimizer.json", {"param_groups": state["param_groups"], "plain": plain})


def load_optimizer(optimizer: torch.optim.Optimizer, folder: Path) -> None:
    """Restore what ``save_optimizer`` wrote."""
    saved = read_json(folder / "optimizer.json")
    state: dict[int, dict[str, Any]] = {}
    for key, value in {**load_file(folder / "optimizer.safetensors"), **saved["plain"]}.items():
        index, name = key.split(".", 1)
        state.setdefault(int(index), {})[name] = value
    groups = [{**group, "betas": tuple(group["betas"])} for group in saved["param_groups"]]
    try:
        optimizer.load_state_dict({"state": state, "param_groups": groups})
    except ValueError as error:
        raise TrainingError(
            f"the optimizer's state belongs to another model ({error})", where=str(folder), fix="start anew"
        ) from error


def save_scheduler(scheduler: torch.optim.lr_scheduler.LRScheduler, folder: Path) -> None:
    """Write a learning-rate schedule's position."""
    write_json(folder / "scheduler.json", scheduler.state_dict())


def load_scheduler(scheduler: torch.optim.lr_scheduler.LRScheduler, folder: Path) -> None:
    """Restore what ``save_scheduler`` wrote."""
    scheduler.load_state_dict(read_json(folder / "scheduler.json"))


def random_state() -> dict[str, Any]:
    """The states of Python's, NumPy's and torch's generators, as plain values."""
    kind, keys, position, has_gauss, cached = np.random.get_state(legacy=True)
    state: dict[str, Any] = {
        "python": random.getstate(),
        "numpy": [kind, np.asarray(keys).tolist(), position, has_gauss, cached],
        "torch": torch.get_rng_state().tolist(),
    }
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state().tolist()
    return state


def restore_random_state(state: dict[str, Any]) -> None:
    """Restore generators to a state that ``random_state`` returned."""
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))
    kind, keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state((kind, np.array(keys, np.uint32), position, has_gauss, cached))
    torch.set_rng_state(torch.tensor(state["torch"], dtype=torch.uint8))
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(torch.tensor(state["cuda"], dtype=torch.uint8))


def save_random(states: list[dict[str, Any]], folder: Path) -> None:
    """Write the generators' states, one entry for each process."""
    write_json(folder / "random.json", states)


def load_random(folder: Path, rank: int) -> None:
    """Restore the generators of a process."""
    states = read_json(folder / "random.json")
    if rank < len(states):
        restore_random_state(states[rank])


def write_json(path: Path, value: object) -> None:
    """A JSON file inside a checkpoint that is being written."""
    path.write_text(json.dumps(value, ensure_ascii=False) + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    """A JSON file of a checkpoint. Raises TrainingError where it is missing or damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise TrainingError(
            f"can't be read ({error})", where=str(path), fix="resume from another checkpoint, or start anew"
        ) from error
