"""HWPX documents (Hancom Hangul; OWPML, KS X 6101): a ZIP file with XML for each section."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from komrc.documents.builder import Builder, Extracted
from komrc.documents.limits import Limits
from komrc.documents.zips import check_zip
from komrc.errors import DataError

_SECTION = re.compile(r"Contents/section(\d+)\.xml", re.IGNORECASE)
_LEFT_OUT = frozenset(
    ("header", "footer", "hiddenComment", "secPr", "fieldBegin", "parameters", "shapeComment")
)
_AS_TEXT = {"lineBreak": "\n", "tab": "\t", "nbSpace": "\u00a0", "fwSpace": " ", "hyphen": "-"}
_LONGEST_HEADING = 100  # characters; the outline numbers whole paragraphs in some documents
_MOST_COLUMNS = 1024


def read(path: Path, limits: Limits) -> Iterator[Extracted]:
    """The document of an HWPX file: text, tables, text boxes, notes; no headers, footers and comments."""
    check_zip(path, limits)
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        if "META-INF/manifest.xml" in names and b"encryption-data" in archive.read("META-INF/manifest.xml"):
            raise DataError("is encrypted with a password", fix="save it without a password")
        sections = sorted((int(match[1]), name) for name in names if (match := _SECTION.fullmatch(name)))
        if not sections:
            raise DataError("is damaged: it has no section", fix="get the whole file again")
        levels = _outline_levels(archive) if "Contents/header.xml" in names else {}
        writer = _Writer(Builder(limits), levels)
        for _, name in sections:
            writer.blocks(_parsed(archive.read(name)))
        title = _title(archive) if "Contents/content.hpf" in names else ""
    yield writer.builder.extracted(title)


def _parsed(xml: bytes) -> Any:
    from lxml import etree

    return etree.fromstring(xml, etree.XMLParser(resolve_entities=False, no_network=True))


def _name(element: Any) -> str:
    return element.tag.rpartition("}")[2] if isinstance(element.tag, str) else ""


def _title(archive: zipfile.ZipFile) -> str:
    content = _parsed(archive.read("Contents/content.hpf"))
    return next((element.text or "" for element in content.iter() if _name(element) == "title"), "")


def _outline_levels(archive: zipfile.ZipFile) -> dict[str, int]:
    """The level, from 1, of each shape of paragraphs that is a part of the outline, by its id."""
    levels = {}
    for shape in _parsed(archive.read("Contents/header.xml")).iter():
        if _name(shape) == "paraPr":
            heading = next((child for child in shape.iter() if _name(child) == "heading"), None)
            if heading is not None and heading.get("type") == "OUTLINE":
                level = heading.get("level", "0")
                levels[shape.get("id", "")] = int(level) + 1 if level.isdecimal() else 1
    return levels


class _Writer:
    def __init__(self, builder: Builder, outline_levels: dict[str, int]) -> None:
        self.builder = builder
        self._outline_levels = outline_levels

    def blocks(self, parent: Any) -> None:
        """Write the paragraphs and tables below an element, at whatever depth."""
        for element in parent:
            name = _name(element)
            if name == "p":
                self._paragraph(element)
            elif name == "tbl":
                self._table(element)
            elif name == "equation":
                self.builder.paragraph(" ".join(_texts(element)))
            elif name and name not in _LEFT_OUT and name != "t":
                self.blocks(element)

    def _paragraph(self, paragraph: Any) -> None:
        runs = [run for run in paragraph if _name(run) == "run"]
        text = "".join(_pieces(part) for run in runs for part in run if _name(part) == "t").strip()
        level = self._outline_levels.get(paragraph.get("paraPrIDRef", ""), 0)
        if level and len(text) <= _LONGEST_HEADING and not text.endswith("."):
            self.builder.heading(text, level)
        else:
            self.builder.paragraph(text)
        for run in runs:
            self.blocks(run)

    def _table(self, table: Any) -> None:
        rows: list[list[str]] = []
        for part in table:
            if _name(part) == "tr":
                rows.append(_cells(part))
            elif _name(part) == "caption":
                self.blocks(part)
        self.builder.table(rows)


def _cells(row: Any) -> list[str]:
    """The cells of a row. A merged cell has its text once and is empty in the other places."""
    cells: dict[int, str] = {}
    for cell in row:
        if _name(cell) == "tc":
            address = next((part for part in cell if _name(part) == "cellAddr"), None)
            column = address.get("colAddr", "") if address is not None else ""
            at = min(int(column), _MOST_COLUMNS) if column.isdecimal() else len(cells)
            cells[at] = " ".join(text for text in _texts(cell) if text)
    return [cells.get(at, "") for at in range(max(cells, default=-1) + 1)]


def _pieces(element: Any) -> str:
    """The text of a run's part, with line ends and tabs."""
    pieces = [element.text or ""]
    for child in element:
        pieces.append(_AS_TEXT.get(_name(child), ""))
        if _name(child) not in _AS_TEXT and _name(child) != "deleteBegin":
            pieces.append(_pieces(child) if len(child) or child.text else "")
        pieces.append(child.tail or "")
    return "".join(pieces)


def _texts(element: Any) -> Iterator[str]:
    """The text of each paragraph and equation below an element."""
    if _name(element) == "p":
        yield "".join(_pieces(part) for run in element for part in run if _name(part) == "t").strip()
    for child in element:
        name = _name(child)
        if name == "script":
            yield (child.text or "").strip()
        elif name and name not in _LEFT_OUT and name != "t":
            yield from _texts(child)
