"""Files to documents: the text of each file, its blocks, and the page that each block is on."""

from komrc.documents.document import Block, Document, Unread

__all__ = ["Block", "Document", "Unread"]
