"""The windows of the training data, kept on disk between runs."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from komrc import storage
from komrc.config import WindowConfig
from komrc.errors import StorageError
from komrc.types import Example
from komrc.windows import ARRAYS, Windows, build_windows

if TYPE_CHECKING:
    from komrc.tokenization import PairTemplate, ReaderTokenizer

logger = logging.getLogger(__name__)

FORMAT = 2  # of the cache; raise it when the arrays or their meaning change


def cached_windows(
    examples: Sequence[Example],
    tokenizer: ReaderTokenizer,
    config: WindowConfig,
    *,
    labels: bool,
    data_sha256: str,
    cache_dir: Path,
    anew: bool = False,
) -> Windows:
    """What ``build_windows`` gives, memory-mapped from a cache folder that is written when it is missing.

    The key contains the data's hash, the examples' ids, the tokenizer's hash, every length and the format. A
    damaged cache is built again. If the cache can't be written, it is skipped. Both are logged. ``anew``
    builds it again in any case.
    """
    parts: list[Any] = [FORMAT, data_sha256, tokenizer.fingerprint, asdict(config), labels]
    parts.append(hashlib.sha256("\0".join(e.id for e in examples).encode("utf-8", "replace")).hexdigest())
    key = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
    folder = cache_dir / f"windows-{key[:24]}"
    if folder.exists() and not anew:
        problems = storage.verify_folder(folder)
        if not problems:
            return _load(folder, tokenizer.template)
        logger.warning("%s: the cache is damaged (%s); building it again", folder, problems[0])
    storage.remove_stale(cache_dir)
    windows = build_windows(examples, tokenizer, config, labels=labels)
    try:
        if folder.exists():
            storage.remove_folder(folder)
        with storage.replacing_folder(folder) as temporary:
            for name in ARRAYS:
                np.save(temporary / f"{name}.npy", getattr(windows, name), allow_pickle=False)
    except StorageError as error:
        logger.warning("%s; continuing without a cache", error)
        return windows
    return _load(folder, tokenizer.template)


def _load(folder: Path, template: PairTemplate) -> Windows:
    arrays = {
        # asarray: a plain view of the mapping, which is faster to slice than numpy's memmap class
        name: np.asarray(np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False))
        for name in ARRAYS
    }
    return Windows(template=template, **arrays)
