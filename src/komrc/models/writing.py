"""The one writer of a model folder: which parts it has, and in which order they are written.

``storage.replacing_folder`` gives the folder its manifest, last, and its place when it is complete.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from komrc.models import files

WritePart = Callable[[Path], object]  # writes the files of one part into an existing folder


def write_model(
    folder: Path, *, tokenizer: WritePart, settings: WritePart, weights: WritePart, card: bytes | None = None
) -> None:
    """Write what ``Reader.load`` needs into an existing folder, which the caller then completes.

    Args:
        folder: a new folder of ``storage.replacing_folder``.
        tokenizer: writes the tokenizer's files.
        settings: writes komrc.json.
        weights: writes config.json and the weights or graphs.
        card: the content of README.md; None: no such file.
    """
    tokenizer(folder)
    settings(folder)
    if card is not None:
        (folder / files.CARD).write_bytes(card)
    weights(folder)


def copy_files(
    source: Path, folder: Path, patterns: Sequence[str] = files.OPENED, *, without: Sequence[str] = ()
) -> None:
    """Copy a model's own files whose names match one of the patterns and none of ``without``.

    Pickled weights are not copied.
    """
    for path in files.own_files(source):
        if files.named(path.name, patterns) and not files.named(path.name, (*without, *files.OLD_WEIGHTS)):
            shutil.copyfile(path, folder / path.name)


def read_card(source: Path) -> bytes | None:
    """The README.md of a model folder; None if it has none."""
    path = source / files.CARD
    return path.read_bytes() if path.is_file() else None
