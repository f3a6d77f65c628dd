"""Files and folders to documents: the walk, one file, and what keeps a bad file from stopping it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from importlib import import_module
from pathlib import Path

from komrc.documents.builder import Extracted
from komrc.documents.document import Document, Unread
from komrc.documents.isolation import IsolatedReader
from komrc.documents.kinds import Kind, kind_of
from komrc.documents.limits import Limits
from komrc.documents.walk import File, walk
from komrc.documents.worker import unreadable
from komrc.errors import DataError, KomrcError, MissingPackageError, require

_DEFAULT = Limits()


class _ChangedError(Exception):
    """The file was written to while it was read."""


def read_documents(paths: Iterable[str | Path], *, limits: Limits = _DEFAULT) -> Iterator[Document | Unread]:
    """The documents of files and of all files in folders, one at a time.

    Args:
        paths: files and folders. Folders are walked in sorted order; see :func:`komrc.documents.walk.walk`
            for what is left out, and for ids.
        limits: bounds for each file.

    Yields:
        a Document for each file that has text, or for each record of a .json, .jsonl or .parquet file; an
        Unread for each file or record that gave none, with the reason.

    Raises:
        MissingPackageError: a kind of file needs ``komrc[documents]``.
    """
    yield from read_files(walk(map(Path, paths), limits), limits=limits)


def read_files(files: Iterable[File | Unread], *, limits: Limits = _DEFAULT) -> Iterator[Document | Unread]:
    """As ``read_documents``, for files that were walked already; each Unread among them is passed on."""
    with IsolatedReader(limits) as isolated:
        for file in files:
            if isinstance(file, Unread):
                yield file
            else:
                yield from _read_file(file, isolated, limits)


def _read_file(file: File, isolated: IsolatedReader, limits: Limits) -> Iterator[Document | Unread]:
    source = str(file.path).encode("utf-8", "backslashreplace").decode()
    for attempt in (1, 2):
        try:
            before = file.path.stat()
            kind = _kind(file, before, limits)
            if kind.streamed:
                yield from _documents(file, source, _extract(file.path, kind, isolated, limits))
                _refuse_change(file.path, before)
            else:
                results = list(_documents(file, source, _extract(file.path, kind, isolated, limits)))
                _refuse_change(file.path, before)
                yield from results
        except _ChangedError:
            if attempt == 1 and not kind.streamed:
                continue
            yield Unread(source, "was written to while it was read. Read it again when it is finished")
        except MissingPackageError:
            raise
        except Exception as error:  # whatever a parser raises for a damaged file
            yield Unread(source, str(unreadable(error)))
        return


def _kind(file: File, status: os.stat_result, limits: Limits) -> Kind:
    if not stat.S_ISREG(status.st_mode):
        raise DataError("is no regular file")
    if status.st_size == 0:
        raise DataError("is empty")
    kind = kind_of(file.path, limits, any_text=file.named)
    if status.st_size > limits.file_bytes and not kind.streamed:
        raise DataError(
            f"is too large: {status.st_size:,} bytes, the limit is {limits.file_bytes:,}",
            fix="split it, or raise the limit (file_bytes)",
        )
    if kind.packages:
        require(*kind.packages, extra="documents", purpose=f"reading {kind.what}", where=str(file.path))
    return kind


def _extract(
    path: Path, kind: Kind, isolated: IsolatedReader, limits: Limits
) -> Iterator[Extracted | DataError]:
    if kind.isolated:
        return isolated.read(path, kind)
    results: Iterator[Extracted | DataError] = import_module(f"komrc.documents.formats.{kind.module}").read(
        path, limits
    )
    return results


def _documents(
    file: File, source: str, results: Iterator[Extracted | DataError]
) -> Iterator[Document | Unread]:
    count = 0
    for result in results:
        count += 1
        if isinstance(result, KomrcError):
            yield Unread(source, str(result))
        elif not result.blocks:
            yield Unread(source, f"{f'#{result.record}: ' if result.record else ''}has no text")
        else:
            yield Document(
                id=f"{file.id}#{result.record}" if result.record else file.id,
                title=result.title or file.path.stem.encode("utf-8", "backslashreplace").decode(),
                text=result.text,
                blocks=result.blocks,
                source=source,
            )
    if not count:
        yield Unread(source, "has no documents")


def _refuse_change(path: Path, before: os.stat_result) -> None:
    after = path.stat()
    if (before.st_mtime_ns, before.st_size, before.st_ino) != (
        after.st_mtime_ns,
        after.st_size,
        after.st_ino,
    ):
        raise _ChangedError
