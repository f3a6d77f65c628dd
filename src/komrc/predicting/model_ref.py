"""A reference to the model of a run. It loads the same model in every process, or raises an error."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from komrc import __version__, storage
from komrc.engines.loading import EngineName, chosen_engine
from komrc.errors import ModelError
from komrc.models import files, hub
from komrc.reader import Reader


@dataclass(frozen=True, slots=True)
class ModelRef:
    """A model that other processes and hosts can load; ``sha256`` proves that it is the same there."""

    source: str | None  # folder or hub id; None: the embedded model
    engine: EngineName
    trim_particles: Literal["kiwi"] | None
    sha256: str
    model_type: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)  # override those of the folder
    version: str = __version__

    @classmethod
    def of(
        cls,
        source: str | None,
        *,
        engine: EngineName = "auto",
        trim_particles: Literal["kiwi"] | None = None,
        model_type: str | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> ModelRef:
        """The reference to a local model, with "auto" resolved. Raises HubError, ModelError, EngineError."""
        folder = hub.resolve(source)
        name = str(folder.absolute()) if source is not None and Path(source).is_dir() else source
        chosen, _ = chosen_engine(folder, engine)
        return cls(name, chosen, trim_particles, _digest(folder), model_type, dict(settings or {}))

    def identity(self) -> dict[str, str]:
        """What the answers depend on, by name."""
        return {
            "model": self.sha256,
            "engine": self.engine,
            "trim_particles": str(self.trim_particles),
            "komrc": self.version,
            "settings": ", ".join(f"{name}={value}" for name, value in sorted(self.settings.items())),
        }

    def load(self) -> Reader:
        """Load the model. Raises ModelError if the model or the version of KoMRC differs from the run's."""
        folder = hub.resolve(self.source)
        if __version__ != self.version:
            raise ModelError(
                f"KoMRC is {__version__} here, but the run began with {self.version}",
                where=platform.node(),
                fix="install the same version on every host",
            )
        if _digest(folder) != self.sha256:
            raise ModelError(
                "is not the model that the run began with",
                where=f"{platform.node()}:{folder}",
                fix="give every host the same files",
            )
        return Reader.load(
            folder,
            engine=self.engine,
            trim_particles=self.trim_particles,
            model_type=self.model_type,
            **self.settings,
        )


def _digest(folder: Path) -> str:
    """Hash of the names and contents of the model's own files. Other files in the folder, such as answers
    or a README, do not change it.
    """
    lines = [f"{storage.sha256_file(path)} {path.name}" for path in files.own_files(folder)]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
