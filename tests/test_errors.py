"""The one exception tree: what an error holds survives every way between processes."""

from __future__ import annotations

import json
import pickle
import sys
from collections.abc import Callable

import pytest

from komrc import errors
from komrc.errors import DataError, KomrcError, MissingPackageError, Problem, UsageError, require
from komrc.serving.errors import RejectedError, queue_full

FOUND = Problem("$.data[0]", "no context", "add one", "q1")


class OfAnotherPackageError(UsageError):
    """A class that the other process does not know."""


def through_json(error: KomrcError) -> KomrcError:
    return errors.from_json(json.loads(json.dumps(errors.to_json(error))))


def through_pickle(error: KomrcError) -> KomrcError:
    copy: KomrcError = pickle.loads(pickle.dumps(error))
    return copy


@pytest.mark.parametrize("way", [through_json, through_pickle])
@pytest.mark.parametrize(
    "error",
    [
        UsageError("wrong", where="--top-k", fix="give 1"),
        DataError("2 problems", where="a.json", fix="correct them", problems=[FOUND, FOUND]),
        MissingPackageError("the page needs matplotlib"),
        queue_full(3),
    ],
)
def test_an_error_arrives_as_it_was(way: Callable[[KomrcError], KomrcError], error: KomrcError) -> None:
    found = way(error)
    assert type(found) is type(error)
    assert str(found) == str(error)
    assert vars(found) == vars(error)


def test_the_class_of_a_module_that_was_not_imported_survives() -> None:
    made = errors.to_json(RejectedError(503, "loading", "not yet", fix="wait"))
    assert made["classes"][0] == "komrc.serving.errors:RejectedError"
    found = errors.from_json(made)
    assert (type(found), found.http_status) == (RejectedError, 503)


def test_a_class_that_is_unknown_here_becomes_its_base() -> None:
    made = errors.to_json(OfAnotherPackageError("wrong", fix="mend it"))
    made["classes"][0] = "elsewhere.errors:OfAnotherPackageError"
    found = errors.from_json(made)
    assert type(found) is UsageError
    assert found.fix == "mend it"


def test_a_missing_package_is_one_kind_of_error(monkeypatch: pytest.MonkeyPatch) -> None:
    require("json", extra="report", purpose="the page")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingPackageError) as caught:
        require(
            "json", "matplotlib", extra="report", purpose="the page", where="--output", instead="give --json"
        )
    assert caught.value.exit_code == 8
    assert "matplotlib" in str(caught.value) and "komrc[report]" in str(caught.value)
    assert str(caught.value).endswith(", or give --json")
