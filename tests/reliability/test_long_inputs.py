"""Large inputs made so that a careless reader takes hours or gigabytes; 1 GiB must do, and 60 seconds
even on a slow, shared processor (3.7 seconds was the most on a free one)."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from support import hostile
from support.faults import in_child

from komrc import storage
from komrc.errors import ModelError
from komrc.models import checks
from komrc.text.graphemes import cut_points

ROOM = 1 << 30  # bytes of address space beyond what the process has
LONGEST = 60  # seconds of processor time


def dump(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")


def document(context: str, answers: list[tuple[str, int]]) -> bytes:
    qas = [
        {"id": f"{n}", "question": "누구?", "answers": [{"text": text, "answer_start": start}]}
        for n, (text, start) in enumerate(answers)
    ]
    return dump({"data": [{"title": "t", "paragraphs": [{"context": context, "qas": qas}]}]})


def weights(shape: list[int]) -> bytes:
    header = dump({"w": {"dtype": "F32", "shape": shape, "data_offsets": [0, 4]}})
    return struct.pack("<Q", len(header)) + header + bytes(4)


MANY = {f"k{n}": 1 for n in range(60_000)}
LONG: dict[str, tuple[str, Callable[[], bytes]]] = {
    "a key twice among many": ("squad", lambda: dump(MANY)[:-1] + b', "k0": 1}'),
    "a long key above many": ("squad", lambda: dump({"k" * 1_000_000: {**MANY, "z": float("nan")}})),
    "numbers that are none": ("squad", lambda: dump({"data": [float("nan")] * 200_000})),
    "nested deeply, with a number that is none": (
        "squad",
        lambda: b'{"aaaaaaaaaaaaaaaa":' * 900 + dump([float("nan")] * 50_000) + b"}" * 900,
    ),
    "an answer beside its many places": ("squad", lambda: document("가" * 300_000, [("가", -1)] * 3_000)),
    "an answer in another form": (
        "squad",
        lambda: document("각" * 300_000, [("\u1100\u1161\u11a8", 3)] * 3_000),
    ),
    "a configuration's long key above many": ("config", lambda: dump({"k" * 400_000: MANY})),
    "a tensor of a million sides": ("weights", lambda: weights([9] * 4_000_000)),
    "a tensor of many digits": ("weights", lambda: weights([10**4_000] * 3_000)),
}
TEXTS = {
    "marks": "e" + "\u0301" * 60_000,
    "flags": "🇰" * 8_001,
    "families": "👩\u200d" * 30_000,
    "consonants": "\u1100" * 60_000,
    "viramas": "क\u094d" * 30_000,
    "one word": "a" * 100_000,
    "blanks": " " * 100_000 + "가",
    "zero-width": "\u200b" * 60_000 + "가",
}


@pytest.mark.parametrize("name", LONG)
def test_long_files_take_seconds_and_little_memory(name: str) -> None:
    target, make = LONG[name]
    if target in ("config", "weights"):
        pytest.importorskip("torch")
    in_bounds(target, make())


@pytest.mark.parametrize("name", TEXTS)
def test_long_texts_take_seconds_and_little_memory(name: str) -> None:
    in_bounds("text", TEXTS[name].encode())


def in_bounds(target: str, data: bytes) -> None:
    run, seed = hostile.TARGETS[target]
    run(seed())  # imports what it needs

    def tried() -> None:
        raised = hostile.attempt(run, data, LONGEST)[1]
        if raised is not None:
            raise raised

    ended = in_child(tried, cpu_seconds=2 * LONGEST, memory=ROOM)  # a library that hangs hears no signal
    assert (ended.code, ended.error) == (0, None)


def test_flags_without_end() -> None:
    """The check of the answers in the other tests would itself take too long."""
    ended = in_child(lambda: cut_points("🇰" * 100_001), cpu_seconds=LONGEST)
    assert ended.code == 0 and ended.value.sum() == 50_002


def test_a_manifest_of_gigabytes_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / storage.MANIFEST).open("wb") as file:
        file.truncate(2 << 30)
    ended = in_child(lambda: checks.verify(tmp_path), memory=ROOM // 2)
    assert isinstance(ended.error, ModelError) and "manifest.json is damaged" in str(ended.error), ended


def test_a_manifest_outside_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "outside.json").write_text('{"files": {}}')
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / storage.MANIFEST).symlink_to("../outside.json")
    with pytest.raises(ModelError, match="link out of the model folder"):
        checks.check(tmp_path / "model")
