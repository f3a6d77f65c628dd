"""How a model's windows are built and its answers decoded, and ``komrc.json``, which keeps that.

komrc.json, the options of the commands and the keyword arguments of ``Reader.load`` use the same names. Four
of them come from the scripts of 2020; ``_FIELDS`` has the field that each of them sets.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from komrc import __version__, storage
from komrc.errors import ModelError, UsageError, check_whole_number
from komrc.models import files

FORMAT = 1


@dataclass(frozen=True, slots=True)
class WindowConfig:
    """Lengths in tokens.

    Args:
        max_seq_length: question, context and special tokens together.
        doc_stride: from the start of one window to the start of the next.
        max_query_length: a longer question is cut at its end.
        html_markers: whether the markers of an HTML view's blocks are tokens of their own, as for a model
            that was trained on pages.
    """

    max_seq_length: int = 384
    doc_stride: int = 128
    max_query_length: int = 64
    html_markers: bool = False

    def within(self, longest: int) -> WindowConfig:
        """The same for windows of at most ``longest`` tokens: step and question shrink with the window."""
        if self.max_seq_length <= longest:
            return self
        return replace(
            self,
            max_seq_length=longest,
            doc_stride=max(1, min(self.doc_stride, longest // 2)),
            max_query_length=max(1, min(self.max_query_length, longest // 4)),
        )


@dataclass(frozen=True, slots=True)
class DecodingConfig:
    """How answers are picked.

    Args:
        n_best: candidates that are ranked for an example.
        max_answer_tokens: tokens of an answer at most.
        allow_no_answer: whether "no answer" is one of the answers.
        null_threshold: "no answer" comes first where its logit exceeds the best answer's by more.
        temperature: divides the logits before probabilities are made of them; the ranking stays.

    Raises UsageError for values of other kinds or beyond their ranges.
    """

    n_best: int = 20
    max_answer_tokens: int = 30
    allow_no_answer: bool = False
    null_threshold: float = 0.0
    temperature: float = 1.0

    def __post_init__(self) -> None:
        check_whole_number(self.n_best, "n_best")
        check_whole_number(self.max_answer_tokens, "max_answer_tokens")
        if not self.temperature > 0:
            raise UsageError(f"must be above 0, found {self.temperature}", where="temperature")


@dataclass(frozen=True, slots=True)
class ReaderConfig:
    """All settings of a reader. The defaults serve a model folder without komrc.json."""

    windows: WindowConfig = WindowConfig()
    decoding: DecodingConfig = DecodingConfig()

    @classmethod
    def of(cls, **values: Any) -> ReaderConfig:
        """The defaults with these values in their place; see ``changed``."""
        return cls().changed(**values)

    def changed(self, **values: Any) -> ReaderConfig:
        """This configuration with other values, by their names in komrc.json.

        Raises UsageError for a name that is no setting and for a value that the setting can't have.
        """
        unknown = sorted(values.keys() - NAMES)
        if unknown:
            raise UsageError(
                f"no setting is called {unknown[0]!r}",
                where="Reader.load",
                fix=f"choose from {', '.join(NAMES)}",
            )
        for name, value in values.items():
            _check(name, value)
        inner = {_FIELDS.get(name, name): value for name, value in values.items()}
        return ReaderConfig(
            replace(self.windows, **{name: inner[name] for name in _WINDOWS if name in inner}),
            replace(self.decoding, **{name: inner[name] for name in _DECODING if name in inner}),
        )

    def values(self) -> dict[str, Any]:
        """All settings by their names in komrc.json."""
        inner = {**asdict(self.windows), **asdict(self.decoding)}
        return {name: inner[_FIELDS.get(name, name)] for name in NAMES}

    def fitted(self, longest: int, given: Mapping[str, Any]) -> ReaderConfig:
        """With the values that a caller gave, and windows no longer than the model can read.

        Args:
            longest: tokens that the model can read at once.
            given: values by their names in komrc.json.

        Raises UsageError as ``changed`` does, for a step longer than a window and for a window that is too
        long for the model.
        """
        wanted = self.changed(**given)
        window = wanted.windows.max_seq_length
        if "doc_stride" in given and wanted.windows.doc_stride > window:
            raise UsageError(
                f"a step of {wanted.windows.doc_stride} tokens is longer than a window of {window}",
                where="doc_stride",
                fix="use about a third of max_seq_length",
            )
        if "max_seq_length" in given and window > longest:
            raise UsageError(
                f"windows of {window} tokens are longer than the model can read ({longest})",
                where="max_seq_length",
                fix=f"use a max_seq_length of {longest} or less",
            )
        shrunk = self.windows.within(min(window, longest))
        return wanted.changed(**(asdict(shrunk) | dict(given))) if shrunk != self.windows else wanted

    def save(self, folder: Path, provenance: Provenance) -> None:
        """Write komrc.json into the folder. Raises StorageError."""
        values = {"format": FORMAT, **self.values(), **asdict(provenance)}
        storage.write_json(folder / files.SETTINGS, values)

    @classmethod
    def load(cls, folder: Path) -> ReaderConfig:
        """The settings in the folder's komrc.json; the defaults where it has none. Keys that this version
        doesn't know are ignored. Raises ModelError for a damaged file or a newer format."""
        values = _read(folder)
        try:
            return cls.of(**{name: value for name, value in values.items() if name in NAMES})
        except UsageError as error:
            raise _damaged(folder, error) from error


@dataclass(frozen=True, slots=True)
class Provenance:
    """What a model folder was made from. komrc.json keeps it beside the settings.

    Args:
        boundary_head: whether the model cuts answers inside tokens.
        data_sha256: file name -> hash of the data that the model was trained on.
        tokenizer_sha256: fingerprint of the tokenizer that it was trained with; empty: not known.
        komrc_version: of the KoMRC that wrote the file.
    """

    boundary_head: bool = False
    data_sha256: dict[str, str] = field(default_factory=dict)
    tokenizer_sha256: str = ""
    komrc_version: str = __version__

    @classmethod
    def load(cls, folder: Path) -> Provenance:
        """As in the folder's komrc.json; empty where it has none. Raises ModelError for a damaged file."""
        values, empty = _read(folder), cls()
        known = {item.name: values[item.name] for item in fields(cls) if item.name in values}
        try:
            for name, value in known.items():
                _check_kind(name, value, type(getattr(empty, name)))
        except UsageError as error:
            raise _damaged(folder, error) from error
        return cls(**known)


_WINDOWS = tuple(item.name for item in fields(WindowConfig))
_DECODING = tuple(item.name for item in fields(DecodingConfig))
# The name in komrc.json -> the field, where they differ.
_FIELDS = {
    "n_best_size": "n_best",
    "max_answer_length": "max_answer_tokens",
    "version_2_with_negative": "allow_no_answer",
    "null_score_diff_threshold": "null_threshold",
}
_NAMES_OF_FIELDS = {inner: name for name, inner in _FIELDS.items()}
NAMES = tuple(_NAMES_OF_FIELDS.get(name, name) for name in (*_WINDOWS, *_DECODING))
_KINDS: dict[type, str] = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "text",
    dict: "an object",
}


def _check(name: str, value: Any) -> None:
    """Raises UsageError for a value that a setting can't have."""
    default = ReaderConfig().values()[name]
    _check_kind(name, value, type(default))
    if type(default) is int and value < 1:
        raise UsageError(f"must be at least 1, found {value}", where=name)
    if name == "temperature" and not 1e-3 <= value <= 1e3:
        raise UsageError(f"must be a number from 0.001 to 1,000, found {value}", where=name)
    if type(default) is float and not math.isfinite(value):
        raise UsageError("must be a finite number", where=name)


def _check_kind(name: str, value: Any, kind: type) -> None:
    if type(value) is not kind and not (kind is float and type(value) is int):
        raise UsageError(f"must be {_KINDS[kind]}, found {value!r}", where=name, fix="correct it")


def _read(folder: Path) -> dict[str, Any]:
    """The content of a folder's komrc.json; empty where it has none. Raises ModelError."""
    path = folder / files.SETTINGS
    try:
        values = files.read_json(path)
    except FileNotFoundError:
        return {}
    if values.get("format") != FORMAT:
        raise ModelError(
            f"has format {values.get('format')!r}; this KoMRC reads {FORMAT}",
            where=str(path),
            fix="update KoMRC",
        )
    return values


def _damaged(folder: Path, error: UsageError) -> ModelError:
    return ModelError(error.what, where=f"{folder / files.SETTINGS}, {error.where}", fix=error.fix)
