"""Every error that KoMRC raises on purpose: what happened, where, and what to do about it.

The command line prints the message and exits with ``exit_code``; the server answers ``http_status``.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass


class KomrcError(Exception):
    """Base of all errors for a user's eyes.

    Args:
        what: what is wrong, one sentence without a full stop.
        where: file, JSON path, id, option or address it concerns.
        fix: what the user can do, one sentence without a full stop.
    """

    exit_code = 1
    http_status = 500
    code = "internal"

    def __init__(self, what: str, *, where: str | None = None, fix: str | None = None) -> None:
        self.what = what
        self.where = where
        self.fix = fix
        super().__init__(what)

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        advice = f". {self.fix[:1].upper()}{self.fix[1:]}" if self.fix else ""
        return f"{place}{self.what}{advice}"


class UsageError(KomrcError):
    """Options that are unknown, missing or contradict each other."""

    exit_code = 2
    http_status = 400
    code = "usage"


class InputError(KomrcError):
    """A question or context that can't be read: empty, too long, not text."""

    exit_code = 2
    http_status = 422
    code = "invalid_input"


@dataclass(frozen=True, slots=True)
class Problem:
    """One finding in a data file."""

    path: str  # JSON path, such as $.data[0].paragraphs[2].qas[1].answers[0]
    what: str  # what was found
    fix: str  # what to do
    id: str | None = None  # question id, where one is known

    def __str__(self) -> str:
        who = f" (id {self.id})" if self.id is not None else ""
        return f"{self.path}{who}: {self.what}; {self.fix}"


class DataError(KomrcError):
    """A data file that can't be used; ``problems`` lists every finding."""

    exit_code = 3
    http_status = 422
    code = "invalid_data"

    def __init__(
        self,
        what: str,
        *,
        where: str | None = None,
        fix: str | None = None,
        problems: Sequence[Problem] = (),
    ) -> None:
        super().__init__(what, where=where, fix=fix)
        self.problems = tuple(problems)

    def __str__(self) -> str:
        return "\n  ".join([super().__str__(), *map(str, self.problems)])


class ModelError(KomrcError):
    """A model or tokenizer that is missing, damaged, unsafe or of a kind that is not supported."""

    exit_code = 4
    code = "model"


class HubError(KomrcError):
    """A download that failed or did not match its checksum."""

    exit_code = 5
    http_status = 503
    code = "download"


class StorageError(KomrcError):
    """A file or folder that can't be written or read: full, read-only, locked, damaged."""

    exit_code = 6
    code = "storage"


class TrainingError(KomrcError):
    """A training run that can't go on, such as a loss that is not a number."""

    exit_code = 7
    code = "training"


class EngineError(KomrcError):
    """An inference engine that is not installed or failed."""

    exit_code = 8
    code = "engine"


def check_whole_number(value: object, name: str, *, least: int = 1) -> None:
    """Raises UsageError for what is no whole number (True and False are none) or is below ``least``."""
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise UsageError(f"must be a whole number, found {value!r}", where=name)
    if operator.index(value) < least:
        raise UsageError(f"must be at least {least}, found {value}", where=name)
