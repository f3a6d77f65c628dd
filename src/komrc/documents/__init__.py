"""Files to documents: the text of each file, its blocks, and the page that each block is on."""

from komrc.documents.document import Block, Document, Unread
from komrc.documents.limits import Limits
from komrc.documents.read import read_documents

__all__ = ["Block", "Document", "Limits", "Unread", "read_documents"]
