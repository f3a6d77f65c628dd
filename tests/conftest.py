"""Fixtures for every test. Real data lies beside the repository, in ../shared, and is read in place."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data, tokenizers and models; tests that need it skip where it is absent."""
    if not (SHARED / "data").is_dir():
        pytest.skip("../shared (real data, tokenizers, models) is not on this machine")
    return SHARED


@pytest.fixture(scope="session")
def korquad_dev(shared: Path) -> Path:
    """The official KorQuAD v1.0 dev set."""
    return shared / "data/korquad/KorQuAD_v1.0_dev.json"


@pytest.fixture(scope="session")
def komrc_small_v0(shared: Path) -> Path:
    """A real Korean reader in plain Hugging Face form."""
    return shared / "models/komrc-small-v0"


@pytest.fixture(scope="session", autouse=True)
def interrupt_by_default() -> None:
    """SIGINT ends the processes that tests start; a background job of a script ignores it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def hangup_by_default() -> Iterator[None]:
    """SIGHUP ends the processes that the test starts, though the tests may run under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)
