"""What a file gives: a document (its text and what each part of the text is), or the reason why not."""

from __future__ import annotations

from dataclasses import dataclass

BLOCK_KINDS = ("heading", "paragraph", "list", "table", "code")


@dataclass(frozen=True, slots=True)
class Block:
    """A part of a document's text that has one kind.

    Args:
        kind: one of BLOCK_KINDS.
        start: where the part begins in ``Document.text``, in code points.
        end: one past its last code point.
        page: the page of a PDF file or the slide of a presentation, from 1; None if the format has no pages.
        level: of a heading, 1 to 6; 0 for every other kind.
    """

    kind: str
    start: int
    end: int
    page: int | None = None
    level: int = 0


@dataclass(frozen=True, slots=True)
class Document:
    """The text of a file, or of one record of a file.

    Args:
        id: the file's path with ``/``, relative to the folder that was given, and ``#id`` of the record for
            files that contain several documents.
        title: the file's own title, else its first heading, else its name.
        text: the extracted text, with ``\\n`` at the end of each line and not normalized otherwise. All
            offsets count its code points.
        blocks: the parts of the text, in order and without overlap. A ``table`` has one line for a row, with
            " | " between cells. What is between blocks is white space.
        source: the path of the file.
    """

    id: str
    title: str
    text: str
    blocks: tuple[Block, ...]
    source: str


@dataclass(frozen=True, slots=True)
class Unread:
    """A file, or a record of a file, that gave no document.

    Args:
        source: the path of the file.
        reason: what is wrong, and what to do about it. It continues the path, as in "is empty".
    """

    source: str
    reason: str
