"""Tokenizers: our own files in KoBERT's form, and what the class of 2020 made of texts with them."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.own_tokenizers import kobert_files
from support.reference_2020 import Reference2020

from komrc.tokenization import ReaderTokenizer, load_tokenizer


@pytest.fixture(scope="session")
def kobert_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return kobert_files(tmp_path_factory.mktemp("kobert"))


@pytest.fixture(scope="session")
def kobert(kobert_folder: Path) -> ReaderTokenizer:
    return load_tokenizer(kobert_folder)


@pytest.fixture(scope="session")
def reference(kobert_folder: Path) -> Reference2020:
    return Reference2020(kobert_folder)
