"""One server and one folder of commands for all tests of the documentation."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shell_environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Variables under which ``komrc``, ``python`` and ``python3`` in a shell are those of the tests."""
    folder = tmp_path_factory.mktemp("bin")
    for name, command in [("komrc", "-m komrc"), ("python", ""), ("python3", "")]:
        script = folder / name
        script.write_text(f'#!/bin/sh\nexec "{sys.executable}" {command} "$@"\n', encoding="utf-8")
        script.chmod(0o755)
    variables = {name: value for name, value in os.environ.items() if not name.startswith("KOMRC_")}
    return {**variables, "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}", "PYTHONUTF8": "1"}


@pytest.fixture(scope="session")
def server_address(
    shell_environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """``localhost:PORT`` of a server with the embedded model and an index that accepts files."""
    pytest.importorskip("fastapi", reason="the serve extra is not installed")
    pytest.importorskip("tantivy", reason="the documents extra is not installed")
    folder = tmp_path_factory.mktemp("server")
    log = folder / "log"
    with log.open("wb") as stream:
        command = [sys.executable, "-m", "komrc", "serve", "--port", "0"]
        command += ["--index", str(folder / "my.index"), "--allow-upload"]
        process = subprocess.Popen(command, stderr=stream, env=shell_environment)
    try:
        deadline = time.monotonic() + 300  # a busy machine takes its time
        while not (found := re.search(r"ready at http://[\w.]+:(\d+)", log.read_text(encoding="utf-8"))):
            assert process.poll() is None, log.read_text(encoding="utf-8")
            assert time.monotonic() < deadline, log.read_text(encoding="utf-8")
            time.sleep(0.05)
        yield f"localhost:{found[1]}"
    finally:
        process.terminate()
        process.wait(60)


@pytest.fixture
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path
