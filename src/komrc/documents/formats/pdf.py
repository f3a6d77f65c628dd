"""PDF: the text of each page by PDFium, cut into paragraphs and headings by where the lines are.

A PDF file has characters at places and no paragraphs. A paragraph ends where the distance to the next line is
larger than usual, where the size of the letters changes, and in front of a line that begins as an item does.
Letters larger than most of the file's are those of headings.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

from komrc.documents.builder import Builder, Extracted
from komrc.documents.limits import Limits
from komrc.documents.statutes import heading_at
from komrc.errors import DataError

_LARGER_GAP = 1.3  # times the usual distance of lines
_OTHER_SIZE = 1.15  # times the height of the letters
_HEADING_SIZE = 1.15
_SAMPLED = 8  # letters of a line whose boxes are looked at
_LONGEST_HEADING = 80  # characters
_ITEM = re.compile(r"[□■○●◦◇◆▶▷•※①-⑳❶-❿ㅇ]|[-–] |\(\d{1,2}\)|\d{1,2}[.)] |[가-하][.)] |제\s?\d+\s?[장절조]\b")
_NO_TITLE = re.compile(
    r"^(untitled|제목 ?없음|Microsoft (Word|PowerPoint|Excel) - .*|.*\.(docx?|hwpx?|pptx?|xlsx?|pdf))$", re.I
)
_SENTENCE_END = re.compile(r"[.?!]$|[.?!][\"'”’)]$")


@dataclass(slots=True)
class _Line:
    text: str
    right: float  # in points, from the left of the page
    bottom: float  # from its bottom
    size: float  # the usual height of a letter's box


@dataclass(slots=True)
class _Paragraph:
    lines: list[_Line]
    page: int

    @property
    def text(self) -> str:
        return "\n".join(line.text for line in self.lines)


def read(path: Path, limits: Limits) -> Iterator[Extracted]:
    """The document of a PDF file. Raises DataError for one that is encrypted, or that has no text."""
    import pypdfium2

    try:
        document = pypdfium2.PdfDocument(path)
    except pypdfium2.PdfiumError as error:
        if error.err_code == pypdfium2.raw.FPDF_ERR_PASSWORD:
            raise DataError("is encrypted with a password", fix="save it without a password") from error
        raise DataError("is damaged, or no PDF file", fix="get the whole file again") from error
    with document:
        paragraphs: list[_Paragraph] = []
        characters = 0
        for number in range(len(document)):
            for paragraph in _paragraphs(_lines(document, number), number + 1):
                paragraphs.append(paragraph)
                characters += len(paragraph.text)
            if characters > limits.characters:
                break  # the builder refuses it
        if not paragraphs:
            raise DataError(
                f"has no text on its {len(document)} pages; they are pictures",
                fix="it needs OCR: run one, such as ocrmypdf, and give the file that it writes",
            )
        title = (document.get_metadata_value("Title") or "").strip()
    builder = Builder(limits)
    _write(paragraphs, builder)
    yield builder.extracted("" if _NO_TITLE.match(title) else title)


def _lines(document: Any, number: int) -> Iterator[_Line]:
    """The lines of a page from top to bottom, as PDFium orders them. A damaged page has none."""
    import pypdfium2

    try:
        page = document[number]
        text_page = page.get_textpage()
    except pypdfium2.PdfiumError:
        return
    count = text_page.count_chars()
    codes = [pypdfium2.raw.FPDFText_GetUnicode(text_page.raw, at) for at in range(count)]
    begin = 0
    for at in range(count + 1):
        if at == count or codes[at] in (0x0A, 0x0D):
            visible = [place for place in range(begin, at) if not chr(codes[place]).isspace()]
            if visible and (text := _text(codes[begin:at])):
                # A line may have letters of several fonts, whose boxes differ in height.
                sample = visible[:: max(1, len(visible) // _SAMPLED)]
                boxes = [text_page.get_charbox(place, loose=True) for place in (*sample, visible[-1])]
                size = median(top - bottom for _, bottom, _, top in boxes)
                yield _Line(text, boxes[-1][2], median(box[1] for box in boxes), max(0.1, size))
            begin = at + 1
    text_page.close()
    page.close()


def _text(codes: list[int]) -> str:
    """Characters from UTF-16 units or code points. PDFium writes U+0002 for a hyphen at the end of a line."""
    text = "".join(map(chr, codes)).replace("\x02", "-").replace("\ufffe", "-")
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace").strip("\x00 \t\u00a0")


def _paragraphs(lines: Iterator[_Line], page: int) -> Iterator[_Paragraph]:
    ordered = list(lines)
    steps = [above.bottom - line.bottom for above, line in pairwise(ordered)]
    usual = median([step for step in steps if step > 0] or [0])
    margin = max((line.right for line in ordered), default=0)
    current: list[_Line] = []
    for line in ordered:
        if current and _begins_paragraph(current[-1], line, usual, margin):
            yield _Paragraph(current, page)
            current = []
        current.append(line)
    if current:
        yield _Paragraph(current, page)


def _begins_paragraph(above: _Line, line: _Line, usual: float, margin: float) -> bool:
    step = above.bottom - line.bottom
    sizes = sorted((above.size, line.size))
    ended = above.right < margin - 2 * above.size and bool(_SENTENCE_END.search(above.text))
    return (
        step < -line.size  # the top of the next column
        or step > _LARGER_GAP * max(usual, line.size)
        or sizes[1] > _OTHER_SIZE * sizes[0]
        or ended
        or _ITEM.match(line.text) is not None
        or heading_at(line.text) is not None
    )


def _write(paragraphs: list[_Paragraph], builder: Builder) -> None:
    sizes: Counter[float] = Counter()
    for paragraph in paragraphs:
        for line in paragraph.lines:
            sizes[_rounded(line.size)] += len(line.text)
    body = sizes.most_common(1)[0][0]
    heading_sizes = sorted(
        {_rounded(paragraph.lines[0].size) for paragraph in paragraphs if _is_heading(paragraph, body)},
        reverse=True,
    )
    for paragraph in paragraphs:
        if _is_heading(paragraph, body):
            level = heading_sizes.index(_rounded(paragraph.lines[0].size)) + 1
            builder.heading(paragraph.text, level, paragraph.page)
        else:
            builder.paragraph(paragraph.text, paragraph.page)


def _is_heading(paragraph: _Paragraph, body: float) -> bool:
    text = paragraph.text
    return (
        _rounded(paragraph.lines[0].size) >= _HEADING_SIZE * body
        and len(text) <= _LONGEST_HEADING
        and not _SENTENCE_END.search(text)
        and any(character.isalpha() for character in text)
    )


def _rounded(size: float) -> float:
    return round(2 * size) / 2
