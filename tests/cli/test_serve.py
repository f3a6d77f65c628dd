"""``komrc serve``: flags, variables and what is refused."""

from __future__ import annotations

import argparse
import re
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from komrc.cli import serve
from komrc.errors import MissingPackageError, UsageError
from komrc.options import flag, variable
from komrc.serving.options import ServeOptions

_VARIABLE = re.compile(r'(?:environ(?:\.get)?[(\[]|= )"(KOMRC_[A-Z_]+)"')


@pytest.fixture
def options(monkeypatch):
    """``options("--port", "1", KOMRC_PORT="2")``: the ServeOptions that come of it."""
    for one in fields(ServeOptions):
        monkeypatch.delenv(variable(one.name), raising=False)

    def parse(*arguments, **environment):
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        parser = argparse.ArgumentParser()
        serve.add_parser(parser.add_subparsers())
        return serve._options(parser.parse_args(["serve", *arguments]))

    return parse


def test_defaults_are_those_of_2020(options):
    found = options()
    assert (found.host, found.port, found.workers, found.model) == ("127.0.0.1", 8888, 1, None)


def test_the_command_of_2020(options):
    found = options(
        *("--task", "question-answering", "--model", "models", "--tokenizer", "models", "--config", "models"),
        *("--device", "-1", "--host", "localhost", "--port", "8000", "--workers", "2"),
    )
    assert (found.model, found.tokenizer, found.port, found.workers) == ("models", "models", 8000, 2)
    assert options("--device", "0").engine == "torch"


def test_a_variable_is_a_default_and_the_flag_wins(options):
    environment = {
        "KOMRC_PORT": "9000",
        "KOMRC_ACCESS_LOG": "yes",
        "KOMRC_CORS_ORIGIN": "https://a.example, https://b.example",
        "KOMRC_BATCH_WAIT_MS": "2.5",
        "KOMRC_MODEL": "",
    }
    found = options("--port", "9001", **environment)
    assert (found.port, found.access_log, found.batch_wait_ms, found.model) == (9001, True, 2.5, None)
    assert found.cors_origin == ("https://a.example", "https://b.example")


def test_host_names_are_given_with_commas_or_spaces_or_again(options):
    flags = ("--allowed-hosts", "a.example,b.example", "c.example", "--allowed-hosts", "*.d.example")
    assert options(*flags).allowed_hosts == ("a.example", "b.example", "c.example", "*.d.example")
    found = options(KOMRC_ALLOWED_HOSTS="a.example, b.example").allowed_hosts
    assert found == ("a.example", "b.example")


def test_a_variable_that_nothing_reads_is_named(options, caplog):
    options(KOMRC_PORTS="1", KOMRC_MAX_QUEU="3", KOMRC_XYZZY="secret", KOMRC_API_KEY="secret")
    texts = [record.message for record in caplog.records]
    assert texts == [
        "KOMRC_MAX_QUEU is no variable of KoMRC; is it KOMRC_MAX_QUEUE?",
        "KOMRC_PORTS is no variable of KoMRC; is it KOMRC_PORT?",
        "KOMRC_XYZZY is no variable of KoMRC",
    ]


def test_the_variables_of_other_commands_are_known(options, caplog):
    source = Path(serve.__file__).parents[1]
    names = {name for path in source.rglob("*.py") for name in _VARIABLE.findall(path.read_text("utf-8"))}
    assert "KOMRC_DATA" in names
    options(**dict.fromkeys(names, "1"))
    assert caplog.records == []


def test_every_option_has_a_flag_a_variable_and_help(options, capsys):
    with pytest.raises(SystemExit):
        options("--help")
    text = capsys.readouterr().out
    for one in fields(ServeOptions):
        assert flag(one.name) in text
        value = {"engine": "onnx", "cors_origin": "a", "trim_particles": "kiwi"}.get(one.name, "1")
        given = {"KOMRC_INDEX": "my.index", variable(one.name): value}  # --allow-upload needs an index
        assert getattr(options(**given), one.name) is not None


@pytest.mark.parametrize(
    ("arguments", "environment"),
    [
        (["--port", "65536"], {}),
        (["--max-queue", "0"], {}),
        (["--header-timeout", "nan"], {}),
        (["--api-key", "schlüssel"], {}),
        (["--model", "a", "--config", "b"], {}),
        (["--device", "0", "--engine", "onnx"], {}),
        ([], {"KOMRC_PORT": "many"}),
        ([], {"KOMRC_ACCESS_LOG": "perhaps"}),
        ([], {"KOMRC_ENGINE": "fast"}),
        ([], {"KOMRC_TRIM_PARTICLES": "mecab"}),
        (["--allowed-hosts", "https://a.example"], {}),
        (["--allow-upload"], {}),
    ],
)
def test_what_makes_no_sense_is_refused(options, arguments, environment):
    with pytest.raises(UsageError) as refused:
        options(*arguments, **environment)
    assert refused.value.where and refused.value.fix


@pytest.mark.parametrize(
    ("host", "beyond"),
    [
        ("127.0.0.1", False),
        ("127.9.9.9", False),
        ("::1", False),
        ("localhost", False),
        ("0.0.0.0", True),
        ("::", True),
    ],
)
def test_which_addresses_are_beyond_loopback(host, beyond):
    assert ServeOptions(host=host).beyond_loopback == beyond


def test_a_missing_library_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    parser = argparse.ArgumentParser()
    serve.add_parser(parser.add_subparsers())
    with pytest.raises(MissingPackageError, match=r"needs uvicorn, which is not.*komrc\[serve\]"):
        serve.run(parser.parse_args(["serve"]))
