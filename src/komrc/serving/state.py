"""The state that all routes share: options, readiness, metrics and, once the model is loaded, its answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from komrc.serving.errors import no_index, not_ready
from komrc.serving.metrics import Metrics
from komrc.serving.options import ServeOptions

if TYPE_CHECKING:
    from komrc.serving.answer_service import AnswerService
    from komrc.serving.document_service import DocumentService


class Readiness:
    """Whether the server accepts requests: ``loading``, ``ready`` or ``draining``."""

    def __init__(self) -> None:
        self.state = "loading"

    @property
    def ready(self) -> bool:
        """Whether it accepts requests now."""
        return self.state == "ready"


@dataclass
class AppState:
    """The state of one application; what has the default None is set once the model is loaded."""

    options: ServeOptions
    readiness: Readiness
    metrics: Metrics
    answers: AnswerService | None = None
    model_config: dict[str, Any] | None = None
    documents: DocumentService | None = None

    def require_ready(self) -> AnswerService:
        """The service that answers questions. Raises RejectedError (503) while the model is loading."""
        if self.answers is None:
            raise not_ready("loading")
        return self.answers

    def require_index(self) -> DocumentService:
        """The service for the index. Raises RejectedError: 404 without an index, 503 while it is opened."""
        if self.options.index is None:
            raise no_index()
        if self.documents is None:
            raise not_ready("loading")
        return self.documents
