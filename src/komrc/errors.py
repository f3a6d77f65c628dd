"""Every error that KoMRC raises on purpose: what happened, where, and what to do about it.

The command line prints the message and exits with ``exit_code``; the server answers ``http_status``.
"""

from __future__ import annotations

import operator
import re
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any

PROBLEMS_SHOWN = 20  # of a data file, in a message


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

    def __reduce__(self) -> tuple[Any, ...]:
        # The default calls the class with the message alone, which not every subclass accepts.
        return _rebuild, (type(self), vars(self))


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

    path: str  # JSON path, such as $.data[0].paragraphs[2].qas[1].answers[0]; in several files after a name
    what: str  # what was found
    fix: str  # what to do
    id: str | None = None  # question id, where one is known

    @property
    def kind(self) -> str:
        """What was found, without what differs from question to question."""
        field = re.sub(r"\[[^]]*\]$", "", self.path).rpartition(".")[2] if "$." in self.path else ""
        general = re.sub(r"\$[^\s;]*", "another question", self.what.partition(": ")[0])
        general = re.sub(r"(the text|the number) .*", r"\1 …", re.sub(r"-?\b\d[\d.]*", "…", general))
        return f"{field}: {general}" if field else general

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
        """What is wrong, the first problems, how many there are of each kind, and last what to do."""
        if not self.problems:
            return super().__str__()
        place = f"{self.where}: " if self.where else ""
        lines = [f"{place}{self.what}", *(f"  {problem}" for problem in self.problems[:PROBLEMS_SHOWN])]
        if len(self.problems) > PROBLEMS_SHOWN:
            lines.append(f"  … and {len(self.problems) - PROBLEMS_SHOWN:,} more. By kind:")
            lines += [f"  {count:,} × {kind}" for kind, count in kinds_of(self.problems)]
        if self.fix:
            lines.append(f"{self.fix[:1].upper()}{self.fix[1:]}")
        return "\n".join(lines)


def kinds_of(problems: Sequence[Problem]) -> list[tuple[str, int]]:
    """The kinds of problems, each with their number, the most frequent first."""
    return Counter(problem.kind for problem in problems).most_common()


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
    """A training run that can't continue, for example because of a loss that is not a number."""

    exit_code = 7
    code = "training"


class EngineError(KomrcError):
    """An inference engine that is not installed or failed."""

    exit_code = 8
    code = "engine"


class ServerError(KomrcError):
    """A KoMRC server that can't be reached, refused a request or failed on it; raised by the client.

    Args:
        code: the server's code, such as "queue_full", "too_long" or "loading"; "timeout" or "unreachable"
            where there was no reply.
        http_status: the status of the reply; 500 where there was none.
        retry_after: seconds after which the server wants to be asked again, where it names them.
    """

    code = "server"

    def __init__(
        self,
        what: str,
        *,
        where: str | None = None,
        fix: str | None = None,
        code: str = "server",
        http_status: int | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(what, where=where, fix=fix)
        self.code = code
        self.http_status = http_status or type(self).http_status
        self.retry_after = retry_after


def check_whole_number(value: object, name: str, *, least: int = 1) -> None:
    """Raises UsageError for what is no whole number (True and False are none) or is below ``least``."""
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise UsageError(f"must be a whole number, found {value!r}", where=name)
    if operator.index(value) < least:
        raise UsageError(f"must be at least {least}, found {value}", where=name)


class MissingPackageError(EngineError, ImportError):
    """A package that the command needs is not installed."""


def require(
    *packages: str, extra: str, purpose: str, where: str | None = None, instead: str | None = None
) -> None:
    """Raise MissingPackageError unless all packages are installed; imports none of them.

    Args:
        packages: names as in ``import``.
        extra: the extra of KoMRC that brings them, as in ``pip install 'komrc[extra]'``.
        purpose: what needs them, the beginning of a sentence such as "the export".
        where: option, file or command it concerns.
        instead: what the user can do without them.
    """
    missing = [name for name in packages if not sys.modules.get(name) and find_spec(name) is None]
    if missing:
        raise missing_package(", ".join(missing), extra=extra, purpose=purpose, where=where, instead=instead)


def missing_package(
    package: str, *, extra: str, purpose: str, where: str | None = None, instead: str | None = None
) -> MissingPackageError:
    """The error of ``require``, for a package whose import has failed already."""
    alternative = f", or {instead}" if instead else ""
    return MissingPackageError(
        f"{purpose} needs {package}, which is not installed",
        where=where,
        fix=f"run pip install 'komrc[{extra}]' (in a checkout: pip install '.[{extra}]'){alternative}",
    )


def first_line(error: BaseException) -> str:
    """The first line of an exception's message, or the name of its class if it has no message."""
    return (str(error).strip() or type(error).__name__).split("\n")[0]


# --- from one process to another ---------------------------------------------------------------------------


def to_json(error: KomrcError) -> dict[str, Any]:
    """All parts of an error, in JSON's kinds; ``from_json`` makes the same error of it."""
    kinds = [kind for kind in type(error).__mro__ if issubclass(kind, KomrcError)]
    values = vars(error) | {"problems": [asdict(problem) for problem in getattr(error, "problems", ())]}
    return {
        "classes": [f"{kind.__module__}:{kind.__qualname__}" for kind in kinds],
        "values": {
            name: value if isinstance(value, str | int | float | list | None) else str(value)
            for name, value in values.items()
        },
    }


def from_json(value: Mapping[str, Any]) -> KomrcError:
    """The error that ``to_json`` described: of its own class, or, where that is unknown here, of the next
    base class."""
    kind = next(kind for kind in map(_class, value["classes"]) if kind is not None)
    values = dict(value["values"])
    problems = tuple(Problem(**problem) for problem in values.pop("problems"))
    if issubclass(kind, DataError):
        values["problems"] = problems
    return _rebuild(kind, values)


def _class(name: str) -> type[KomrcError] | None:
    module, _, path = name.partition(":")
    if module.partition(".")[0] == __name__.partition(".")[0]:
        with suppress(ImportError):  # a newer KoMRC on the other host
            import_module(module)
    attribute: Any = sys.modules.get(module)
    for part in path.split("."):
        attribute = getattr(attribute, part, None)
    return attribute if isinstance(attribute, type) and issubclass(attribute, KomrcError) else None


def _rebuild(kind: type[KomrcError], values: Mapping[str, Any]) -> KomrcError:
    error = kind.__new__(kind, values["what"])
    vars(error).update(values)
    return error
