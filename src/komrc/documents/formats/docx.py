"""Word documents (DOCX): paragraphs, headings by style, lists, tables, text boxes and notes.

python-docx opens the file and names its styles. Its own lists of paragraphs leave out what is in content
controls, in text boxes and in insertions that are not yet accepted, so the elements are walked here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from komrc.documents.builder import Builder, Extracted
from komrc.documents.limits import Limits
from komrc.documents.zips import check_zip

_HEADING_NAME = re.compile(r"(?:heading|제목)\s*([1-9])$", re.IGNORECASE)
_OUTLINE_NAME = re.compile(r"개요\s*([1-9])$")
_TITLE_NAMES = frozenset(("title", "제목"))
_LEFT_OUT = frozenset(
    ("del", "moveFrom", "pPr", "rPr", "Fallback", "instrText", "delText", "txbxContent", "tbl")
)
_AS_TEXT = {"tab": "\t", "br": "\n", "cr": "\n", "noBreakHyphen": "-"}
_NOTES = ("footnotes", "endnotes")


def read(path: Path, limits: Limits) -> Iterator[Extracted]:
    """The document of a DOCX file. Headers, footers and comments are left out."""
    import docx

    check_zip(path, limits)
    document = docx.Document(str(path))
    builder = Builder(limits)
    writer = _Writer(builder, _heading_levels(document))
    writer.blocks(document.element.body)
    writer.end_list()
    for relation in document.part.rels.values():
        if relation.reltype.rpartition("/")[2] in _NOTES and not relation.is_external:
            for note in _parsed(relation.target_part.blob):
                if not note.get(_qualified(note, "type")):  # separators have a type
                    builder.paragraph("\n".join(_texts(note)))
    yield builder.extracted(document.core_properties.title or "")


def _parsed(xml: bytes) -> Any:
    from lxml import etree

    return etree.fromstring(xml, etree.XMLParser(resolve_entities=False, no_network=True))


def _heading_levels(document: Any) -> dict[str, int]:
    """The level of each style that is one of headings, by the style's id."""
    levels: dict[str, int] = {}
    for style in document.styles:
        name = style.name or ""
        named = _HEADING_NAME.match(name) or _OUTLINE_NAME.match(name)
        if named:
            levels[style.style_id] = min(6, int(named[1]))
        elif name.casefold() in _TITLE_NAMES:
            levels[style.style_id] = 1
    return levels


def _name(element: Any) -> str:
    return element.tag.rpartition("}")[2] if isinstance(element.tag, str) else ""


def _qualified(element: Any, name: str) -> str:
    return f"{element.tag.rpartition('}')[0]}}}{name}"


def _child(element: Any, *names: str) -> Any:
    for name in names:
        element = next((child for child in element if _name(child) == name), None)
        if element is None:
            return None
    return element


def _value(element: Any) -> str:
    return (element.get(_qualified(element, "val")) or "") if element is not None else ""


class _Writer:
    def __init__(self, builder: Builder, heading_levels: dict[str, int]) -> None:
        self._builder = builder
        self._heading_levels = heading_levels
        self._items: list[str] = []

    def blocks(self, parent: Any) -> None:
        """Write what is in a body, a content control, an insertion or a text box."""
        for element in parent:
            name = _name(element)
            if name == "p":
                self._paragraph(element)
            elif name == "tbl":
                self.end_list()
                self._builder.table(_rows(element))
            elif name in ("sdt", "sdtContent", "ins", "moveTo", "customXml", "smartTag"):
                self.blocks(element)

    def end_list(self) -> None:
        """Write the items of a list that has ended."""
        items, self._items = self._items, []
        self._builder.items(items)

    def _paragraph(self, paragraph: Any) -> None:
        text = "".join(_pieces(paragraph))
        properties = _child(paragraph, "pPr")
        level = self._level(properties)
        if not text.strip():
            pass
        elif level and len(text) <= 200:
            self.end_list()
            self._builder.heading(text, level)
        elif properties is not None and _child(properties, "numPr") is not None:
            self._items.append("- " + text.strip())
        else:
            self.end_list()
            self._builder.paragraph(text)
        for box in _text_boxes(paragraph):
            self.end_list()
            self.blocks(box)

    def _level(self, properties: Any) -> int:
        if properties is None:
            return 0
        outline = _value(_child(properties, "outlineLvl"))
        if outline.isdecimal() and int(outline) < 9:
            return min(6, int(outline) + 1)
        return self._heading_levels.get(_value(_child(properties, "pStyle")), 0)


def _pieces(element: Any) -> Iterator[str]:
    """The text of a paragraph's runs, with accepted and open insertions and without deletions."""
    for child in element:
        name = _name(child)
        if name == "t":
            yield child.text or ""
        elif name in _AS_TEXT:
            yield _AS_TEXT[name]
        elif name not in _LEFT_OUT:
            yield from _pieces(child)


def _text_boxes(element: Any) -> Iterator[Any]:
    """The text boxes that are anchored in a paragraph; the copy for old versions of Word is left out."""
    for child in element:
        name = _name(child)
        if name == "txbxContent":
            yield child
        elif name != "Fallback":
            yield from _text_boxes(child)


def _texts(element: Any) -> Iterator[str]:
    """The texts of all paragraphs below an element."""
    for child in element:
        if _name(child) == "p":
            yield "".join(_pieces(child))
            for box in _text_boxes(child):
                yield from _texts(box)
        elif _name(child) not in ("del", "moveFrom", "Fallback"):
            yield from _texts(child)


def _rows(table: Any) -> Iterator[list[str]]:
    """The rows of a table. A merged cell has its text once and is empty in the other places."""
    for row in _within(table, "tr"):
        cells: list[str] = []
        for cell in _within(row, "tc"):
            merged = _child(cell, "tcPr", "vMerge")
            continues = merged is not None and _value(merged) in ("", "continue")
            cells.append("" if continues else " ".join(_texts(cell)))
            span = _value(_child(cell, "tcPr", "gridSpan"))
            cells += [""] * (min(int(span), 64) - 1 if span.isdecimal() else 0)
        yield cells


def _within(element: Any, name: str) -> Iterator[Any]:
    """Children of a name, also in content controls and insertions."""
    for child in element:
        if _name(child) == name:
            yield child
        elif _name(child) in ("sdt", "sdtContent", "ins", "customXml"):
            yield from _within(child, name)
