"""The machine and the versions that figures belong to."""

from __future__ import annotations

import os
import platform
import re
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path


def peak_memory(process: int | str = "self") -> int:
    """Peak resident bytes of a process (Linux). Not ru_maxrss: that begins with its parent's peak."""
    found = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{process}/status").read_text())
    assert found
    return int(found[1]) * 1024


def forget_peak() -> int:
    """Begin anew with this process's peak (Linux); returns its resident bytes."""
    Path("/proc/self/clear_refs").write_text("5")
    return peak_memory()


def describe() -> dict[str, object]:
    info = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    lines = dict(line.split(":", 1) for line in info.splitlines() if ":" in line)
    fields = {key.strip(): value.strip() for key, value in lines.items()}
    wanted = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8")
    flags = set(fields.get("flags", "").split())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "processor": fields.get("model name", platform.processor()),
        "family, model": f"{fields.get('cpu family', '?')}, {fields.get('model', '?')}",
        "instructions": [name for name in wanted if name in flags],
        "cores": len(os.sched_getaffinity(0)),
        "memory GiB": round(memory / 2**30, 1),
        "load before": round(os.getloadavg()[0], 2),
        "system": platform.platform(),
        "python": platform.python_version(),
        **{name: version(name) for name in ("torch", "transformers", "tokenizers", "onnxruntime", "numpy")},
    }
