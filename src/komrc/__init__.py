"""KoMRC: Korean extractive question answering, with answers cut at the exact character."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from komrc.asking import DocumentAnswer
    from komrc.client import AsyncClient, Client
    from komrc.data import Page, from_dataset, load_korquad2, load_squad, to_dataset
    from komrc.errors import (
        DataError,
        EngineError,
        HubError,
        InputError,
        KomrcError,
        MissingPackageError,
        ModelError,
        ServerError,
        StorageError,
        TrainingError,
        UsageError,
    )
    from komrc.evaluation import evaluate
    from komrc.exporting import export
    from komrc.index import Index
    from komrc.modeling.auto_model import SpanReaderConfig, SpanReaderForQuestionAnswering
    from komrc.reader import Prediction, Reader
    from komrc.tokenization.kobert import KoBertTokenizer
    from komrc.training.options import TrainingOptions
    from komrc.training.train import train
    from komrc.types import Answer, Example, Gold, Span

__version__ = "0.1.0"  # the one place: pyproject.toml reads it here
__all__ = [
    "Answer",
    "AsyncClient",
    "Client",
    "DataError",
    "DocumentAnswer",
    "EngineError",
    "Example",
    "Gold",
    "HubError",
    "Index",
    "InputError",
    "KoBertTokenizer",
    "KomrcError",
    "MissingPackageError",
    "ModelError",
    "Page",
    "Prediction",
    "Reader",
    "ServerError",
    "Span",
    "SpanReaderConfig",
    "SpanReaderForQuestionAnswering",
    "StorageError",
    "TrainingError",
    "TrainingOptions",
    "UsageError",
    "__version__",
    "evaluate",
    "export",
    "from_dataset",
    "load_korquad2",
    "load_squad",
    "to_dataset",
    "train",
]  # fmt: skip

# Imported at first use: `import komrc` is fast, and needs neither torch nor transformers.
_EXPORTS = {
    "komrc.asking": ("DocumentAnswer",),
    "komrc.client": ("AsyncClient", "Client"),
    "komrc.data": ("Page", "from_dataset", "load_korquad2", "load_squad", "to_dataset"),
    "komrc.errors": (
        "DataError", "EngineError", "HubError", "InputError", "KomrcError", "MissingPackageError",
        "ModelError", "ServerError", "StorageError", "TrainingError", "UsageError",
    ),
    "komrc.evaluation": ("evaluate",),
    "komrc.exporting": ("export",),
    "komrc.index": ("Index",),
    "komrc.modeling.auto_model": ("SpanReaderConfig", "SpanReaderForQuestionAnswering"),
    "komrc.reader": ("Prediction", "Reader"),
    "komrc.tokenization.kobert": ("KoBertTokenizer",),
    "komrc.training.options": ("TrainingOptions",),
    "komrc.training.train": ("train",),
    "komrc.types": ("Answer", "Example", "Gold", "Span"),
}  # fmt: skip
_MODULE_OF = {name: module for module, names in _EXPORTS.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'komrc' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_MODULE_OF[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
