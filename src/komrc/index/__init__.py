"""Search in documents: passages, the terms they are found by, stores, and the class ``Index``."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from komrc.index.index import Index
    from komrc.index.passages import Passage
    from komrc.index.store import Hit, Store

__all__ = ["Hit", "Index", "Passage", "Store"]

_HOMES = {"Hit": "store", "Index": "index", "Passage": "passages", "Store": "store"}


def __getattr__(name: str) -> Any:
    """Modules are imported when they are asked for: a reader needs the search terms alone."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
