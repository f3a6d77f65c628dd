"""The model of a run, the same wherever it is loaded."""

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
class Model:
    """A reader that can be loaded anywhere, and is the same there or refused."""

    source: str | None  # folder or hub id; None: the embedded model
    engine: EngineName
    trim_particles: Literal["kiwi"] | None
    sha256: str
    model_type: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)  # in place of the folder's
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
    ) -> Model:
        """The model as it is here; "auto" is resolved here, too. Raises HubError, ModelError, EngineError."""
        folder = hub.resolve(source)
        named = str(folder.absolute()) if source is not None and Path(source).is_dir() else source
        chosen = chosen_engine(folder, engine)
        return cls(named, chosen, trim_particles, _digest(folder), model_type, dict(settings or {}))

    def identity(self) -> dict[str, str]:
        """What answers depend on, by name."""
        return {
            "model": self.sha256,
            "engine": self.engine,
            "trim_particles": str(self.trim_particles),
            "komrc": self.version,
            "settings": ", ".join(f"{name}={value}" for name, value in sorted(self.settings.items())),
        }

    def load(self) -> Reader:
        """Load it. Raises ModelError where the model or KoMRC here is another one."""
        folder = hub.resolve(self.source)
        if __version__ != self.version:
            raise ModelError(
                f"KoMRC is {__version__} here, and the run began with {self.version}",
                where=platform.node(),
                fix="install the same version on every host",
            )
        if _digest(folder) != self.sha256:
            raise ModelError(
                "not the model that the run began with",
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
    """Of the model's own files by name and content: changes when the model is trained again, and not when
    answers or a README are written beside it."""
    facts = [f"{storage.sha256_file(path)} {path.name}" for path in files.own_files(folder)]
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()
