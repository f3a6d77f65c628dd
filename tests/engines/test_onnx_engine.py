"""The ONNX engine: torch's logits from the same int8 file, and life without torch."""

from __future__ import annotations

import json
import runpy
import subprocess
import sysconfig
import tomllib
import venv
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from packaging.requirements import Requirement
from support.batches import random_batch, tokens, window
from transformers import BertConfig, BertForQuestionAnswering

from komrc.engines import Batch
from komrc.engines.loading import load_engine
from komrc.engines.onnx_engine import OnnxEngine
from komrc.errors import EngineError, ModelError
from komrc.modeling import SpanReader
from komrc.modeling.quantized import save_quantized
from komrc.models import hub

ROOT = Path(__file__).resolve().parents[2]
write_graph = runpy.run_path(str(ROOT / "recipes/komrc-small/int8_graph.py"))["write_graph"]
CONFIG: dict[str, Any] = {
    "vocab_size": 90, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
    "intermediate_size": 64, "max_position_embeddings": 64, "pad_token_id": 1, "type_vocab_size": 2,
}  # fmt: skip
QUESTION = "훈민정음을 만든 사람은 누구인가?"
CONTEXT = "훈민정음은 조선의 네 번째 임금인 세종이 1443년에 만든 문자이다. 한글이라는 이름은 주시경이 붙였다."


def int8_folder(folder: Path, *, boundary: bool = True, seed: int = 0) -> Path:
    """A random BERT as the embedded model is stored: model.safetensors in int8 and the graph over it."""
    torch.manual_seed(seed)
    qa = BertForQuestionAnswering(BertConfig(**CONFIG, initializer_range=0.2))
    state = SpanReader(qa, boundary=boundary).weights()
    folder.mkdir()
    save_quantized({name: value.numpy() for name, value in state.items()}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(qa.config.to_dict()))
    write_graph(folder / "model.safetensors", qa.config.to_dict(), folder / "model-int8.onnx")
    return folder


def a_batch(*lengths: int) -> Batch:
    return random_batch(*lengths, vocab=90)


@pytest.mark.parametrize("boundary", [True, False], ids=["boundary head", "no boundary head"])
def test_the_graph_computes_what_torch_computes_from_the_same_file(tmp_path: Path, boundary: bool) -> None:
    folder = int8_folder(tmp_path / "model", boundary=boundary)
    engine = OnnxEngine.load(folder, "onnx-int8")
    model = SpanReader.from_pretrained(folder)
    assert (model.boundary is not None) is boundary
    batch = a_batch(40, 17, 33)
    got = engine.run(batch)
    ids, mask, types = map(torch.from_numpy, batch.padded(1))
    with torch.inference_mode():
        wanted = [x[mask.bool()].numpy() for x in model(ids, mask, types) if x is not None]
    assert len(wanted) == (4 if boundary else 2)
    for a, b in zip(got.arrays, wanted, strict=True):
        assert a.dtype == np.float32
        assert a.shape == b.shape
        # Activations are rounded to 8 bits on the way, weights are the same.
        assert np.abs(a - b).max() < 0.07 * b.std()


@pytest.mark.parametrize("threads", [1, 3])
def test_a_window_has_the_same_logits_alone_and_in_any_batch(tmp_path: Path, threads: int) -> None:
    engine = OnnxEngine.load(int8_folder(tmp_path / "model"), "onnx-int8", threads=threads)
    batch = a_batch(12, 30, 7, 30)
    together = engine.run(batch)
    for n in range(4):
        alone = engine.run(window(batch, n))
        for a, b in zip(alone.arrays, together.arrays, strict=True):
            assert (a == b[tokens(batch, n)]).all()


def test_weights_of_another_shape_under_the_graph_are_refused(tmp_path: Path) -> None:
    folder = int8_folder(tmp_path / "a")
    other = int8_folder(tmp_path / "b", boundary=False)
    (folder / "model.safetensors").write_bytes((other / "model.safetensors").read_bytes())
    with pytest.raises((ModelError, EngineError), match=r"model-int8\.onnx|model\.safetensors"):
        OnnxEngine.load(folder, "onnx-int8")


def test_retrained_weights_of_the_same_shape_need_no_new_graph(tmp_path: Path) -> None:
    folder, other = int8_folder(tmp_path / "a"), int8_folder(tmp_path / "b", seed=1)
    before = OnnxEngine.load(folder, "onnx-int8").run(a_batch(20))
    (folder / "model.safetensors").write_bytes((other / "model.safetensors").read_bytes())
    after = OnnxEngine.load(folder, "onnx-int8").run(a_batch(20))
    wanted = OnnxEngine.load(other, "onnx-int8").run(a_batch(20))
    assert (after.start == wanted.start).all()
    assert (after.start != before.start).any()


@pytest.mark.parametrize("goes", [False, True], ids=["replaced", "removed"])
def test_a_loaded_model_stays_what_it_was_when_another_takes_its_folder(tmp_path: Path, goes: bool) -> None:
    folder, other = int8_folder(tmp_path / "a"), int8_folder(tmp_path / "b", seed=1)
    engine = OnnxEngine.load(folder, "onnx-int8", threads=2)
    alone = engine.run(a_batch(20))
    folder.rename(tmp_path / "former")
    if not goes:
        other.rename(folder)
    twice = engine.run(Batch.concatenate([a_batch(20), a_batch(20)]))
    assert (twice.start.reshape(2, 20) == alone.start).all()


@pytest.mark.parametrize("lengths", [(80,), (20, 80, 30)], ids=["alone", "in a batch"])
def test_a_window_longer_than_the_model_is_an_error_not_a_crash(
    tmp_path: Path, lengths: tuple[int, ...]
) -> None:
    engine = OnnxEngine.load(int8_folder(tmp_path / "model"), "onnx-int8", threads=2)
    with pytest.raises(EngineError, match="80"):
        engine.run(a_batch(*lengths))
    assert np.isfinite(engine.run(a_batch(20, 30)).start).all()  # and goes on


def test_a_folder_without_a_graph_says_how_to_make_one(tmp_path: Path) -> None:
    for name in ("onnx", "onnx-int8"):
        with pytest.raises(EngineError, match="komrc export"):
            load_engine(tmp_path, name)


def test_a_damaged_graph_is_named(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"not a graph")
    with pytest.raises(EngineError, match=r"model\.onnx"):
        load_engine(tmp_path, "onnx")


def test_auto_takes_the_graph_that_is_there_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", logger="komrc"):
        assert load_engine(hub.embedded_model()).name == "onnx-int8"
    assert "onnx-int8" in caplog.text


def _closure(extras: list[str]) -> set[str]:
    """Names of the distributions that `pip install komrc[extras]` brings, komrc left out."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    waiting = [*project["dependencies"]]
    for extra in extras:
        waiting += project["optional-dependencies"][extra]
    found: dict[str, set[str]] = {}
    while waiting:
        need = Requirement(waiting.pop())
        asked = {"", *need.extras}
        if asked <= found.get(need.name.lower(), set()):
            continue
        found.setdefault(need.name.lower(), set()).update(asked)
        for line in distribution(need.name).requires or []:
            inner = Requirement(line)
            if inner.marker is None or any(inner.marker.evaluate({"extra": extra}) for extra in asked):
                waiting.append(line)
    return set(found)


@pytest.fixture(scope="module")
def without_torch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of a fresh environment that holds what `pip install komrc[serve]` brings and no more.

    Made of links to what is installed here, so that it needs no package index.
    """
    folder = tmp_path_factory.mktemp("fresh") / "venv"
    venv.create(folder, with_pip=False, symlinks=True)
    site = Path(sysconfig.get_path("purelib", "venv", vars={"base": str(folder), "platbase": str(folder)}))
    for name in _closure(["serve"]):
        package = distribution(name)
        for top in {
            file.parts[0] for file in package.files or [] if file.parts[0] not in ("..", "__pycache__")
        }:
            target = site / top
            if not target.exists():
                target.symlink_to(Path(str(package.locate_file(top))))
    (site / "komrc").symlink_to(ROOT / "src/komrc")
    return folder / "bin/python"


def test_the_embedded_model_answers_where_only_the_serve_extra_is_installed(without_torch: Path) -> None:
    program = f"""
import importlib.util, json, sys
assert importlib.util.find_spec("torch") is None and importlib.util.find_spec("transformers") is None
from komrc import Reader
reader = Reader.load()
context = {CONTEXT!r}
[answer] = reader.read({QUESTION!r}, context)
assert answer.text == context[answer.start:answer.end]
import komrc.serving.app
print(json.dumps([reader.engine.name, answer.text]))
"""
    done = subprocess.run(
        [without_torch, "-I", "-c", program], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    engine, text = json.loads(done.stdout)
    assert engine == "onnx-int8"
    assert "세종" in text


def test_asking_for_torch_where_it_is_missing_says_what_to_install(without_torch: Path) -> None:
    program = "from komrc import Reader; Reader.load(engine='torch')"
    done = subprocess.run([without_torch, "-I", "-c", program], capture_output=True, text=True, check=False)
    assert "MissingPackageError" in done.stderr
    assert "komrc[train]" in done.stderr


def test_threads_are_those_that_the_process_has_time_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, quota = int8_folder(tmp_path / "model"), tmp_path / "cpu.max"
    version_1 = tmp_path / "quota", tmp_path / "period"
    monkeypatch.setattr("komrc.engines.onnx_engine._CPU_QUOTA", quota)
    monkeypatch.setattr("komrc.engines.onnx_engine._CPU_QUOTA_V1", version_1)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(8)), raising=False)

    def threads() -> int:
        session = OnnxEngine.load(folder, "onnx-int8").session
        return int(session.get_session_options().intra_op_num_threads)

    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert threads() == 8
    for text, expected in (("150000 100000", 2), ("10000 100000", 1), ("max 100000", 8)):
        quota.write_text(text)
        assert threads() == expected
    quota.unlink()
    version_1[1].write_text("100000\n")
    for text, expected in (("150000\n", 2), ("-1\n", 8), ("", 8)):
        version_1[0].write_text(text)
        assert threads() == expected
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert threads() == 3
