"""Loading the model of a server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from komrc.models import files, hub
from komrc.reader import Reader
from komrc.serving.options import ServeOptions
from komrc.text.particles import trim_many

_PRIVATE = {"_name_or_path", "auto_map"}  # a path on the training machine; remote code, which is never run


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A reader and the model's configuration, for ``GET /``."""

    reader: Reader
    config: dict[str, Any]


def load(options: ServeOptions) -> LoadedModel:
    """Load the model of the options. Raises HubError, ModelError, EngineError, MissingPackageError."""
    folder = hub.resolve(options.model)
    settings: dict[str, Any] = {
        "max_seq_length": options.max_seq_length,
        "doc_stride": options.doc_stride,
        "version_2_with_negative": False if options.always_answer else None,
    }
    reader = Reader.load(
        folder,
        engine=options.engine,
        trim_particles=options.trim_particles,
        model_type=options.model_type,
        tokenizer=None if options.tokenizer == options.model else options.tokenizer,
        **{name: value for name, value in settings.items() if value is not None},
    )
    if options.trim_particles is not None:  # a missing kiwipiepy is an error now, not at the first answer
        trim_many([("세종이", 0, 3)])
    config = files.read_config(folder)
    return LoadedModel(reader, {key: value for key, value in config.items() if key not in _PRIVATE})
