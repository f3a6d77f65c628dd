"""A search without an index, for tests of what is done with its results."""

from __future__ import annotations

from collections.abc import Mapping

from komrc.index.passages import Passage
from komrc.index.store import Hit


class FixedSearch:
    """Gives the paragraphs of documents with falling scores, whatever is asked.

    Args:
        documents: texts by id; a paragraph ends at an empty line.
        pages: the page of each document, if it has one.
    """

    def __init__(self, documents: Mapping[str, str], pages: Mapping[str, int] | None = None) -> None:
        self.documents = documents
        self.hits: list[Hit] = []
        for document, text in documents.items():
            start = 0
            for paragraph in text.split("\n\n"):
                end = start + len(paragraph)
                if paragraph.strip():
                    passage = Passage(
                        id=len(self.hits),
                        document=document,
                        title=document,
                        heading="",
                        text=paragraph,
                        start=start,
                        end=end,
                        page=(pages or {}).get(document),
                        line=1 + text.count("\n", 0, start),
                    )
                    self.hits.append(Hit(passage, 10.0 / (1 + len(self.hits))))
                start = end + 2

    def search(self, _question: str, *, top_k: int) -> list[Hit]:
        return self.hits[:top_k]
