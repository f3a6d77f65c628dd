"""Contexts that are HTML pages: what is read of each."""

from __future__ import annotations

from komrc.errors import InputError, MissingPackageError
from komrc.html import HtmlView
from komrc.serving.answer_service import LocatedPair
from komrc.serving.options import ServeOptions


def pages_of(
    pairs: list[LocatedPair], places: list[tuple[int, int]], options: ServeOptions
) -> list[HtmlView]:
    """The page of each context, in the order of the contexts.

    Raises InputError for HTML beyond the limit of a context, or without text that is read, and if the parser
    is not installed.
    """
    contexts = {c: pair for pair, (_, c) in zip(pairs, places, strict=True)}
    limit = options.max_context_chars
    pages = []
    for c in sorted(contexts):
        html, where = contexts[c].context, contexts[c].context_at
        if len(html) > limit:
            raise InputError(f"the HTML has {len(html)} characters", where=where, fix=f"send at most {limit}")
        try:
            page = HtmlView(html)
        except MissingPackageError as error:
            fix = "install komrc[html] where the server runs, or send plain text"
            raise InputError("this server can't read HTML", where="format", fix=fix) from error
        if not page.plain.strip():
            raise InputError("the HTML has no text that is read", where=where, fix="send a page with text")
        pages.append(page)
    return pages


def texts_of(
    pairs: list[LocatedPair], places: list[tuple[int, int]], pages: list[HtmlView]
) -> list[LocatedPair]:
    """The pairs with the pages' texts as their contexts."""
    texts = [page.plain for page in pages]
    return [pair._replace(context=texts[c]) for pair, (_, c) in zip(pairs, places, strict=True)]
