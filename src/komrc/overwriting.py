"""What an output must not replace: an input, in any spelling, through any link; a name of another kind."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from komrc.errors import UsageError

# Names with these endings are files to everybody; a folder is never meant.
_FILE_ENDINGS = (
    *(".csv", ".tsv", ".txt", ".xls", ".xlsx", ".ods", ".parquet", ".arrow", ".feather"),
    *(".json", ".jsonl", ".ndjson", ".xml", ".yaml", ".yml", ".html", ".md", ".pdf", ".doc", ".docx", ".hwp"),
    *(".hwpx", ".gz", ".zip", ".tar", ".tgz", ".bz2", ".xz", ".zst", ".7z", ".h5", ".db", ".sqlite"),
    *(".onnx", ".safetensors", ".bin", ".pt", ".pth", ".pkl"),
)


def refuse_inputs(outputs: Iterable[Path], inputs: Iterable[Path]) -> None:
    """Raise UsageError where an output is an input, or a folder with an input below it.

    Files are compared by their real path and by device and inode. Call it before anything is written.
    """
    outputs = list(outputs)
    for source in inputs:
        for output in outputs:
            if _same(output, source):
                raise UsageError(
                    "is also an input, which would be lost" if output.exists() else "is also an input",
                    where=str(output),
                    fix="give another output",
                )
            if any(_same(output, folder) for folder in _real(source).parents):
                raise UsageError(
                    f"contains an input, which would be lost: {source}",
                    where=str(output),
                    fix="give another folder as the output",
                )


def refuse_inside(outputs: Iterable[Path], folders: Iterable[Path]) -> None:
    """Raise UsageError where an output is below a folder whose files are all inputs."""
    outputs = list(outputs)
    for folder in folders:
        for output in outputs:
            if any(_same(folder, parent) for parent in _real(output).parents):
                raise UsageError(
                    f"is inside {folder}, where all files are inputs: the next run would read it",
                    where=str(output),
                    fix="give an output elsewhere, or name the input files one by one",
                )


def refuse_file_name(folder: Path, option: str) -> None:
    """Raise UsageError for the name of a new folder that ends as a file's name does, or is ``-``."""
    if is_file_name(folder):
        raise UsageError(
            f"{folder} is no name of a folder, and a folder is written",
            where=option,
            fix="give the name of a folder, without such an ending",
        )


def is_file_name(path: Path) -> bool:
    """Whether a name is that of a file rather than of a folder; no where a folder has it."""
    named = str(path) == "-" or path.suffix.lower() in _FILE_ENDINGS
    return named and not path.is_dir()


def files_below(path: Path) -> Iterator[Path]:
    """The path itself and, for a folder, every file below it."""
    yield path
    if path.is_dir():
        yield from (file for file in path.rglob("*") if file.is_file())


def _same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:  # one of the two is not there
        return _real(one) == _real(other)


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path.expanduser()))
