"""PowerPoint files (PPTX): the text of each slide; a slide's title is a heading, its number the page."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from komrc.documents.builder import Builder, Extracted
from komrc.documents.limits import Limits
from komrc.documents.zips import check_zip


def read(path: Path, limits: Limits) -> Iterator[Extracted]:
    """The document of a PPTX file: titles, text, tables and speaker's notes; no charts and no pictures."""
    import pptx

    check_zip(path, limits)
    presentation = pptx.Presentation(str(path))
    builder = Builder(limits)
    for number, slide in enumerate(presentation.slides, 1):
        title = slide.shapes.title
        if title is not None:
            builder.heading(title.text_frame.text, 1, number)
        for shape in _shapes(slide.shapes):
            if title is None or shape.shape_id != title.shape_id:
                _write(shape, builder, number)
        if slide.has_notes_slide and (notes := slide.notes_slide.notes_text_frame) is not None:
            builder.paragraph(notes.text, number)
    yield builder.extracted(presentation.core_properties.title or "")


def _shapes(shapes: Any) -> Iterator[Any]:
    """The shapes in their order, those of groups included."""
    for shape in shapes:
        if hasattr(shape, "shapes"):
            yield from _shapes(shape.shapes)
        else:
            yield shape


def _write(shape: Any, builder: Builder, page: int) -> None:
    if getattr(shape, "has_table", False):
        builder.table(([cell.text for cell in row.cells] for row in shape.table.rows), page)
    elif shape.has_text_frame:
        paragraphs = [paragraph.text for paragraph in shape.text_frame.paragraphs if paragraph.text.strip()]
        if len(paragraphs) > 1 and shape.is_placeholder:  # the bullets of a slide
            builder.items((f"- {paragraph}" for paragraph in paragraphs), page)
        else:
            builder.paragraph("\n".join(paragraphs), page)
