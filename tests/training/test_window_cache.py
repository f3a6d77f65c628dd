"""The cache of windows: it gives what was built, and damage to it is repaired."""

from __future__ import annotations

import logging
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from support.word_tokenizer import WORDS, word_tokenizer

from komrc import storage
from komrc.config import WindowConfig
from komrc.training.window_cache import cached_windows
from komrc.types import Example, Gold
from komrc.windows import Windows, build_windows


class TestCache:
    examples = tuple(Example(str(n), "w1 w2", " ".join(WORDS), (Gold("w7", 21),)) for n in range(3))

    def windows(self, folder: Path, **changed: object) -> Windows:
        config = replace(WindowConfig(20, 8, 4), **{k: v for k, v in changed.items() if k == "doc_stride"})
        return cached_windows(
            self.examples,
            word_tokenizer(),
            config,
            labels=bool(changed.get("labels", True)),
            data_sha256=str(changed.get("data", "d")),
            cache_dir=folder,
        )

    def same(self, one: Windows, other: Windows) -> bool:
        pairs = [(getattr(one, f.name), getattr(other, f.name)) for f in fields(Windows)]
        return all(np.array_equal(a, b) if isinstance(a, np.ndarray) else a == b for a, b in pairs)

    def test_the_cache_gives_what_was_built(self, tmp_path: Path) -> None:
        expected = build_windows(self.examples, word_tokenizer(), WindowConfig(20, 8, 4), labels=True)
        written = self.windows(tmp_path)
        (folder,) = tmp_path.iterdir()
        stamp = folder.stat().st_mtime_ns
        read = self.windows(tmp_path)
        assert self.same(expected, written) and self.same(expected, read)
        assert folder.stat().st_mtime_ns == stamp
        assert isinstance(read.context_ids.base, np.memmap)

    def test_everything_that_matters_is_in_the_key(self, tmp_path: Path) -> None:
        self.windows(tmp_path)
        for change in ({"doc_stride": 9}, {"labels": False}, {"data": "e"}):
            self.windows(tmp_path, **change)
        assert len(list(tmp_path.iterdir())) == 4

    @pytest.mark.parametrize("damage", ["byte", "short", "missing"])
    def test_a_damaged_cache_is_built_again(
        self, tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        expected = self.windows(tmp_path)
        ids = expected.context_ids.copy()
        (folder,) = tmp_path.iterdir()
        file = folder / "context_ids.npy"
        data = bytearray(file.read_bytes())
        file.unlink()
        if damage != "missing":
            data[-2] ^= 255
            file.write_bytes(data if damage == "byte" else data[:-8])
        with caplog.at_level(logging.WARNING):
            assert np.array_equal(self.windows(tmp_path).context_ids, ids)
        assert "damaged" in caplog.text
        assert storage.verify_folder(folder) == []

    def test_continues_without_a_cache_that_cannot_be_written(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        blocked = tmp_path / "file"
        blocked.write_text("not a folder")
        with caplog.at_level(logging.WARNING):
            assert len(self.windows(blocked)) > 3
        assert "without a cache" in caplog.text
