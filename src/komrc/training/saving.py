"""A model folder: weights, tokenizer and settings together, in Hugging Face's layout."""

from __future__ import annotations

import logging
from pathlib import Path

from komrc import storage
from komrc.config import ReaderSettings
from komrc.errors import StorageError
from komrc.modeling import SpanReader
from komrc.tokenization import ReaderTokenizer
from komrc.tokenization.saving import save_tokenizer

logger = logging.getLogger(__name__)

_STAGED = ".komrc-final"


def fill_model(folder: Path, model: SpanReader, tokenizer: ReaderTokenizer, settings: ReaderSettings) -> None:
    """Write everything ``Reader.load`` needs into an existing folder."""
    model.save(folder)
    save_tokenizer(tokenizer, folder)
    settings.save(folder)


def save_final(
    output: Path, model: SpanReader, tokenizer: ReaderTokenizer, settings: ReaderSettings, card: str
) -> None:
    """Write the model into the output folder itself, beside the checkpoints. Raises StorageError.

    All files are complete and on the disk before the first takes its place; the manifest comes last, so a
    folder caught in between is told from a good one.
    """
    with storage.replacing_folder(output / _STAGED) as temporary:
        fill_model(temporary, model, tokenizer, settings)
        (temporary / "README.md").write_text(card, encoding="utf-8")
    finish_final(output)


def finish_final(output: Path) -> None:
    """Move staged files into place; also what a run does first that finds them left by a killed one."""
    staged = output / _STAGED
    if not staged.is_dir():
        return
    try:
        storage.move_into(staged, output)
    except OSError as error:
        raise StorageError(
            f"the model can't be put in place ({error.strerror or error})",
            where=str(output),
            fix=f"it is complete in {staged.name}; check permissions and run again with --resume",
        ) from error
