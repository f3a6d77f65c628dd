"""KoMRC: Korean extractive question answering, with answers cut at the exact character."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from komrc.data import load_squad
    from komrc.reader import Reader
    from komrc.tokenization.kobert import KoBertTokenizer
    from komrc.types import Answer, Example

__version__ = "0.1.0"
__all__ = ["Answer", "Example", "KoBertTokenizer", "Reader", "__version__", "load_squad"]

# Name -> module, imported at first use: `import komrc` stays fast and needs neither torch nor transformers.
_HOME = {
    "Answer": "komrc.types",
    "Example": "komrc.types",
    "KoBertTokenizer": "komrc.tokenization.kobert",
    "Reader": "komrc.reader",
    "load_squad": "komrc.data",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'komrc' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
