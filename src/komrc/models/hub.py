"""Where models and sample data come from: a folder, a hub id, or what the package carries.

Downloads take safetensors, JSON, text and SentencePiece files and the graphs that ``komrc export`` writes;
``pytorch_model.bin`` only where a repository has no safetensors (it is then read as plain tensors). Code in
a repository is neither downloaded nor run.
The library that downloads compares sizes; every file's hash is compared here, with its name in the cache.
``HF_ENDPOINT``, ``HF_HUB_OFFLINE``, ``HF_HOME`` and ``HF_TOKEN`` mean what they mean to huggingface_hub.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator, Sequence
from fnmatch import fnmatch
from functools import cache
from pathlib import Path
from typing import Literal

from komrc.errors import HubError, KomrcError, ModelError
from komrc.models.files import DOWNLOADED, OLD_WEIGHTS
from komrc.storage import git_blob_id, sha256_file

# What the hub calls a file's content, and huggingface_hub its copy in the cache, by the length of the name.
_HASHES = {40: git_blob_id, 64: sha256_file}
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?")
_RESOURCES = Path(__file__).parents[1] / "resources"  # not importlib.resources: it starts slowly


def embedded_model() -> Path:
    """The folder of the Korean reader that the package carries."""
    return _RESOURCES / "model"


def sample_data(part: Literal["train", "dev"]) -> Path:
    """The file of the sample set that the package carries, in KorQuAD v1.0 form."""
    return _RESOURCES / "sample" / f"{part}.json"


def demo_data(part: Literal["everyday", "train", "dev"]) -> Path:
    """A data file of ``komrc demo``, in SQuAD 2.0 form; "train" and "dev" are airport weather reports."""
    return _RESOURCES / "demo" / f"{part}.json"


def resolve(
    name: str | Path | None,
    *,
    files: Sequence[str] | None = None,
    revision: str | None = None,
    offline: bool | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    token: str | bool | None = None,
) -> Path:
    """The folder that contains a model's files.

    Args:
        name: a folder, which is returned as it is; a hub id such as ``monologg/kobert``, which is downloaded
            into the cache where it is not there yet; None for the embedded model.
        files: name patterns of the files that are needed; None for all that a model consists of.
        revision: branch, tag or commit of a hub id.
        offline: use the cache only; None: as ``HF_HUB_OFFLINE`` is set.
        cache_dir: the cache; None means huggingface_hub's own.
        token: of an account that may read the repository; None means what ``HF_TOKEN`` or a login gives,
            False none at all.

    Raises:
        ModelError: the name is neither a folder nor a possible hub id.
        HubError: no such repository or revision, no access, no connection and not in the cache, or a file
            that is not what the hub published; that one is removed from the cache.
    """
    if name is None:
        return embedded_model()
    folder = Path(name).expanduser()
    if str(name) and folder.is_dir():
        return folder
    if folder.is_file() or not _HUB_ID.fullmatch(str(name)):
        raise ModelError(
            "is not a folder, and can't be a hub id",
            where=str(name),
            fix="give the folder that contains config.json, or a hub id such as monologg/kobert",
        )
    if offline is None:
        offline = os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}

    def snapshot(patterns: Sequence[str]) -> Path:
        return _snapshot(str(name), patterns, revision, offline=offline, cache_dir=cache_dir, token=token)

    folder = snapshot(files or DOWNLOADED)
    if files is None and not any(folder.glob("*.safetensors")):
        folder = snapshot((*DOWNLOADED, *OLD_WEIGHTS))
    return folder


def _snapshot(
    name: str,
    patterns: Sequence[str],
    revision: str | None,
    *,
    offline: bool,
    cache_dir: str | os.PathLike[str] | None,
    token: str | bool | None,
) -> Path:
    import huggingface_hub

    endpoint = os.environ.get("HF_ENDPOINT") or None
    with explained_errors(name, revision=revision, offline=offline):
        folder = huggingface_hub.snapshot_download(
            name,
            revision=revision,
            allow_patterns=list(patterns),
            ignore_patterns=["*/*"],
            local_files_only=offline,
            cache_dir=None if cache_dir is None else os.fspath(cache_dir),
            endpoint=endpoint,
            token=token,
        )
    _compare_hashes(Path(folder), patterns, name)
    return Path(folder)


def _compare_hashes(folder: Path, patterns: Sequence[str], name: str) -> None:
    """Refuse files whose bytes are not those that their names in the cache promise, and remove them."""
    wrong = []
    for path in sorted(p for p in folder.iterdir() if any(fnmatch(p.name, pattern) for pattern in patterns)):
        # Where the cache has no links, nothing names the expected bytes.
        if not path.is_symlink() or (blob := path.resolve()).parent.name != "blobs" or not blob.is_file():
            continue
        status = blob.stat()
        if not _has_its_hash(blob, status.st_size, status.st_mtime_ns):
            wrong.append(path.name)
            for file in (path, blob):
                with contextlib.suppress(OSError):
                    file.unlink()
    if wrong:
        raise HubError(
            f"{', '.join(wrong)} arrived damaged or was damaged in the cache: the published hash is another",
            where=name,
            fix="try again: the damaged copy was removed from the cache",
        )


@cache
def _has_its_hash(blob: Path, _size: int, _changed: int) -> bool:
    """Whether a file's bytes have the hash that it is named after; looked at once for each size and time."""
    known = _HASHES.get(len(blob.name)) if re.fullmatch("[0-9a-f]+", blob.name) else None
    return known is None or known(blob) == blob.name


@contextlib.contextmanager
def explained_errors(
    name: str, *, what: str = "download", revision: str | None = None, offline: bool = False
) -> Iterator[None]:
    """Raise HubError for all that huggingface_hub and its HTTP client raise.

    Args:
        name: the repository.
        what: what is done, "download" or "upload".
        revision: the revision that was asked for.
        offline: whether the cache alone was asked.
    """
    endpoint = os.environ.get("HF_ENDPOINT") or "https://huggingface.co"
    try:
        yield
    except KomrcError:
        raise
    except Exception as error:
        raise _explained(error, name, what, revision, endpoint=endpoint, offline=offline) from error


def _explained(
    error: Exception, name: str, what: str, revision: str | None, *, endpoint: str, offline: bool
) -> KomrcError:
    from huggingface_hub import errors

    reason = str(error).strip().split("\n")[0] or type(error).__name__
    if what == "upload":
        return HubError(
            f"the upload to {endpoint} failed ({reason})",
            where=name,
            fix="check the name (owner/name) and that HF_TOKEN may write there, then try again",
        )
    if isinstance(error, errors.GatedRepoError):
        return HubError(
            "the repository is gated",
            where=name,
            fix=f"accept its conditions at {endpoint}/{name}, then set HF_TOKEN to a token of that account",
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return HubError(
            f"the repository has no revision {revision!r}", where=name, fix="check the branch, tag or commit"
        )
    if isinstance(error, errors.RepositoryNotFoundError):
        return HubError(
            f"is no folder here and no repository on {endpoint}",
            where=name,
            fix="check: the spelling (owner/name); the path, if you meant a folder; "
            "HF_TOKEN, if it is private; HF_ENDPOINT, if you use a mirror",
        )
    if isinstance(error, errors.LocalEntryNotFoundError):
        reason = "HF_HUB_OFFLINE or --offline is set" if offline else f"{endpoint} can't be reached"
        return HubError(
            f"is no folder here and not whole in the cache, and {reason}",
            where=name,
            fix="check the path, if you meant a folder; else connect once to download it, "
            "or copy its files into a folder and give that",
        )
    return HubError(
        f"the download from {endpoint} failed ({reason})",
        where=name,
        fix="try again: what has arrived is kept; check free disk space and the proxy",
    )
