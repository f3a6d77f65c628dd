"""From a folder or a hub id to a ReaderTokenizer: always the fast kind, never code from a repository."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tokenizers

from komrc import hub, model_folder
from komrc.errors import ModelError, require
from komrc.tokenization import kobert_backend
from komrc.tokenization.reader_tokenizer import ReaderTokenizer

TOKENIZER_FILES = ("*.json", "*.txt", "*.model")
_WORDPIECE_CLASSES = ("Bert", "DistilBert", "Electra", "ConvBert", "MobileBert", "Funnel", "Lxmert")
# Positions that a model's table holds but a text can't use (they start after the padding id).
_RESERVED_POSITIONS = {"roberta": 2, "xlm-roberta": 2, "camembert": 2, "xlm-roberta-xl": 2}
_NO_LIMIT = 1_000_000  # transformers writes 1e30 where a tokenizer knows no limit


def load_tokenizer(
    source: str | Path | None, *, revision: str | None = None, do_lower_case: bool | None = None
) -> ReaderTokenizer:
    """Load a tokenizer that gives exact offsets.

    Args:
        source: a folder, a hub id, or None for the embedded model.
        revision: branch, tag or commit of a hub id.
        do_lower_case: for WordPiece; None means what the folder's tokenizer_config.json says, else False.

    Raises:
        ModelError: the folder holds no tokenizer, or one that exists as a slow tokenizer only.
        HubError: the download failed.
    """
    folder = hub.resolve(source, files=TOKENIZER_FILES, revision=revision)
    model_folder.check(folder)
    settings = _read_json(folder / "tokenizer_config.json")
    backend = _backend(folder, settings, do_lower_case)
    config = _read_json(folder / "config.json")
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
        return model_folder.read_json(path)
    except FileNotFoundError:
        return {}


def _backend(folder: Path, settings: dict[str, Any], do_lower_case: bool | None) -> tokenizers.Tokenizer:
    if (folder / "tokenizer.json").is_file():
        try:
            return tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
        except BaseException as error:  # the Rust library raises bare Exception, and panics as its own kind
            if isinstance(error, KeyboardInterrupt | SystemExit):
                raise
            raise ModelError(
                f"tokenizer.json can't be read ({error})",
                where=str(folder),
                fix="download or save the tokenizer again",
            ) from error
    spm = folder / kobert_backend.MODEL_FILE
    if spm.is_file():
        lower = _lower(settings, do_lower_case)
        return kobert_backend.build_backend(spm, folder / kobert_backend.VOCAB_FILE, do_lower_case=lower)
    kind = (
        str(settings.get("tokenizer_class") or "BertTokenizer").removesuffix("Fast").removesuffix("Tokenizer")
    )
    if (folder / "vocab.txt").is_file() and kind in _WORDPIECE_CLASSES:
        return _wordpiece(folder / "vocab.txt", settings, _lower(settings, do_lower_case))
    return _converted(folder, settings)


def _lower(settings: dict[str, Any], asked: bool | None) -> bool:
    return bool(settings.get("do_lower_case", False)) if asked is None else asked


def _wordpiece(vocab: Path, settings: dict[str, Any], lower: bool) -> tokenizers.Tokenizer:
    """BERT's pipeline over a vocab.txt, as transformers builds it."""
    from tokenizers import decoders, models, normalizers, pre_tokenizers, processors

    special = ["[UNK]", "[PAD]", "[CLS]", "[SEP]", "[MASK]"]
    pieces = models.WordPiece.read_file(str(vocab))
    if missing := [token for token in special[:4] if token not in pieces]:
        raise ModelError(
            f"no WordPiece vocabulary: {', '.join(missing)} missing",
            where=str(vocab),
            fix="it needs one piece a line, special tokens among them",
        )
    backend = tokenizers.Tokenizer(models.WordPiece(vocab=pieces, unk_token="[UNK]"))  # noqa: S106
    backend.add_special_tokens([token for token in special if token in pieces])
    backend.normalizer = normalizers.BertNormalizer(
        lowercase=lower,
        strip_accents=settings.get("strip_accents"),
        handle_chinese_chars=settings.get("tokenize_chinese_chars", True),
    )
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.post_processor = processors.BertProcessing(("[SEP]", pieces["[SEP]"]), ("[CLS]", pieces["[CLS]"]))
    backend.decoder = decoders.WordPiece()
    return backend


def _converted(folder: Path, settings: dict[str, Any]) -> tokenizers.Tokenizer:
    """What transformers makes of a folder without tokenizer.json, as long as it is a fast tokenizer."""
    fix = (
        "save a fast tokenizer into the folder: AutoTokenizer.from_pretrained(…).save_pretrained(folder) "
        "writes tokenizer.json where one exists"
    )
    if not any(found for pattern in TOKENIZER_FILES for found in folder.glob(pattern)):
        raise ModelError(
            "holds no model: there is neither a config.json nor a tokenizer",
            where=str(folder),
            fix="check the path; a model folder has config.json, model.safetensors and tokenizer.json",
        )
    # transformers would open the files that these name, wherever they are.
    for name, value in settings.items():
        if name.endswith("_file") and name != "special_tokens_map_file" and value is not None:
            model_folder.member(folder, value, named_in=folder / "tokenizer_config.json")
    require(
        "transformers",
        extra="train",
        purpose="the conversion of a tokenizer that is neither tokenizer.json nor a WordPiece vocab.txt",
        where=str(folder),
        instead=fix,
    )
    from transformers import AutoTokenizer

    try:
        found = AutoTokenizer.from_pretrained(str(folder), trust_remote_code=False, local_files_only=True)
    except Exception as error:  # whatever a damaged or unknown folder makes the library raise
        reason = str(error).strip().split("\n")[0]
        raise ModelError(
            f"holds no tokenizer that can be loaded ({reason})", where=str(folder), fix=fix
        ) from error
    if not getattr(found, "is_fast", False):
        raise ModelError(
            f"{type(found).__name__} is a slow tokenizer: it gives no character offsets",
            where=str(folder),
            fix=fix,
        )
    return tokenizers.Tokenizer.from_str(found.backend_tokenizer.to_str())


def _pad_id(
    backend: tokenizers.Tokenizer, settings: dict[str, Any], config: dict[str, Any], folder: Path
) -> int:
    token = settings.get("pad_token")
    names = [token.get("content") if isinstance(token, dict) else token, "[PAD]", "<pad>"]
    for name in names:
        found = backend.token_to_id(name) if isinstance(name, str) else None
        if found is not None:
            return found
    if isinstance(config.get("pad_token_id"), int):
        return int(config["pad_token_id"])
    raise ModelError(
        "the tokenizer has no padding token",
        where=str(folder),
        fix='name one as "pad_token" in tokenizer_config.json',
    )


def _max_length(settings: dict[str, Any], config: dict[str, Any]) -> int:
    limits = []
    if isinstance(settings.get("model_max_length"), int) and settings["model_max_length"] < _NO_LIMIT:
        limits.append(settings["model_max_length"])
    if isinstance(config.get("max_position_embeddings"), int):
        reserved = _RESERVED_POSITIONS.get(str(config.get("model_type")), 0)
        limits.append(config["max_position_embeddings"] - reserved)
    return min(limits, default=512)
