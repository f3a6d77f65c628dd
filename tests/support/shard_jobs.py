"""Questions, and readers without a model, for tests of batch prediction; importable by actors."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

from komrc.config import ReaderConfig
from komrc.engines import Batch, Logits
from komrc.predicting.shards import ShardJob
from komrc.reader import Reader
from komrc.tokenization import load_tokenizer
from support.fake_engine import FakeEngine


def record(n: int) -> dict[str, str]:
    return {
        "id": f"q{n}",
        "question": f"질문 {n}은?",
        "context": f"{n}번 문서에 담긴 짧은 글이다. " * (1 + n % 5),
    }


def write_lines(path: Path, values: list[Any]) -> Path:
    path.write_text("".join(json.dumps(v, ensure_ascii=False) + "\n" for v in values), encoding="utf-8")
    return path


def read_lines(folder: Path) -> list[dict[str, Any]]:
    texts = [path.read_text(encoding="utf-8") for path in sorted(folder.glob("part-*.jsonl"))]
    return [json.loads(line) for text in texts for line in text.splitlines()]


def shards(folder: Path) -> dict[str, bytes]:
    """Every file of a folder, by name."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def fake_reader() -> Reader:
    return Reader(load_tokenizer(None), FakeEngine(), ReaderConfig())


class _Dying(FakeEngine):
    """Kills its process after some runs, once for each file in a folder, which it takes away first."""

    def __init__(self, lives: Path, after: int) -> None:
        super().__init__()
        self.lives, self.after, self.runs = lives, after, 0

    def run(self, batch: Batch) -> Logits:
        self.runs += 1
        if self.runs > self.after:
            for life in self.lives.iterdir():
                try:
                    life.unlink()
                except FileNotFoundError:  # another process took it
                    continue
                os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(0.01)  # so that every actor gets shards
        return super().run(batch)


class DyingReader:
    """Loads a reader whose process is killed in the middle, as often as ``lives`` holds files."""

    def __init__(self, lives: Path, kills: int, *, after: int = 3) -> None:
        lives.mkdir()
        for n in range(kills):
            (lives / str(n)).touch()
        self.lives, self.after = lives, after

    def __call__(self) -> Reader:
        return Reader(load_tokenizer(None), _Dying(self.lives, self.after), ReaderConfig())


class _Slow(FakeEngine):
    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds

    def run(self, batch: Batch) -> Logits:
        time.sleep(self.seconds)
        return super().run(batch)


class SlowReader:
    """Loads a reader that takes its time, so that there is a middle to be killed in."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def __call__(self) -> Reader:
        return Reader(load_tokenizer(None), _Slow(self.seconds), ReaderConfig())


def job(output: Path, load: Any = fake_reader, **options: Any) -> ShardJob:
    return ShardJob(load, str(output), **options)
