"""Folders, hub ids over a hub on loopback, the cache, and what is said when they fail."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.loopback_hub import LoopbackHub

from komrc.errors import HubError, ModelError
from komrc.models import hub


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


# --- connections that break, bytes that change -------------------------------------------------------------

WEIGHTS = b"weights" * 50_000


@pytest.fixture
def asked(served: LoopbackHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], bytes]:
    """Resolves a repository's weights; waits between tries are left out."""
    served.use(monkeypatch, tmp_path / "cache")
    monkeypatch.setattr("time.sleep", lambda _: None)

    def weights() -> bytes:
        return (hub.resolve("org/new", files=("*.safetensors",)) / "model.safetensors").read_bytes()

    return weights


@pytest.mark.parametrize("ranges", [True, False], ids=["resumed", "Range ignored"])
@pytest.mark.parametrize("cut", [0, 1, 4096, 65_535, 65_536, 65_537, 150_000, 200_001, 300_000, 349_999])
def test_a_cut_download_ends_whole(
    served: LoopbackHub, asked: Callable[[], bytes], cut: int, ranges: bool
) -> None:
    served.cuts, served.ranges = [cut], ranges
    assert asked() == WEIGHTS
    assert served.cuts == []


@pytest.mark.parametrize("flipped", [0, 175_000, 349_999])
def test_a_byte_changed_on_the_way_is_noticed_and_not_kept(
    served: LoopbackHub, asked: Callable[[], bytes], flipped: int
) -> None:
    served.damaged = [flipped]
    with pytest.raises(HubError, match=r"org/new: model\.safetensors arrived damaged"):
        asked()
    assert asked() == WEIGHTS


def test_damage_in_the_cache_is_noticed_offline_too(
    served: LoopbackHub, asked: Callable[[], bytes], tmp_path: Path
) -> None:
    asked()
    (blob,) = (tmp_path / "cache").glob("*/blobs/*")
    blob.write_bytes(WEIGHTS[:-1] + b"!")
    with pytest.raises(HubError, match="damaged"):
        hub.resolve("org/new", files=("*.safetensors",), offline=True)
    assert not blob.exists()
    assert asked() == WEIGHTS


def test_a_file_that_changes_between_two_tries_is_never_glued_together(
    served: LoopbackHub, asked: Callable[[], bytes]
) -> None:
    served.cuts = [100_000, *[0] * 20]
    with pytest.raises(HubError, match="Try again"):
        asked()
    served.cuts = []
    newer = b"another" * 50_000
    (served.root / "org/new/model.safetensors").write_bytes(newer)
    assert asked() == newer


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_hub_is_asked_again_or_said(
    served: LoopbackHub, asked: Callable[[], bytes], status: int
) -> None:
    served.statuses = [status]
    try:
        found = asked()
    except HubError as error:
        assert str(status) in str(error) and "Try again" in str(error)
        found = asked()
    assert found == WEIGHTS
