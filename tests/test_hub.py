"""Folders, hub ids over a hub on loopback, the cache, and what is said when they fail."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from loopback_hub import LoopbackHub

from komrc import hub
from komrc.errors import HubError, ModelError


@pytest.fixture
def served(tmp_path: Path) -> Iterator[LoopbackHub]:
    """Repositories: new (safetensors), old (a pickle only), closed (gated)."""
    for name in ("org/new", "org/old", "org/closed"):
        folder = tmp_path / "hub" / name
        folder.mkdir(parents=True)
        for file in ("config.json", "vocab.txt", "spiece.model", "pytorch_model.bin", "tokenization_evil.py"):
            (folder / file).write_bytes(f"{name} {file}".encode() * 1000)
        (folder / "onnx").mkdir()
        (folder / "onnx/model.safetensors").write_bytes(b"another copy")
        (folder / "onnx/model.onnx").write_bytes(b"a graph of somebody else's")
    (tmp_path / "hub/org/new/model.safetensors").write_bytes(b"weights" * 50_000)
    (tmp_path / "hub/org/new/model-int8.onnx").write_bytes(b"what komrc export wrote")
    with LoopbackHub(tmp_path / "hub", gated=("org/closed",)) as running:
        yield running


def names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_a_folder_stays_where_it_is(tmp_path: Path) -> None:
    assert hub.resolve(tmp_path) == tmp_path
    assert hub.resolve(str(tmp_path)) == tmp_path


def test_none_is_the_embedded_model() -> None:
    assert hub.resolve(None) == hub.embedded_model()
    assert hub.embedded_model().parts[-3:] == ("komrc", "resources", "model")
    assert hub.sample_data("dev").name == "dev.json"


@pytest.mark.parametrize("name", ["./nowhere", "/no/such/folder", "a/b/c", "~/none", "a b", ""])
def test_what_can_be_no_hub_id_is_never_asked_for(
    name: str, served: LoopbackHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served.use(monkeypatch, tmp_path / "cache")
    monkeypatch.chdir(tmp_path / "hub/org")  # "" must not mean the working folder
    with pytest.raises(ModelError, match="folder"):
        hub.resolve(name)
    assert served.paths == []


def test_downloads_the_files_of_a_model_and_no_code_or_pickle(
    served: LoopbackHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served.use(monkeypatch, tmp_path / "cache")
    folder = hub.resolve("org/new")
    graph = "model-int8.onnx"
    assert names(folder) == {"config.json", "vocab.txt", "spiece.model", "model.safetensors", graph}
    assert (folder / "model.safetensors").read_bytes() == b"weights" * 50_000


def test_takes_the_old_weights_where_there_are_no_safetensors(
    served: LoopbackHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served.use(monkeypatch, tmp_path / "cache")
    assert names(hub.resolve("org/old")) == {"config.json", "vocab.txt", "spiece.model", "pytorch_model.bin"}


def test_named_files_only(served: LoopbackHub, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        served.use(patch, tmp_path / "unused")
        folder = hub.resolve("org/old", files=("*.txt",), cache_dir=tmp_path / "mine")
    assert names(folder) == {"vocab.txt"}
    assert folder.is_relative_to(tmp_path / "mine")
    assert not (tmp_path / "unused").exists()


def test_the_cache_serves_when_the_hub_is_gone(
    served: LoopbackHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served.use(monkeypatch, tmp_path / "cache")
    folder = hub.resolve("org/new")
    asked = len(served.paths)
    assert hub.resolve("org/new", offline=True) == folder
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert hub.resolve("org/new") == folder
    assert len(served.paths) == asked
    with socket.socket() as taken:  # bound, not listening: connections are refused
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{taken.getsockname()[1]}")
        monkeypatch.setenv("HF_HUB_OFFLINE", "0")
        assert hub.resolve("org/new") == folder


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("org/nothing", {}, ("org/nothing", "no repository", "spelling", "HF_TOKEN", "HF_ENDPOINT")),
        ("org/closed", {}, ("org/closed", "gated", "HF_TOKEN")),
        ("org/new", {"revision": "v9"}, ("org/new", "'v9'", "branch")),
        ("org/new", {"offline": True}, ("org/new", "cache", "HF_HUB_OFFLINE")),
    ],
)
def test_errors_say_what_to_check(
    name: str,
    options: dict[str, object],
    said: tuple[str, ...],
    served: LoopbackHub,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    served.use(monkeypatch, tmp_path / "cache")
    with pytest.raises(HubError) as caught:
        hub.resolve(name, **options)  # type: ignore[arg-type]
    for words in said:
        assert words in str(caught.value)


def test_an_unreachable_hub_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{taken.getsockname()[1]}"
        monkeypatch.setenv("HF_ENDPOINT", address)
        with pytest.raises(HubError, match="can't be reached") as caught:
            hub.resolve("org/new", cache_dir=tmp_path, offline=False)
    assert address in str(caught.value)
