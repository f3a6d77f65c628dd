"""From a folder or a hub id to a ReaderTokenizer: always the fast kind, never code from a repository."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import tokenizers

from komrc.errors import ModelError, require
from komrc.models import checks, files, hub
from komrc.tokenization import kobert_backend
from komrc.tokenization.reader_tokenizer import ReaderTokenizer
from komrc.tokenization.wordpiece import build_wordpiece

_WORDPIECE_CLASSES = ("Bert", "DistilBert", "Electra", "ConvBert", "MobileBert", "Funnel", "Lxmert")
_FEWEST_PIECES = 10  # special tokens alone are no vocabulary
_SHORTEST_WINDOW = 8  # a smaller model_max_length is a mistake
_NO_LIMIT = 1_000_000  # transformers writes 1e30 if a tokenizer has no limit


def load_tokenizer(
    source: str | Path | None, *, revision: str | None = None, do_lower_case: bool | None = None
) -> ReaderTokenizer:
    """Load a tokenizer that gives exact offsets.

    Args:
        source: a folder, a hub id, or None for the embedded model.
        revision: branch, tag or commit of a hub id.
        do_lower_case: for WordPiece; None: as in the folder's tokenizer_config.json, else False.

    Raises:
        ModelError: the folder contains no tokenizer, or one that exists as a slow tokenizer only.
        HubError: the download failed.
    """
    folder = hub.resolve(source, files=files.TOKENIZER, revision=revision)
    checks.check(folder, files.TOKENIZER)
    settings = _read_json(folder / files.TOKENIZER_CONFIG)
    backend = _backend(folder, settings, do_lower_case)
    config = files.read_config(folder)
    pad_id, longest = _pad_id(backend, settings, config, folder), _max_length(settings, config)
    try:
        return ReaderTokenizer(backend, pad_id=pad_id, model_max_length=longest)
    except ModelError:
        raise
    except Exception as error:  # it tries the backend out, and the Rust library raises bare Exception
        raise ModelError(
            f"the tokenizer does not work ({error})",
            where=str(folder),
            fix="download or save the tokenizer again",
        ) from error


def _read_json(path: Path) -> dict[str, Any]:
    """The file's object; empty where there is no such file."""
    try:
        return files.read_json(path)
    except FileNotFoundError:
        return {}


def _backend(folder: Path, settings: dict[str, Any], do_lower_case: bool | None) -> tokenizers.Tokenizer:
    if (folder / files.TOKENIZER_JSON).is_file():
        try:
            ready = tokenizers.Tokenizer.from_file(str(folder / files.TOKENIZER_JSON))
        except BaseException as error:  # the Rust library raises bare Exception, and panics as its own kind
            if isinstance(error, KeyboardInterrupt | SystemExit):
                raise
            raise ModelError(
                f"tokenizer.json can't be read ({error})",
                where=str(folder),
                fix="download or save the tokenizer again",
            ) from error
        return _heeds_lower(ready, folder) if do_lower_case else ready
    lower = _lower(settings, do_lower_case)
    spm, spiece = folder / files.KOBERT_MODEL, folder / files.KOBERT_SPIECE
    if spm.is_file():
        return kobert_backend.build_backend(spm, folder / files.VOCAB, do_lower_case=lower)
    if spiece.is_file() and kobert_backend.is_kobert(spiece):
        return kobert_backend.build_backend(spiece, None, do_lower_case=lower)
    kind = (
        str(settings.get("tokenizer_class") or "BertTokenizer").removesuffix("Fast").removesuffix("Tokenizer")
    )
    if (folder / files.VOCAB).is_file() and kind in _WORDPIECE_CLASSES:
        special = _read_json(folder / files.SPECIAL_TOKENS)
        added = _read_json(folder / "added_tokens.json")
        return build_wordpiece(folder / files.VOCAB, settings, special, added, lower=lower)
    found = _converted(folder, settings)
    return _heeds_lower(found, folder) if do_lower_case else found


def _lower(settings: dict[str, Any], asked: bool | None) -> bool:
    return bool(settings.get("do_lower_case", False)) if asked is None else asked


def _heeds_lower(backend: tokenizers.Tokenizer, folder: Path) -> tokenizers.Tokenizer:
    """Raises ModelError for a ready-made tokenizer that distinguishes upper and lower case."""
    if backend.encode("ABC Def").ids != backend.encode("abc def").ids:
        raise ModelError(
            "do_lower_case is asked for, but the tokenizer is saved ready-made and keeps upper case",
            where=str(folder),
            fix="leave do_lower_case out; or remove tokenizer.json, where vocab.txt is beside it",
        )
    return backend


def _converted(folder: Path, settings: dict[str, Any]) -> tokenizers.Tokenizer:
    """What transformers makes of a folder without tokenizer.json, as long as it is a fast tokenizer."""
    fix = (
        "save a fast tokenizer into the folder: AutoTokenizer.from_pretrained(…).save_pretrained(folder) "
        "writes tokenizer.json where one exists"
    )
    if not any(path for pattern in files.TOKENIZER for path in folder.glob(pattern)):
        raise ModelError(
            "contains no model: there is neither a config.json nor a tokenizer",
            where=str(folder),
            fix="check the path; a model folder has config.json, model.safetensors and tokenizer.json",
        )
    # transformers would open the files that these name, wherever they are.
    for name, value in settings.items():
        if name.endswith("_file") and name != "special_tokens_map_file" and value is not None:
            checks.member(folder, value, named_in=folder / files.TOKENIZER_CONFIG)
    if not any(path for pattern in files.VOCABULARIES for path in folder.glob(pattern)):
        raise ModelError(
            "contains no tokenizer: neither tokenizer.json nor a vocabulary",
            where=str(folder),
            fix="copy tokenizer.json, or vocab.txt and the like, from the model that it was trained from, "
            "or name that with --tokenizer (train, serve)",
        )
    require(
        "transformers",
        extra="train",
        purpose="the conversion of a tokenizer that is neither tokenizer.json nor a WordPiece vocab.txt",
        where=str(folder),
        instead=fix,
    )
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(str(folder), trust_remote_code=False, local_files_only=True)
    except Exception as error:  # whatever a damaged or unknown folder makes the library raise
        if (pieces := next(folder.glob("*.model"), None)) and not _has_sentencepiece():
            raise ModelError(
                f"contains a tokenizer as {pieces.name} only, and the package sentencepiece, which reads it, "
                "is not installed",
                where=str(folder),
                fix="run pip install sentencepiece",
            ) from error
        reason = str(error).strip().split("\n")[0]
        raise ModelError(
            f"contains no tokenizer that can be loaded ({reason})", where=str(folder), fix=fix
        ) from error
    if not getattr(tokenizer, "is_fast", False):
        raise ModelError(
            f"{type(tokenizer).__name__} is a slow tokenizer: it gives no character offsets",
            where=str(folder),
            fix=fix,
        )
    backend = tokenizers.Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    if backend.get_vocab_size(with_added_tokens=False) < _FEWEST_PIECES:
        name = settings.get("tokenizer_class") or type(tokenizer).__name__
        raise ModelError(
            f"{name} finds no vocabulary among the folder's files",
            where=str(folder),
            fix='correct "tokenizer_class" in tokenizer_config.json (BertTokenizer reads a WordPiece '
            f"vocab.txt), or {fix}",
        )
    return backend


def _has_sentencepiece() -> bool:
    try:
        importlib.import_module("sentencepiece")
    except ImportError:
        return False
    return True


def _pad_id(
    backend: tokenizers.Tokenizer, settings: dict[str, Any], config: dict[str, Any], folder: Path
) -> int:
    token = settings.get("pad_token")
    names = [token.get("content") if isinstance(token, dict) else token, "[PAD]", "<pad>"]
    for name in names:
        pad_id = backend.token_to_id(name) if isinstance(name, str) else None
        if pad_id is not None:
            return pad_id
    if isinstance(config.get("pad_token_id"), int):
        return int(config["pad_token_id"])
    raise ModelError(
        "the tokenizer has no padding token",
        where=str(folder),
        fix='name one as "pad_token" in tokenizer_config.json',
    )


def _max_length(settings: dict[str, Any], config: dict[str, Any]) -> int:
    stated, limit = settings.get("model_max_length"), files.longest_window(config)
    limits = [] if limit is None else [limit]
    if isinstance(stated, int) and _SHORTEST_WINDOW <= stated < _NO_LIMIT:
        limits.append(stated)
    return min(limits, default=512)
