"""Search in documents: passages, the terms they are found by, stores, and the class ``Index``."""

from komrc.index.index import Index
from komrc.index.passages import Passage
from komrc.index.store import Hit, Store

__all__ = ["Hit", "Index", "Passage", "Store"]
