"""``komrc ask`` on an HTML page: the reader reads the page's text, the offsets are those of the HTML."""

from __future__ import annotations

from pathlib import PurePath

from komrc.html import HtmlView

SUFFIXES = (".html", ".htm", ".xhtml")


def page_of(name: str, content: str) -> HtmlView | None:
    """The page, if the file's name is that of one."""
    return HtmlView(content) if PurePath(name).suffix.lower() in SUFFIXES else None
