"""Systems that lack what Linux has: nothing crashes, and what can't be done is named."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from komrc import storage, system
from komrc.errors import StorageError
from komrc.text import particles


def test_particles_are_cut_where_no_affinity_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("kiwipiepy")
    monkeypatch.delattr(os, "sched_getaffinity")
    particles._kiwi.cache_clear()
    text = "서울은 한국의 수도이다."
    span = particles.trim_many([(text, 0, 3)])[0]
    assert text[span.start : span.end] == "서울"
    particles._kiwi.cache_clear()
    assert system.cores() >= 1


@pytest.mark.parametrize(
    ("text", "features"),
    [
        ("processor: 0\nflags\t\t: fpu avx2 avx512f avx512_vnni avx512_bf16 amx_bf16 amx_int8\n",
         {"avx2", "avx512", "vnni", "avx512_bf16", "amx"}),
        ("flags : fpu avx2 avx_vnni\n", {"avx2", "vnni"}),
        ("Features\t: fp asimd bf16 i8mm\n", {"neon", "neon_bf16", "i8mm"}),
        ("", set()),
    ],
    ids=["Sapphire Rapids", "Alder Lake", "Arm", "unknown"],
)  # fmt: skip
def test_processor_features(text: str, features: set[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system, "_processor_lines", text.splitlines)
    system.processor_features.cache_clear()
    assert system.processor_features() == features
    system.processor_features.cache_clear()


WITHOUT_FCNTL = """
import sys
sys.modules["fcntl"] = None
from komrc.cli import main
sys.exit(main(sys.argv[1:]))
"""


def test_without_fcntl_a_question_is_answered(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("훈민정음은 1446년에 반포되었다.", encoding="utf-8")
    ask = ["ask", "훈민정음은 언제 반포되었나?", "--context", str(tmp_path / "text.txt")]
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_FCNTL, *ask],
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("1446")


def test_without_fcntl_a_writer_names_the_systems(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system, "fcntl", None)
    with pytest.raises(StorageError, match="Linux and macOS"):
        storage.write_text(tmp_path / "a.json", "{}")
    assert list(tmp_path.iterdir()) == []
