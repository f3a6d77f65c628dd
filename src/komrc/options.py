"""Options that are declared once, as fields of a dataclass.

``option(default, help, …)`` declares a field. The field is also a command-line flag (``--max-queue``), a YAML
key (``max_queue``) and an environment variable (``KOMRC_MAX_QUEUE``), with bounds, choices and a help text.
A field's type is bool, int, float, str, a ``Literal`` of strings, one of these or None, or a tuple of
strings.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import logging
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, TypeVar

from komrc.errors import UsageError

T = TypeVar("T")

logger = logging.getLogger(__name__)

OTHER_VARIABLES = (  # read outside this module
    *("KOMRC_DATA", "KOMRC_KORQUAD_URL", "KOMRC_MAX_DATA_BYTES"),
    *(
        "KOMRC_OPENSEARCH_USER",
        "KOMRC_OPENSEARCH_PASSWORD",
        "KOMRC_OPENSEARCH_TOKEN",
        "KOMRC_OPENSEARCH_CA_FILE",
    ),
)
_YES_OR_NO = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}


def option(
    default: T,
    help_text: str,
    *aliases: str,
    group: str | None = None,
    low: float | None = None,
    high: float | None = None,
    separator: str | None = None,
) -> T:
    """A dataclass field that is an option.

    Args:
        aliases: further names, for flags and YAML keys.
        group: title of the group in the command's help.
        low: smallest value.
        high: largest value; needs ``low``.
        separator: of a tuple: what separates its values in a flag or variable; such a flag may be repeated.
    """
    metadata = {
        "help_text": help_text,
        "aliases": aliases,
        "group": group,
        "low": low,
        "high": high,
        "separator": separator,
    }
    return dataclasses.field(default=default, metadata=metadata)


@dataclass(frozen=True, slots=True)
class Option:
    """One field of a dataclass of options, as declared."""

    name: str
    kind: type  # of one value: bool, int, float or str
    many: bool  # a tuple of values
    optional: bool  # may be None
    choices: tuple[str, ...]  # empty: any value
    default: Any
    help_text: str
    aliases: tuple[str, ...]
    group: str | None
    low: float | None
    high: float | None
    separator: str | None

    @property
    def names(self) -> tuple[str, ...]:
        """Its name and its aliases."""
        return (self.name, *self.aliases)

    def split(self, values: Sequence[str]) -> tuple[str, ...]:
        """The values of a tuple, those between separators apart."""
        if self.separator is None:
            return tuple(values)
        parts = [part.strip() for value in values for part in value.split(self.separator)]
        return tuple(part for part in parts if part)

    def check(self, value: Any) -> None:
        """Raises UsageError for a value that is out of bounds or none of the choices."""
        if value is None:
            return
        if self.choices and value not in self.choices:
            raise UsageError(
                f"unknown choice {value}", where=flag(self.name), fix=f"give one of {', '.join(self.choices)}"
            )
        bounds = f"{self.low} or more" if self.high is None else f"{self.low} to {self.high}"
        if self.low is not None and not value >= self.low:  # `not >=`: NaN is refused too
            raise UsageError(f"{value} is too small", where=flag(self.name), fix=f"give {bounds}")
        if self.high is not None and value > self.high:
            raise UsageError(f"{value} is too large", where=flag(self.name), fix=f"give {bounds}")


def flag(name: str) -> str:
    """The command-line flag of a field."""
    return "--" + name.replace("_", "-")


def variable(name: str) -> str:
    """The environment variable of a field."""
    return "KOMRC_" + name.upper()


@lru_cache
def options_of(cls: type) -> tuple[Option, ...]:
    """The options that a dataclass declares."""
    hints = typing.get_type_hints(cls)
    return tuple(
        _described(field.name, hints[field.name], field.default, field.metadata)
        for field in dataclasses.fields(cls)
    )


def _described(name: str, annotation: Any, default: Any, metadata: Mapping[str, Any]) -> Option:
    optional = many = False
    if typing.get_origin(annotation) in (types.UnionType, typing.Union):
        optional = True
        annotation = next(part for part in typing.get_args(annotation) if part is not types.NoneType)
    if typing.get_origin(annotation) is tuple:
        many = True
        annotation = typing.get_args(annotation)[0]
    choices: tuple[str, ...] = ()
    if typing.get_origin(annotation) is Literal:
        choices, annotation = typing.get_args(annotation), str
    return Option(name, annotation, many, optional, choices, default, **metadata)


def check_options(options: Any) -> None:
    """Check all values of a dataclass of options, for its ``__post_init__``. Raises UsageError."""
    for each in options_of(options.__class__):
        each.check(getattr(options, each.name))


def collect(
    cls: type,
    given: Mapping[str, Any],
    *,
    defaults: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
    config: Path | None = None,
) -> dict[str, Any]:
    """Values for the fields of ``cls``. The command line overrides the YAML file, the file overrides the
    environment, and the environment overrides ``defaults``.

    Args:
        given: ``vars()`` of what the parser returned; other names than those of options are left out.
        environment: such as ``os.environ``; None: variables are not read.
        config: a YAML file.

    Raises UsageError for a key or value that the YAML file or the environment should not have.
    """
    values = dict(defaults or {})
    if environment is not None:
        values |= read_environment(cls, environment)
    if config is not None:
        values |= read_yaml(cls, config)
    for each in options_of(cls):
        if each.name in given:
            value = given[each.name]
            values[each.name] = each.split(value) if each.many else value
    return values


# --- command line ------------------------------------------------------------------------------------------


def add_arguments(
    parser: argparse.ArgumentParser,
    cls: type,
    *,
    separators: str = "-",
    main_group: str | None = None,
    exclude: Sequence[str] = (),
    defaults: Mapping[str, Any] | None = None,
    helps: Mapping[str, str] | None = None,
) -> None:
    """Add a flag for every option of ``cls``. A flag that the user leaves out is absent from the namespace.

    Args:
        separators: what may separate the words of a flag: "-", "_", or both.
        main_group: title of the group of the options that name none.
        exclude: fields without a flag.
        defaults: defaults that the help shows instead of the fields'.
        helps: help texts instead of the fields'.
    """
    groups: dict[str | None, Any] = {} if main_group else {None: parser}
    for each in options_of(cls):
        if each.name in exclude:
            continue
        title = each.group or main_group
        if title not in groups:
            groups[title] = parser.add_argument_group(title)
        text = (helps or {}).get(each.name, each.help_text)
        overridden = each.name in (defaults or {})
        default = defaults[each.name] if defaults and overridden else each.default
        shown = default is not None and not isinstance(default, bool)
        if shown and (overridden or default not in (0, "", ())) and "default" not in text:
            text += f" (default: {default})"
        groups[title].add_argument(
            *_flags(each, separators),
            dest=each.name,
            default=argparse.SUPPRESS,
            help=text.replace("%", "%%"),
            **_argument(each),
        )


def _flags(option: Option, separators: str) -> list[str]:
    flags = ["--" + name.replace("_", separator) for separator in separators for name in option.names]
    return list(dict.fromkeys(flags))


def _argument(option: Option) -> dict[str, Any]:
    """How argparse reads the option's value."""
    if option.kind is bool:
        return {"action": argparse.BooleanOptionalAction if option.default else "store_true"}
    if option.choices:
        return {"choices": option.choices}
    word = "N" if option.kind in (int, float) else option.name.rpartition("_")[2].upper()
    argument: dict[str, Any] = {"type": option.kind, "metavar": word}
    if option.many:
        argument |= {"nargs": "+", "action": "extend" if option.separator else "store"}
    return argument


# --- environment -------------------------------------------------------------------------------------------


def read_environment(cls: type, environment: Mapping[str, str]) -> dict[str, Any]:
    """Values of the options whose variable is set and not empty.

    Warns of a ``KOMRC_…`` variable that nothing reads: it may be misspelt. Raises UsageError for a value of
    another type than the option's.
    """
    known = [variable(each.name) for each in options_of(cls)]
    for name in sorted(environment):
        if name.startswith("KOMRC_") and name not in (*known, *OTHER_VARIABLES):
            # Without the prefix, which makes all names similar.
            near = get_close_matches(
                name.removeprefix("KOMRC_").lower(), [each.name for each in options_of(cls)], 1
            )
            advice = f"; is it {variable(near[0])}?" if near else ""
            logger.warning("%s is no variable of KoMRC%s", name, advice)
    texts = ((each, environment.get(variable(each.name), "")) for each in options_of(cls))
    return {each.name: _from_text(each, text) for each, text in texts if text}


def _from_text(option: Option, text: str) -> Any:
    where = variable(option.name)
    if option.kind is bool:
        if text.lower() not in _YES_OR_NO:
            raise UsageError("not a yes or no", where=where, fix="give 1 or 0")
        return _YES_OR_NO[text.lower()]
    if option.many:
        return option.split([text])
    try:
        return option.kind(text)
    except ValueError:
        example = option.default if option.default is not None else 1
        raise UsageError("not a number", where=where, fix=f"give one such as {example}") from None


# --- YAML --------------------------------------------------------------------------------------------------


def read_yaml(cls: type, path: Path) -> dict[str, Any]:
    """The options in a YAML file, checked. Raises UsageError, for an unknown key with the nearest option."""
    import yaml

    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(
            f"can't be read ({error.strerror})", where=str(path), fix="check the path"
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"is not YAML ({error})", where=str(path), fix="correct it") from error
    if not isinstance(values, dict):
        raise UsageError("contains no options", where=str(path), fix="write one 'option: value' a line")
    known = {name: each for each in options_of(cls) for name in each.names}
    read = {}
    for key, value in values.items():
        name = str(key).replace("-", "_")
        if name not in known:
            near = get_close_matches(name, known, n=1)
            raise UsageError(
                f"there is no option {key!r}",
                where=str(path),
                fix=f"did you mean {near[0]}?" if near else "--help lists the options",
            )
        read[known[name].name] = _from_yaml(known[name], value, str(path))
    return read


def _from_yaml(option: Option, value: Any, where: str) -> Any:
    if option.many:
        values = tuple([value] if isinstance(value, str) else value or ())
        if all(isinstance(each, str) for each in values):
            return values
        raise UsageError(
            f"{option.name} must be a list of strings", where=where, fix="write it as [a.json, b.json]"
        )
    if value is None and option.optional:
        return None
    if option.kind is float and isinstance(value, str):  # YAML 1.1 reads 5e-5 as text
        with contextlib.suppress(ValueError):
            value = float(value)
    if option.kind is float and type(value) is int:
        value = float(value)
    if not (value in option.choices if option.choices else type(value) is option.kind):
        wanted = " or ".join(option.choices) if option.choices else option.kind.__name__
        raise UsageError(f"{option.name} is {value!r}", where=where, fix=f"give it as {wanted}")
    return value
