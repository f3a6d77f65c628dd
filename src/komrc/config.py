"""``komrc.json``: how a model's windows are built and its answers decoded, beside the model's files."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from komrc import __version__, storage
from komrc.errors import ModelError, UsageError
from komrc.models import files

FILE = "komrc.json"
FORMAT = 1


@dataclass(frozen=True, slots=True)
class ReaderSettings:
    """The defaults serve a model folder without komrc.json.

    Args:
        max_seq_length: tokens of a window: question, context and special tokens.
        doc_stride: tokens from the start of one window to the start of the next.
        max_query_length: tokens of a question; the rest is cut.
        n_best_size: answers that are ranked.
        max_answer_length: tokens of an answer at most.
        boundary_head: whether the model cuts answers inside tokens.
        version_2_with_negative: whether "no answer" is one of the answers.
        null_score_diff_threshold: "no answer" wins where its logit exceeds the best answer's by more.
        temperature: divides the logits before probabilities are made of them.
        data_sha256: file name -> hash of the data that the model was trained on.
        tokenizer_sha256: fingerprint of the tokenizer that it was trained with.
        komrc_version: of the KoMRC that wrote the file.
    """

    max_seq_length: int = 384
    doc_stride: int = 128
    max_query_length: int = 64
    n_best_size: int = 20
    max_answer_length: int = 30
    boundary_head: bool = False
    version_2_with_negative: bool = False
    null_score_diff_threshold: float = 0.0
    temperature: float = 1.0
    data_sha256: dict[str, str] = field(default_factory=dict)
    tokenizer_sha256: str = ""
    komrc_version: str = __version__

    def __post_init__(self) -> None:
        for item in fields(self):
            value, default = getattr(self, item.name), _example(item.name)
            number = isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool)
            if type(value) is not type(default) and not number:
                raise ModelError(
                    f"must be {_NAMES[type(default)]}, found {value!r}", where=item.name, fix="correct it"
                )
        for name in ("max_seq_length", "doc_stride", "max_query_length", "n_best_size", "max_answer_length"):
            if getattr(self, name) < 1:
                raise ModelError(f"must be at least 1, found {getattr(self, name)}", where=name)
        if not 1e-3 <= self.temperature <= 1e3:
            raise ModelError(
                f"must be a number from 0.001 to 1,000, found {self.temperature}", where="temperature"
            )
        if not math.isfinite(self.null_score_diff_threshold):
            raise ModelError("must be a finite number", where="null_score_diff_threshold")

    def fitted(self, longest: int, given: Mapping[str, Any]) -> ReaderSettings:
        """With what a caller gave, and the rest as far as the model can read.

        Args:
            longest: tokens that the model can read at once.
            given: settings by name.

        Raises UsageError for a name that is no setting, for values that are none, for a step longer than a
        window and for a window that is too long for the model.
        """
        unknown = sorted(given.keys() - self.__dataclass_fields__.keys())
        if unknown:
            raise UsageError(
                f"no setting is called {unknown[0]!r}",
                where="Reader.load",
                fix=f"choose from {', '.join(self.__dataclass_fields__)}",
            )
        try:
            wanted = replace(self, **given)
        except ModelError as error:
            raise UsageError(error.what, where=error.where, fix=error.fix) from error
        window = wanted.max_seq_length
        if "doc_stride" in given and wanted.doc_stride > window:
            raise UsageError(
                f"a step of {wanted.doc_stride} tokens is longer than a window of {window}",
                where="doc_stride",
                fix="use about a third of max_seq_length",
            )
        if "max_seq_length" in given and window > longest:
            raise UsageError(
                f"windows of {window} tokens are longer than the model can read ({longest})",
                where="max_seq_length",
                fix=f"use a max_seq_length of {longest} or less",
            )
        window = min(window, longest)
        if window >= self.max_seq_length:
            return wanted
        return replace(
            wanted,
            max_seq_length=window,
            doc_stride=given.get("doc_stride", max(1, min(self.doc_stride, window // 2))),
            max_query_length=given.get("max_query_length", max(1, min(self.max_query_length, window // 4))),
        )

    def save(self, folder: Path) -> None:
        """Write komrc.json into the folder. Raises StorageError."""
        storage.write_json(folder / FILE, {"format": FORMAT, **asdict(self)})

    @classmethod
    def load(cls, folder: Path) -> ReaderSettings:
        """What the folder's komrc.json says; the defaults where it has none. Keys that this version
        doesn't know are left aside. Raises ModelError for a damaged file or a newer format."""
        path = folder / FILE
        try:
            value = files.read_json(path)
        except FileNotFoundError:
            return cls()
        if value.get("format") != FORMAT:
            found = value.get("format")
            raise ModelError(
                f"has format {found!r}; this KoMRC reads {FORMAT}", where=str(path), fix="update KoMRC"
            )
        known = {item.name for item in fields(cls)}
        try:
            return cls(**{name: entry for name, entry in value.items() if name in known})
        except ModelError as error:
            raise ModelError(error.what, where=f"{path}, {error.where}", fix=error.fix) from error


_NAMES: dict[type, str] = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "text",
    dict: "an object",
}


def _example(name: str) -> Any:
    """A value of the type that a setting has."""
    item = next(item for item in fields(ReaderSettings) if item.name == name)
    return {} if name == "data_sha256" else item.default
