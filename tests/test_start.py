"""What starts with KoMRC: a command must not wait for modules that it does not use.

How long a start takes is measured by ``python -m benchmarks --only start``.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

FRAMEWORKS = {
    *("torch", "transformers", "accelerate", "openvino", "kiwipiepy", "sentencepiece", "onnx", "ray"),
    *("datasets", "fastapi", "pydantic", "starlette", "uvicorn", "prometheus_client", "matplotlib"),
    *("pyarrow", "psutil"),
}
NETWORK = {"httpx", "huggingface_hub", "ssl", "socket", "email.utils", "http.client", "asyncio"}
OTHERS = {"rich", "yaml", "packaging", "importlib.metadata", "importlib.resources", "tempfile", "unittest"}
ENGINES = {"numpy", "onnxruntime", "tokenizers", "regex"}

ASK = "from komrc.cli import main; assert main(['ask', '누가 창제했나?', '--context', sys.argv[1]]) == 0"
READ = "from komrc import Reader; Reader.load().read('누가 창제했나?', open(sys.argv[1]).read())"


@pytest.mark.parametrize(
    ("code", "unused"),
    [
        ("import komrc; komrc.__version__", FRAMEWORKS | NETWORK | OTHERS | ENGINES),
        (ASK, FRAMEWORKS | NETWORK | OTHERS),
        (READ, FRAMEWORKS | NETWORK | OTHERS),
        ("import komrc.client", FRAMEWORKS | ENGINES),
        ("import komrc.cli.doctor", FRAMEWORKS | NETWORK | OTHERS | ENGINES),
    ],
    ids=["import komrc", "komrc ask", "Reader", "client", "komrc doctor --help"],
)
def test_nothing_is_imported_that_is_not_used(code: str, unused: set[str], tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("훈민정음은 세종이 창제하였다.", encoding="utf-8")
    # What the interpreter itself imported before (a virtual environment's .pth files) does not count.
    script = f"import sys; before = set(sys.modules); {code}; "
    script += f"print(sorted((set(sys.modules) - before) & {unused!r}), file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-X", "utf8", "-c", script, str(text)],
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[-1] == "[]"
