"""Looks at a model folder before anything in it is used: nothing in it runs, nothing outside it is read.

Only files that KoMRC opens are looked at; code and pickles beside them are left alone.
"""

from __future__ import annotations

import json
import math
import stat
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from komrc import storage
from komrc.errors import ModelError
from komrc.models.files import (
    CONFIG,
    LARGEST_CONFIG,
    LARGEST_JSON,
    OPENED,
    TOKENIZER_PARTS,
    named,
    own_files,
    read_json,
)

_LARGEST_HEADER = 16 << 20
_MOST_TENSORS = 20_000
_MOST_LAYERS = 200
_LARGEST_NUMBER = 1 << 31
_LONGEST_LIST = 10_000
_LONGEST_PATH = 200  # characters of it that are shown
_MOST_SIDES = 64  # of a tensor; NumPy's limit

_BYTES = {
    "BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1, "U16": 2, "I16": 2, "F16": 2, "BF16": 2,
    "U32": 4, "I32": 4, "F32": 4, "U64": 8, "I64": 8, "F64": 8,
}  # fmt: skip
# A configuration with one of these asks for code or kernels from elsewhere.
_CODE = frozenset({"auto_map", "custom_pipelines", "_attn_implementation_internal", "quantization_config"})
_KERNELS = frozenset({"attn_implementation", "_attn_implementation", "experts_implementation"})
_OWN_KERNELS = (
    None,
    "eager",
    "sdpa",
    "flash_attention_2",
    "flash_attention_3",
    "flex_attention",
    "grouped_mm",
)
_COUNTS = ("layer", "block", "expert", "repeat", "stage")  # parts of names of numbers that loops run over

_AGAIN = "copy or download the model again"


# Folders that passed their manifest, with the state of their files then.
_verified: dict[tuple[Path, tuple[str, ...]], list[tuple[str, tuple[int, ...]]]] = {}


def inputs(name: str | Path) -> list[Path]:
    """A model folder and its own files, which no output may overwrite; empty where it is a hub id."""
    folder = Path(name).expanduser()
    if not folder.is_dir():
        return []
    return [folder, *(file for pattern in (*OPENED, storage.MANIFEST) for file in folder.glob(pattern))]


def check(folder: Path, patterns: Sequence[str] = OPENED) -> None:
    """Refuse a model folder that would read outside itself, ask for code or exhaust the memory, and one
    whose files are not those of its manifest. Everything that loads from a folder calls it first.

    ``patterns``: names of the files that are compared with the manifest.

    Raises ModelError.
    """
    roots = _roots(folder)
    try:
        names = sorted(path.name for path in folder.iterdir())
    except OSError as error:
        raise ModelError(f"can't be read ({error.strerror or error})", where=str(folder)) from error
    for name in names:
        if name == storage.MANIFEST or named(name, OPENED):
            _check_place(folder / name, roots)
    for name in names:
        if name == CONFIG:
            check_config(read_json(folder / name, limit=LARGEST_CONFIG), folder / name)
        elif name.endswith(".safetensors"):
            read_header(folder / name)
        elif named(name, TOKENIZER_PARTS) and (folder / name).stat().st_size > LARGEST_JSON:
            _refuse(folder / name, f"is larger than {LARGEST_JSON:,} bytes", "use another model")
    verify(folder, patterns)


def verify(folder: Path, patterns: Sequence[str] = OPENED) -> None:
    """Compare the files that a loader may open with the folder's manifest, where it has one.

    Hashing takes a second a gigabyte, so files that have not changed since are not hashed again.

    Raises ModelError.
    """
    if not (folder / storage.MANIFEST).is_file():
        return
    key, state = (folder.absolute(), tuple(patterns)), _state(folder)
    if _verified.get(key) == state:
        return
    names = [path.name for path in own_files(folder)]
    try:
        listed = read_json(folder / storage.MANIFEST, limit=storage.LARGEST_MANIFEST)["files"]
        plain = [name for name in listed if "/" not in name]
        names += [name for name in plain if named(name, OPENED)]
    except (ModelError, FileNotFoundError, KeyError, TypeError):
        pass  # verify_folder reports it
    problems = storage.verify_folder(folder, {name for name in names if named(name, patterns)})
    if problems:
        _refuse(
            folder,
            f"the model is damaged or half-written: {'; '.join(problems)}",
            f"{_AGAIN}; after a training that was stopped, run it again with --resume; if you changed the "
            f"files on purpose, delete {storage.MANIFEST}",
        )
    _verified[key] = state


def _state(folder: Path) -> list[tuple[str, tuple[int, ...]]]:
    """What changes when a file of the model is written again."""
    files = [*own_files(folder), folder / storage.MANIFEST]
    statuses = [(path.name, path.stat()) for path in files]
    return [(name, (s.st_ino, s.st_size, s.st_mtime_ns, s.st_ctime_ns)) for name, s in statuses]


# --- config.json -------------------------------------------------------------------------------------------


def check_config(values: dict[str, Any], path: Path) -> None:
    """Refuse a configuration that asks for code, for kernels from elsewhere or for giant models.

    Raises ModelError.
    """
    for where, key, value in _entries(values):
        if key in _CODE:
            _refuse(
                path,
                f'has "{where}": it asks for code that does not belong to KoMRC, which is never run',
                "use a model that transformers supports without remote code",
            )
        if key in _KERNELS and value not in _OWN_KERNELS:
            _refuse(path, f'"{where}" names a kernel that is not transformers\' own: {value!r}', "remove it")
        if isinstance(value, int) and abs(value) > _LARGEST_NUMBER:
            _refuse(path, f'"{where}" is {_shown(value)}', "use the config.json that belongs to the weights")
        counted = any(part in key.lower() for part in _COUNTS)
        if counted and isinstance(value, int) and value > _MOST_LAYERS:
            _refuse(
                path,
                f'"{where}" is {_shown(value)}; at most {_MOST_LAYERS:,} are built',
                "use the config.json that belongs to the weights",
            )
        if isinstance(value, list) and len(value) > _LONGEST_LIST:
            _refuse(path, f'"{where}" has {len(value):,} entries', _AGAIN)


def _entries(value: Any, prefix: str = "") -> Iterator[tuple[str, str, Any]]:
    """Every place, key and value of nested objects and lists. Not recursive: nothing here is trusted."""
    stack = [(prefix, "", value)]
    while stack:
        where, key, content = stack.pop()
        if where:
            yield where, key, content
        if isinstance(content, dict):
            stack.extend((_below(where, k), k, v) for k, v in content.items())
        elif isinstance(content, list) and len(content) <= _LONGEST_LIST:
            stack.extend((f"{where}[{i}]", key, v) for i, v in enumerate(content))


def _below(where: str, key: str) -> str:
    """The place of a key, as far as a message shows it."""
    key = key[:_LONGEST_PATH]
    return f"{where}.{key}"[-_LONGEST_PATH:] if where else key


def _shown(value: int) -> str:
    return f"{value:,}" if abs(value) < 10**15 else "a number of many digits"


# --- safetensors -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Header:
    """A safetensors file's table: entries by tensor name, its metadata, and its bytes, length included."""

    tensors: dict[str, dict[str, Any]]
    metadata: dict[str, str]
    raw: bytes


def read_header(path: Path) -> Header:
    """The header of a safetensors file, checked against the file's size. Offsets count from its end.

    Raises ModelError where it is damaged, or larger than any model's.
    """
    try:
        total = path.stat().st_size
        with path.open("rb") as file:
            length = file.read(8)
            (size,) = struct.unpack("<Q", length)
            if size > total - 8:
                raise ValueError("the header is longer than the file")
            if size > _LARGEST_HEADER:
                raise ValueError(f"the header has {size:,} bytes, at most {_LARGEST_HEADER:,} are read")
            text = file.read(size)
        table = json.loads(text)
        if not isinstance(table, dict):
            raise ValueError("the header is no table")
        if len(table) > _MOST_TENSORS:
            raise ValueError(f"the header names {len(table):,} tensors, at most {_MOST_TENSORS:,} are read")
        metadata = table.pop("__metadata__", {})
        if not isinstance(metadata, dict):
            raise ValueError("the header's metadata is no table")
        for name, entry in table.items():
            _check_tensor(name, entry, total - 8 - size)
    except (OSError, ValueError, KeyError, TypeError, struct.error, RecursionError) as error:
        raise ModelError(f"not a readable safetensors file ({error})", where=str(path), fix=_AGAIN) from error
    return Header(table, metadata, length + text)


def _check_tensor(name: str, entry: dict[str, Any], room: int) -> None:
    shape, (begin, end) = entry["shape"], entry["data_offsets"]
    if len(shape) > _MOST_SIDES:
        raise ValueError(f"{name!r} has {len(shape):,} sides")
    if not all(type(number) is int and number >= 0 for number in (*shape, begin, end)):
        raise ValueError(f"{name!r} has a shape or place that is no whole number")
    size = _BYTES.get(entry["dtype"])
    if size is None:
        raise ValueError(f"{name!r} is of unknown type {entry['dtype']!r}")
    if not begin <= end <= room or math.prod(shape) * size != end - begin:
        raise ValueError(f"{name!r} does not fit into the file")


# --- places ------------------------------------------------------------------------------------------------


def _roots(folder: Path) -> list[Path]:
    """Where a model folder's bytes may lie."""
    root = folder.resolve()
    if root.parent.name == "snapshots":  # huggingface_hub's cache keeps the bytes beside its snapshots
        return [root, root.parent.parent / "blobs"]
    return [root]


def _check_place(path: Path, roots: list[Path]) -> None:
    """A regular file that is really in one of the folders."""
    try:
        place = path.resolve(strict=True)
        kind = place.stat().st_mode
    except (OSError, RuntimeError) as error:
        raise ModelError("is a link to nothing", where=str(path), fix=_AGAIN) from error
    if not any(place.is_relative_to(root) for root in roots):
        _refuse(path, "is a link out of the model folder", "copy the file itself into the folder")
    if stat.S_ISDIR(kind):
        return  # a loader that looks for a file passes it by
    if not stat.S_ISREG(kind):
        _refuse(path, "is neither a file nor a folder", _AGAIN)


def member(folder: Path, name: object, *, named_in: Path) -> Path:
    """The file of a folder that another file names: a plain name, and no link that leads out of the folder.

    Raises ModelError.
    """
    plain = (
        isinstance(name, str) and name not in ("", ".", "..") and Path(name).name == name and "\\" not in name
    )
    if not plain or "\0" in str(name):
        _refuse(named_in, f"names a file outside the folder: {name!r}", _AGAIN)
    path = folder / str(name)
    if path.exists() or path.is_symlink():
        _check_place(path, _roots(folder))
    return path


def _refuse(path: Path, what: str, fix: str) -> NoReturn:
    raise ModelError(what, where=str(path), fix=fix)
