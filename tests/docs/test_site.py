"""The site is built without a warning, needs no other host, and holds every page."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
LOADED = re.compile(
    r"""<(?:script|img|iframe)[^>]*\ssrc=["']?(?:https?:)?//|<link[^>]*\shref=["']?(?:https?:)?//"""
)


def pages_in(entry: object) -> list[str]:
    """The pages of a part of the navigation."""
    if isinstance(entry, str):
        return [entry]
    parts = entry.values() if isinstance(entry, dict) else entry
    return [page for part in parts for page in pages_in(part)]


def configuration() -> dict[str, object]:
    return yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))


def test_every_page_is_in_the_navigation_once() -> None:
    pages = sorted(str(page.relative_to(ROOT / "docs")) for page in ROOT.glob("docs/**/*.md"))
    assert sorted(pages_in(configuration()["nav"])) == pages


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The parts of the reference that come from the code."""
    folder = tmp_path_factory.mktemp("reference")
    subprocess.run([sys.executable, ROOT / "tools/reference_pages.py", folder], check=True)
    return folder


def test_reference_has_every_command_option_and_error(reference: Path) -> None:
    commands = (reference / "cli.md").read_text(encoding="utf-8")
    for command in (
        *("train", "predict", "evaluate", "ask", "index", "search", "serve", "export", "data lint", "report"),
        "demo",
    ):
        assert f"# komrc {command}\n" in commands
    assert "| `--always-answer` | `KOMRC_ALWAYS_ANSWER` |" in (reference / "server-options.md").read_text()
    assert "| `--max-seq-length` | `max_seq_length` |" in (reference / "training-options.md").read_text()
    assert "| `ModelError` | 4 | 500 |" in (reference / "errors.md").read_text()
    assert "| `POST` | `/v1/answers` |" in (reference / "routes.md").read_text()


def test_settings_page_describes_every_key_of_komrc_json() -> None:
    keys = re.findall(
        r'^  "(\w+)"', (ROOT / "src/komrc/resources/model/komrc.json").read_text(), re.MULTILINE
    )
    page = (ROOT / "docs/reference/settings.md").read_text(encoding="utf-8")
    assert [key for key in keys if f"| `{key}` |" not in page] == []


def test_site_is_built_without_a_warning_and_loads_nothing_from_other_hosts(
    reference: Path, tmp_path: Path
) -> None:
    pytest.importorskip("zensical", reason="the docs extra is not installed")
    pytest.importorskip("mkdocstrings_handlers.python", reason="the docs extra is not installed")
    shutil.copytree(ROOT / "docs", tmp_path / "docs")  # the pages must be below the configuration
    changed = configuration() | {"site_dir": "site"}
    text = yaml.safe_dump(changed, allow_unicode=True).replace("build/reference", str(reference))
    (tmp_path / "mkdocs.yml").write_text(text.replace("- src\n", f"- {ROOT / 'src'}\n"), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "zensical", "build", "--strict", "--config-file", tmp_path / "mkdocs.yml"],
        check=False,
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    built = {
        path.relative_to(tmp_path / "site").with_suffix(".md") for path in (tmp_path / "site").rglob("*.html")
    }
    assert {Path(page) for page in pages_in(configuration()["nav"])} <= built
    for page in (tmp_path / "site").rglob("*.html"):
        assert not LOADED.search(page.read_text(encoding="utf-8")), page
    assert 'id="komrc.Reader"' in (tmp_path / "site/reference/api.html").read_text(encoding="utf-8")
    assert "세종" in (tmp_path / "site/search.json").read_text(encoding="utf-8")
