"""``serve.py`` at the root: the server's command of 2020."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "serve.py"


@pytest.mark.parametrize("arguments", [["serve"], []])
def test_the_script_is_komrc_serve(arguments: list[str]) -> None:
    command = [sys.executable, str(SCRIPT), *arguments, "--task", "question-answering", "--port", "65536"]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False)
    assert done.returncode == 2
    assert "--port: 65536 is too large" in done.stderr and "Traceback" not in done.stderr
