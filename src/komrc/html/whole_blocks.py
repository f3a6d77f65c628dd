"""Answers in a page as spans of its view that a reader can learn and find.

A whole block is written as the span of its marker alone, so that a table of any length is an answer of one
token:

- the marker of a paragraph, list, item, term, table, caption, row, header or cell: the whole element,
- the marker of a heading: the section below it, without the heading, down to the next heading that is not of
  a lower level.

Any other answer is the span of its characters. One that is the whole content of a block and longer than
LONGEST_SPAN characters is written as its block, whose text is the same.
"""

from __future__ import annotations

from bisect import bisect_left

from komrc.html.view import MARKERS, Block, HtmlView

LONGEST_SPAN = 40  # characters; a reader finds the end of a longer span less often than the block's beginning
_MARKERS = frozenset(MARKERS.values())


def to_label(view: HtmlView, html_start: int, html_end: int) -> tuple[int, int] | None:
    """The span of ``view.text`` to teach for the answer ``html[html_start:html_end]``; None where the view
    shows nothing of it."""
    place = view.from_html(html_start, html_end)
    if place is None:
        return None
    start, end = place
    while end > start + 1 and view.text[end - 1].isspace():
        end -= 1
    block = _beginning_at(view, start)
    if block is not None and block.end == end:
        # A heading's marker is the section below it, so that a heading itself is its characters.
        return (start + 1, end) if block.kind == "heading" else (start, start + 1)
    if end - start > LONGEST_SPAN:
        above = _beginning_at(view, start - 1)
        if above is not None and above.end == end and above.kind != "heading":
            return above.start, above.start + 1
    heading = _heading_in_front(view, start)
    if heading is not None and section(view, heading)[1] == end:
        return heading.start, heading.start + 1
    return start, end


def from_label(view: HtmlView, start: int, end: int) -> tuple[int, int]:
    """The range of the HTML that a found span of ``view.text`` is the answer of; it cuts no element."""
    while end > start + 1 and (view.text[end - 1] in _MARKERS or view.text[end - 1].isspace()):
        end -= 1
    block = _beginning_at(view, start) if end == start + 1 else None
    if block is None:
        return view.to_html(start, end)
    if block.kind == "heading":
        below = section(view, block)
        if below[0] < below[1]:
            return view.to_html(*below)
    return block.html_start, block.html_end


def section(view: HtmlView, heading: Block) -> tuple[int, int]:
    """The characters of the view below a heading, without white space around them."""
    after = bisect_left(view.blocks, heading.end, key=lambda block: block.start)
    following = (b.start for b in view.blocks[after:] if b.kind == "heading" and b.level <= heading.level)
    start, end = heading.end, next(following, len(view.text))
    while start < end and view.text[start].isspace():
        start += 1
    while start < end and view.text[end - 1].isspace():
        end -= 1
    return start, end


def _beginning_at(view: HtmlView, place: int) -> Block | None:
    index = bisect_left(view.blocks, place, key=lambda block: block.start)
    if index < len(view.blocks) and view.blocks[index].start == place:
        return view.blocks[index]
    return None


def _heading_in_front(view: HtmlView, place: int) -> Block | None:
    """The heading that ends right in front of a place."""
    index = bisect_left(view.blocks, place, key=lambda block: block.start) - 1
    if index < 0:
        return None
    block = view.blocks[index]
    if block.kind != "heading" or block.end > place or view.text[block.end : place].strip():
        return None
    return block
