"""Model folders of a reader: saving one, and uploading it to a hub."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from komrc import model_card, storage
from komrc.config import Provenance, ReaderConfig
from komrc.errors import ModelError, UsageError
from komrc.models import files, hub
from komrc.models.writing import copy_files, read_card, write_model

if TYPE_CHECKING:
    from komrc.tokenization import ReaderTokenizer


class _Reader(Protocol):
    """What saving needs of a Reader."""

    tokenizer: ReaderTokenizer
    config: ReaderConfig
    folder: Path | None


class SavedToHub:
    """Saving and uploading a reader."""

    def save_pretrained(self: _Reader, folder: str | Path) -> None:
        """Write the model, its tokenizer and this reader's settings into a folder, for ``Reader.load``.

        Weights and graphs are copied as they are, so that each engine computes the same. An existing model
        folder is replaced when the new one is complete.

        Raises StorageError where the folder can't be written or contains other files; ModelError where the
        weights are a pickle; UsageError for a reader that was not loaded from a folder or hub id, or was
        loaded from this folder.
        """
        save(_source(self), Path(folder), self.tokenizer, self.config)

    def push_to_hub(
        self: _Reader,
        repo_id: str,
        *,
        token: str | bool | None = None,
        private: bool | None = None,
        commit_message: str = "Upload a KoMRC reader",
    ) -> str:
        """Upload what ``save_pretrained`` writes to a repository; returns the address of the commit.

        Args:
            repo_id: "owner/name"; the repository is created where there is none.
            token: of an account that may write there; None: ``HF_TOKEN`` or the saved login.
            private: whether a new repository is private; None: as the owner's settings have it.
            commit_message: first line of the commit's message.

        Raises HubError, and what ``save_pretrained`` raises.
        """
        import tempfile  # it brings random; a reader that only answers needs neither

        with tempfile.TemporaryDirectory(prefix="komrc-") as temporary:
            folder = Path(temporary, "model")
            save(_source(self), folder, self.tokenizer, self.config)
            return push(folder, repo_id, token=token, private=private, commit_message=commit_message)


def _source(reader: _Reader) -> Path:
    if reader.folder is None:
        raise UsageError(
            "this reader was not loaded from a folder",
            where="Reader",
            fix="save the parts that it was made of, or use Reader.load",
        )
    return reader.folder


def save(source: Path, target: Path, tokenizer: ReaderTokenizer, config: ReaderConfig) -> None:
    """Write a model folder: the files of ``source``, this tokenizer, this configuration and a model card.

    Raises StorageError, ModelError and UsageError as ``SavedToHub.save_pretrained``.
    """
    from komrc.tokenization.saving import keep_tokenizer

    if target.exists() and target.resolve() == source.resolve():
        raise UsageError("is the folder that the model was loaded from", where=str(target))
    own = [path for path in files.own_files(source) if not files.named(path.name, files.OLD_WEIGHTS)]
    if not any(path.suffix in (".safetensors", ".onnx") for path in own):
        raise ModelError(
            "the model has no weights but a pickle, which is not copied",
            where=str(source),
            fix="load it with komrc.SpanReaderForQuestionAnswering and save that",
        )
    provenance = replace(Provenance.load(source), tokenizer_sha256=tokenizer.fingerprint)
    with storage.replacing_folder(target) as folder:
        write_model(
            folder,
            tokenizer=lambda place: keep_tokenizer(tokenizer, source, place),
            settings=lambda place: config.save(place, provenance),
            weights=lambda place: copy_files(source, place, without=(*files.TOKENIZER_PARTS, files.SETTINGS)),
            card=read_card(source) or model_card.for_reader().encode(),
        )


def push(
    folder: Path, repo_id: str, *, token: str | bool | None, private: bool | None, commit_message: str
) -> str:
    """Upload a model folder to a repository, which is created where there is none; the commit's address.

    Raises HubError.
    """
    from huggingface_hub import HfApi

    endpoint = os.environ.get("HF_ENDPOINT") or None
    api = HfApi(endpoint=endpoint, token=token)
    with hub.explained_errors(repo_id, what="upload"):
        api.create_repo(repo_id, private=private, exist_ok=True)
        commit = api.upload_folder(repo_id=repo_id, folder_path=folder, commit_message=commit_message)
    return str(commit.commit_url)
