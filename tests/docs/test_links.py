"""Links and mentions of pages lead somewhere; pages are easy to read."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    *sorted(ROOT.glob("*.md")),
    *sorted(ROOT.glob("docs/**/*.md")),
    *sorted(ROOT.glob("recipes/**/*.md")),
]
LINK = re.compile(r"\]\(([^)\s]+)\)")
LONGEST_LINE = 124


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def without_code(page: Path) -> str:
    return re.sub(r"^ *```.*?^ *```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    """The ids that the site gives to the page's headings."""
    titles = re.findall(r"^#+ (.+)$", without_code(page), re.MULTILINE)
    return {re.sub(r"[\s-]+", "-", re.sub(r"[^\w\s-]", "", title.lower()).strip()) for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    for link in LINK.findall(without_code(page)):
        if link.startswith(("http://", "https://")):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{name_of(page)}: {link}"
        if anchor and "reference" not in target.parts:  # parts of those pages come from the code
            assert anchor in anchors(target), f"{name_of(page)}: {link}"


def test_pages_that_the_repository_names_exist() -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("not a checkout")
    files = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in files.split():
        path = ROOT / name
        if path.suffix in {".py", ".md", ".toml", ".yaml", ""} and path.is_file() and name != "CHANGELOG.md":
            for page in re.findall(
                r"\bdocs/[\w./-]+\.md\b", path.read_text(encoding="utf-8", errors="ignore")
            ):
                assert (ROOT / page).is_file(), f"{name} names {page}"


@pytest.mark.parametrize("page", sorted(ROOT.glob("docs/**/*.md")), ids=name_of)
def test_lines_are_short(page: Path) -> None:
    text = re.sub(r"<!-- figures: begin -->.*<!-- figures: end -->", "", without_code(page), flags=re.DOTALL)
    long = [
        line for line in text.splitlines() if len(line) > LONGEST_LINE and not line.lstrip().startswith("|")
    ]
    assert not long
