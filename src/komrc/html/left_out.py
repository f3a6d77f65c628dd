"""What of a document is not read: code, navigation, edit links, marks of references and lists of them."""

from __future__ import annotations

import re

from komrc.html.tree import Element, Text

_NEVER = frozenset(
    (
        "head",
        "title",
        "script",
        "style",
        "noscript",
        "template",
        "svg",
        "math",
        "iframe",
        "object",
        "canvas",
        "audio",
        "video",
    )
) | frozenset(("nav", "button", "select", "textarea", "datalist", "option", "input"))
_ROLES = frozenset(("navigation", "search", "menu", "menubar", "toolbar"))
_CLASSES = frozenset(  # of MediaWiki, and common elsewhere
    (
        "mw-editsection",
        "mw-jump-link",
        "toc",
        "navbox",
        "catlinks",
        "printfooter",
        "reflist",
        "references",
        "noprint",
    )
) | frozenset(("navbar", "breadcrumb", "breadcrumbs", "sr-only", "visually-hidden", "mw-references-wrap"))
_IDS = frozenset(
    ("toc", "catlinks", "mw-navigation", "mw-head", "mw-panel", "siteNotice", "jump-to-nav", "footer")
)

# KorQuAD's pages have no attributes, so that the words must do.
_EDIT_LINK = re.compile(
    r"\s*\[\s*(?:원본\s*)?편집\s*(?:\|\s*원본 편집\s*)?\]\s*|\s*\[\s*edit(?: source)?\s*\]\s*"
)
_REFERENCE = re.compile(r"\s*(?:\[[^\[\]]{1,12}\]\s*)+")  # [1], [주 2], [출처 필요]
_LISTS_LEFT_OUT = re.compile(  # headings whose lists only name sources or other places
    r"각주|주석|참고\s*문헌|참고\s*자료|각주 및 참고\s*문헌|외부\s*링크|목차|(둘러보기|탐색)\s*메뉴"
    r"|references?|notes|footnotes|bibliography|external links|contents|navigation menu",
    re.IGNORECASE,
)
_JUMP_LINK = re.compile(
    r"\s*(둘러보기로 가기|검색하러 가기|본문으로 건너뛰기|jump to (navigation|search))\s*", re.IGNORECASE
)
_SHORT_TEXTS = {
    "span": _EDIT_LINK,
    "small": _EDIT_LINK,
    "sup": _REFERENCE,
    "a": _JUMP_LINK,
    "div": _JUMP_LINK,
}
_LONGEST = 40  # characters of what may be an edit link, a mark or a jump link
_LISTS = frozenset(("ul", "ol", "dl"))


def is_left_out(element: Element, heading: str) -> bool:
    """Whether an element is not read. ``heading``: the text of the last heading in front of it."""
    tag, attributes = element.tag, element.attributes
    if tag in _NEVER or (attributes and _attributes_say_so(attributes)):
        return True
    pattern = _SHORT_TEXTS.get(tag)
    if pattern is not None:
        text = _short_text(element)
        return text is not None and pattern.fullmatch(text) is not None
    return tag in _LISTS and _LISTS_LEFT_OUT.fullmatch(heading) is not None


def _attributes_say_so(attributes: dict[str, str]) -> bool:
    return (
        "hidden" in attributes
        or attributes.get("aria-hidden") == "true"
        or attributes.get("role") in _ROLES
        or attributes.get("id") in _IDS
        or not _CLASSES.isdisjoint(attributes.get("class", "").split())
        or re.search(r"display\s*:\s*none", attributes.get("style", "")) is not None
    )


def _short_text(element: Element) -> str | None:
    """All text in an element; None if it is long."""
    parts: list[str] = []
    length = 0
    stack: list[Element | Text] = [element]
    while stack:
        node = stack.pop()
        if isinstance(node, Text):
            parts.append(node.data)
            length += len(node.data)
            if length > _LONGEST:
                return None
        else:
            if len(node.children) + len(stack) > _LONGEST:
                return None
            stack.extend(reversed(node.children))
    return "".join(parts)
