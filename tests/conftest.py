"""Fixtures for every test. Published data is not in the repository; few tests need it, see REAL_DATA."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# How long an example takes depends on the machine and on what else runs there.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

SHARED = Path(__file__).resolve().parents[2] / "shared"

# The tests that need published files, which may not be copied into the repository. They skip where ../shared
# is missing. All others run on the sample set, on data/everyday and on files that they write themselves.
REAL_DATA = {
    "test_every_tokenizer_has_rows_for_the_markers",  # five published vocabularies
    "test_passages_of_every_tokenizer",  # the same
    "test_perfect_logits_of_every_tokenizer",  # the same, on data/pages
    "test_nothing_was_taken_from_the_data_sets_we_train_on",  # compares our sample with KorQuAD and TyDi QA
    "test_perfect_logits_on_the_official_dev_set",  # figures of docs/results for five published tokenizers
    "test_recorded_values_and_their_sums_to_the_last_bit",  # 4,000 values of the official metric
    "test_the_official_files_are_read_whole",  # KorQuAD, XQuAD, TyDi QA, JaQuAD: their published counts
    "test_the_published_files",  # KoBERT's vocabulary: 2,008 texts with the ids of 2020
    "test_the_published_ids_are_git_blob_ids",  # the hash of KorQuAD's dev set that `komrc data get` checks
    "test_the_reach_of_multilingual_bert",  # a figure measured independently
}


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


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test that needs real data is named in REAL_DATA."""
    needing = {item.name for item in items if "shared" in getattr(item, "fixturenames", ())}
    if unnamed := sorted(needing - REAL_DATA):
        raise pytest.UsageError(f"tests that need ../shared and are not named in REAL_DATA: {unnamed}")


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
