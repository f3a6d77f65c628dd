"""Every shell and Python block of README and docs is run, page by page, or has the reason why it is not."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from support.code_blocks import CodeBlock, code_blocks

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "README.ko.md",
    ROOT / "CONTRIBUTING.md",
    *sorted(ROOT.glob("docs/**/*.md")),
]
RUN = ("bash", "python")
NOT_CODE = ("text", "json", "yaml", "js")  # js: the page's own tests run such calls in a browser


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def blocks_of(page: Path) -> list[CodeBlock]:
    return [block for block in code_blocks(page) if block.language in RUN]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_blocks_have_a_language_and_known_comments(page: Path) -> None:
    for block in code_blocks(page):
        assert block.language in (*RUN, *NOT_CODE), f"{page}:{block.line}"
        if block.language in RUN:
            assert block.comment.startswith(("not run: ", "needs ")) or not block.comment, (
                f"{page}:{block.line}"
            )


@pytest.mark.parametrize(
    "page", [page for page in PAGES if any(block.is_run for block in blocks_of(page))], ids=name_of
)
def test_blocks_run(
    page: Path, own_folder: Path, shell_environment: dict[str, str], request: pytest.FixtureRequest
) -> None:
    names: dict[str, Any] = {"__name__": "__main__"}
    for block in blocks_of(page):
        if not block.is_run:
            continue
        code = block.code
        if "localhost:8888" in code:
            code = code.replace("localhost:8888", request.getfixturevalue("server_address"))
        if block.language == "python":
            exec(compile("\n" * (block.line - 1) + code, str(page), "exec"), names)
        else:
            run_shell(code, f"{name_of(page)}:{block.line}", own_folder, shell_environment)


def run_shell(code: str, where: str, folder: Path, environment: dict[str, str]) -> None:
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", code],
        check=False,
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, f"{where} ended with {done.returncode}\n{done.stdout}{done.stderr}"
