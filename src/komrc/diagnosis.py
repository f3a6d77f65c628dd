"""What ``komrc doctor`` finds out: the machine, what is installed, a model's engine, and whether it answers.

No names of the user, the host or folders, so that the text can be pasted into a bug report.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import time
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

from komrc import __version__, system
from komrc.engines import choice
from komrc.engines.loading import chosen_engine
from komrc.engines.onnx_engine import usable_cores
from komrc.errors import KomrcError, first_line
from komrc.models import checks, hub
from komrc.models.files import read_config
from komrc.types import EngineName

_VARIABLES = ("OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES", "HF_HUB_OFFLINE")  # they change speed or behaviour
_NOT_FOR_USERS = ("dev", "docs")  # extras
_QUESTION, _CONTEXT, _ANSWER = "훈민정음은 누가 창제했나?", "훈민정음은 1443년에 세종이 창제하였다.", "세종"


def diagnose(model: str | None = None, engine: EngineName = "auto") -> dict[str, Any]:
    """All findings, in JSON's kinds; ``problems`` contains a sentence for each thing that is wrong.

    Args:
        model: folder or hub id; None: the embedded model.
        engine: as in ``Reader.load``.

    Raises UsageError, HubError and ModelError where the model can't be read at all.
    """
    packages, wrong = _packages()
    report: dict[str, Any] = {
        "komrc": __version__,
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "system": f"{platform.system()} {platform.release()}",
        "processor": _processor(),
        "memory_gib": _memory(),
        "gpus": _gpus(),
        "variables": {name: os.environ[name] for name in _VARIABLES if name in os.environ},
        "packages": packages,
        "extras": _extras(),
    }
    folder = hub.resolve(model)
    checks.check(folder)
    report["model"] = _model(folder, "embedded" if model is None else Path(model).name)
    report["engine"] = _engine(folder, engine)
    report["gpu_advice"] = _gpu_advice(report["gpus"], packages.get("torch"), report["engine"]["name"])
    report["trial"] = _trial(folder, engine)
    problem = report["trial"].get("problem")
    report["problems"] = wrong + ([problem] if problem else [])
    return report


# --- the machine -------------------------------------------------------------------------------------------


def _processor() -> dict[str, Any]:
    return {
        "name": system.processor_name(),
        "architecture": platform.machine(),
        "features": sorted(system.processor_features()),
        "cores": system.cores(),
        "threads": usable_cores(),
    }


def _memory() -> dict[str, float]:
    """Total and available memory; what the system does not tell is left out."""
    sizes: dict[str, float] = {}
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii", errors="replace")
        for key, name in (("total", "MemTotal"), ("available", "MemAvailable")):
            if match := re.search(rf"^{name}:\s+(\d+) kB", lines, re.MULTILINE):
                sizes[key] = round(int(match[1]) / 2**20, 1)
    except OSError:
        pages = getattr(os, "sysconf_names", {})
        if "SC_PHYS_PAGES" in pages:  # macOS
            sizes["total"] = round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    return sizes


def _gpus() -> list[str]:
    """Names of NVIDIA's GPUs and their memory, as its driver gives them; torch is not loaded for it."""
    command = shutil.which("nvidia-smi")
    if command is None:
        return []
    try:
        done = subprocess.run(  # noqa: S603 - the driver's own program
            [command, "--query-gpu=name,memory.total", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    return [line.strip() for line in done.stdout.splitlines() if line.strip()] if done.returncode == 0 else []


def _gpu_advice(gpus: list[str], torch: str | None, engine: str) -> str | None:
    if not gpus:
        return None
    if torch is None:
        return "pip install 'komrc[train]'; --engine torch then computes on the GPU"
    if torch.endswith("+cpu"):
        return f"torch {torch} can't use the GPU; install a build of torch for it (pytorch.org)"
    return None if engine.startswith("torch") else "--engine torch computes on the GPU"


# --- what is installed -------------------------------------------------------------------------------------


def _requirements() -> dict[str, list[Any]]:
    """Extra ("" for none) -> what it needs itself, as ``packaging`` parses it; those of extras that it names
    are included. Empty where KoMRC is not installed, only on the path."""
    from packaging.requirements import Requirement

    try:
        parsed = [Requirement(line) for line in metadata.requires("komrc") or []]
        extras = _provided_extras()
    except metadata.PackageNotFoundError:
        return {}

    def needs(extra: str) -> list[Requirement]:
        own = [
            need
            for need in parsed
            if (need.marker is None and not extra)
            or (
                need.marker is not None
                and need.marker.evaluate({"extra": extra})
                and not need.marker.evaluate({"extra": ""})
            )
        ]
        named = [inner for need in own if need.name == "komrc" for inner in need.extras]
        return [need for need in own if need.name != "komrc"] + [n for inner in named for n in needs(inner)]

    return {extra: needs(extra) for extra in ("", *extras) if extra not in _NOT_FOR_USERS}


def _provided_extras() -> list[str]:
    return metadata.metadata("komrc").get_all("Provides-Extra") or []


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _packages() -> tuple[dict[str, str], list[str]]:
    """Package -> version, of all that KoMRC and its extras use, and what is wrong with the versions."""
    required = _requirements()
    versions: dict[str, str] = {}
    wrong: list[str] = []
    for extra, needs in required.items():
        for need in needs:
            version = _version(need.name)
            if version is None and not extra:
                wrong.append(f"{need.name} is not installed; run pip install komrc again")
            elif version is not None and need.name not in versions:
                versions[need.name] = version
                if not need.specifier.contains(version, prereleases=True):
                    wrong.append(
                        f"{need.name} {version} is installed, KoMRC needs {need.specifier}; "
                        f"run pip install '{need.name}{need.specifier}'"
                    )
    return dict(sorted(versions.items())), wrong


def _extras() -> dict[str, dict[str, Any]]:
    extras: dict[str, dict[str, Any]] = {}
    for extra, needs in sorted(_requirements().items()):
        if extra:
            missing = sorted({need.name for need in needs if _version(need.name) is None})
            extras[extra] = {"missing": missing}
            if missing:
                extras[extra]["install"] = f"pip install 'komrc[{extra}]'"
    return extras


# --- the model ---------------------------------------------------------------------------------------------


def _model(folder: Path, name: str) -> dict[str, Any]:
    config = read_config(folder)
    return {
        "name": name,
        "type": config.get("model_type"),
        "layers": config.get("num_hidden_layers", config.get("n_layers")),
        "width": config.get("hidden_size", config.get("dim")),
        "graphs": sorted(choice.Circumstances.of(folder).graphs),
    }


def _engine(folder: Path, engine: EngineName) -> dict[str, Any]:
    chosen, reason = chosen_engine(folder, engine)
    others = choice.faster(choice.Circumstances.of(folder), chosen)
    return {"name": chosen, "reason": reason, "faster": [asdict(other) for other in others]}


def _trial(folder: Path, engine: EngineName) -> dict[str, Any]:
    """Load the model and ask it; ``problem`` is set where that fails."""
    from komrc.reader import Reader

    try:
        begin = time.perf_counter()
        reader = Reader.load(folder, engine=engine)
        loaded = time.perf_counter()
        answer = reader.read(_QUESTION, _CONTEXT)[0]
        read = time.perf_counter()
    except (KomrcError, ImportError, OSError, RuntimeError) as error:
        what = str(error) if isinstance(error, KomrcError) else f"{type(error).__name__}: {first_line(error)}"
        return {"problem": what.replace(str(folder), "MODEL")}
    return {
        "engine": reader.engine.name,
        "answer": answer.text,
        "expected": _ANSWER,
        "load_seconds": round(loaded - begin, 3),
        "answer_seconds": round(read - loaded, 3),
    }
