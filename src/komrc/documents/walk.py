"""The files below the given paths, in sorted order; links never lead out of a folder or into a circle."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath

from komrc.documents.document import Unread
from komrc.documents.limits import Limits

SKIPPED_FOLDERS = frozenset(("__pycache__", "node_modules", "__MACOSX", "$RECYCLE.BIN"))
SKIPPED_FILES = frozenset(("thumbs.db", "desktop.ini"))
_OFFICE_LOCK = "~$"  # begins the name of the file that marks an open document


@dataclass(frozen=True, slots=True)
class File:
    """A file to read: where it is, and the id of its document; ``named``: it was given, not found."""

    path: Path
    id: str
    named: bool


def walk(paths: Iterable[Path], limits: Limits) -> Iterator[File | Unread]:
    """All files that are given or in given folders.

    The id of a file in the only given folder is its path in that folder; with several paths, ids begin with
    the path as it was given. Hidden files and folders are left out. A link to something in the same folder is
    left out, since that is read anyway.
    """
    given = [Path(path) for path in paths]
    seen: set[str] = set()
    for root in given:
        for entry in _below(root, len(given) == 1, limits):
            if isinstance(entry, File) and len(given) > 1:
                real = os.path.realpath(entry.path)
                if real in seen:  # a file may be given and be in a given folder, too
                    continue
                seen.add(real)
            yield entry


def _below(root: Path, is_only_path: bool, limits: Limits) -> Iterator[File | Unread]:
    if not _is_true(root.is_dir):
        if not os.path.lexists(root):
            yield Unread(_shown(root), "does not exist. Check the path")
        elif root.is_symlink() and not _is_true(root.exists):
            yield Unread(_shown(root), "is a link to a file that does not exist")
        else:
            yield File(root, _printable(root.as_posix()), named=True)
        return
    real_root = os.path.realpath(root)
    stack: list[tuple[Path, int]] = [(root, 0)]
    while stack:
        path, depth = stack.pop()
        if path != root and _is_true(path.is_symlink):
            target = os.path.realpath(path)
            if target != real_root and not target.startswith(real_root.rstrip(os.sep) + os.sep):
                yield Unread(_shown(path), "is a link out of the folder. Give its target itself")
            elif not _is_true(path.exists):
                yield Unread(_shown(path), "is a link to a file that does not exist")
            continue
        if not _is_true(path.is_dir):
            inside = path.relative_to(root).as_posix()
            yield File(path, _printable(inside if is_only_path else path.as_posix()), named=False)
            continue
        if depth > limits.folder_depth:
            yield Unread(_shown(path), f"is more than {limits.folder_depth} folders deep. Give it itself")
            continue
        try:
            inside_folder = sorted(path.iterdir(), reverse=True)
        except OSError as error:
            yield Unread(_shown(path), f"can't be opened ({error.strerror}). Check its permissions")
            continue
        stack += [(entry, depth + 1) for entry in inside_folder if not _is_skipped(entry.name)]


def _is_true(check: Callable[[], bool]) -> bool:
    """The result of a check of a path; False without the permission for it, which reading it reports."""
    try:
        return check()
    except OSError:
        return False


def _is_skipped(name: str) -> bool:
    return name.startswith((".", _OFFICE_LOCK)) or name in SKIPPED_FOLDERS or name.casefold() in SKIPPED_FILES


def _shown(path: PurePath) -> str:
    return _printable(str(path))


def _printable(name: str) -> str:
    """A name that UTF-8 can encode; names on a disk need not be UTF-8."""
    return name.encode("utf-8", "backslashreplace").decode()
