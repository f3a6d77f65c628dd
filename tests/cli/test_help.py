"""What ``komrc --help`` says holds for every command."""

from __future__ import annotations

import re

import pytest

from komrc import errors
from komrc.cli import main
from komrc.cli.commands import SUMMARIES


def test_the_help_names_every_command_and_every_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    said = capsys.readouterr().out
    assert all(re.search(rf"^  {name} ", said, re.MULTILINE) for name in SUMMARIES)
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    codes = {kind.exit_code for kind in kinds if issubclass(kind, errors.KomrcError)}
    told = {int(code) for code in re.findall(r"\d+", said.partition("exit codes:")[2])}
    assert codes and codes <= told
