"""KoBertTokenizer: the tokenizer of KoBERT and DistilKoBERT as a fast Hugging Face tokenizer."""

from __future__ import annotations

import os
import shutil
import threading
from functools import cached_property
from pathlib import Path
from typing import Any

import tokenizers

from komrc.errors import ModelError, require
from komrc.models import hub
from komrc.models.files import KOBERT_MODEL, KOBERT_SPIECE, KOBERT_TOKENIZER, TOKENIZER_JSON, VOCAB
from komrc.tokenization.kobert_backend import build_backend, is_kobert
from komrc.tokenization.offsets import ExactEncoding, OffsetRepair

require(
    "transformers",
    extra="train",
    purpose="KoBertTokenizer",
    instead="read KoBERT's files with komrc.tokenization.load_tokenizer",
)
from transformers import AutoTokenizer, BatchEncoding, BertConfig, PreTrainedTokenizerFast  # noqa: E402


class KoBertTokenizer(PreTrainedTokenizerFast):
    """The ids of the 2020 class, from a Rust pipeline, with exact code-point offsets into the raw text.

    Args:
        vocab_file: the SentencePiece model, ``tokenizer_78b3253a26.model``; or ``spiece.model`` as
            skt/kobert-base-v1 has it, which needs no ``vocab.txt``.
        vocab_txt: ``vocab.txt``, one piece a line, in the order of the ids.
        tokenizer_file: ``tokenizer.json`` of a saved tokenizer, instead of the two.
        do_lower_case: lower the text.

    ``from_pretrained`` takes a folder or a hub id and runs no code from either. One object may be used by
    several threads at once.

    Raises:
        ModelError: a file is missing, damaged or of another model.
        HubError: the download failed.
    """

    vocab_files_names = {  # noqa: RUF012 - the library's way
        "vocab_file": KOBERT_MODEL,
        "vocab_txt": VOCAB,
        "tokenizer_file": TOKENIZER_JSON,
    }
    model_input_names = ["input_ids", "token_type_ids", "attention_mask"]  # noqa: RUF012 - the library's way

    def __init__(
        self,
        vocab_file: str | os.PathLike[str] | None = None,
        vocab_txt: str | os.PathLike[str] | None = None,
        tokenizer_file: str | None = None,
        do_lower_case: bool = False,
        **kwargs: Any,
    ) -> None:
        for role in ("unk", "pad", "cls", "sep", "mask"):
            kwargs.setdefault(f"{role}_token", f"[{role.upper()}]")
        kwargs.setdefault("model_max_length", 512)
        # Given, it is saved too, so that AutoTokenizer returns token types where this class is not imported.
        kwargs.setdefault("model_input_names", list(self.model_input_names))
        if tokenizer_file is None and "tokenizer_object" not in kwargs:
            spm = Path(vocab_file or KOBERT_MODEL)
            vocab = None if vocab_txt is None and is_kobert(spm) else Path(vocab_txt or VOCAB)
            kwargs["tokenizer_object"] = build_backend(spm, vocab, do_lower_case=do_lower_case)
        super().__init__(  # type: ignore[no-untyped-call]
            tokenizer_file=tokenizer_file, do_lower_case=do_lower_case, **kwargs
        )
        self.vocab_file = vocab_file
        self._prepare()

    def _prepare(self) -> None:
        # The backend's truncation is state that a call sets and reads: two threads must not mix theirs.
        self._lock = threading.RLock()
        whole = tokenizers.Tokenizer.from_str(self.backend_tokenizer.to_str())
        whole.no_truncation()
        whole.no_padding()
        self._repair = OffsetRepair(whole)

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | os.PathLike[str],
        *init_inputs: Any,
        cache_dir: str | os.PathLike[str] | None = None,
        revision: str | None = None,
        **kwargs: Any,
    ) -> KoBertTokenizer:
        """Load from a folder or a hub id; see the class."""
        offline = True if kwargs.pop("local_files_only", False) else None
        folder = hub.resolve(
            os.fspath(pretrained_model_name_or_path),
            files=KOBERT_TOKENIZER,
            revision=revision,
            offline=offline,
            cache_dir=cache_dir,
        )
        own = any((folder / name).is_file() for name in (TOKENIZER_JSON, KOBERT_MODEL))
        if not own and is_kobert(folder / KOBERT_SPIECE):
            for option in ("trust_remote_code", "use_fast"):
                kwargs.pop(option, None)
            return cls(folder / KOBERT_SPIECE, **kwargs)
        if not own:
            raise ModelError(
                f"contains neither tokenizer.json nor KoBERT's {KOBERT_MODEL} and {VOCAB}"
                if folder.is_dir()
                else "there is no such folder",
                where=str(folder),
                fix="check the path, or give the hub id monologg/kobert",
            )
        for option in ("trust_remote_code", "use_fast"):  # no code is run, and there is no slow kind
            kwargs.pop(option, None)
        loaded: KoBertTokenizer = super().from_pretrained(
            str(folder), *init_inputs, local_files_only=True, **kwargs
        )
        return loaded

    # --- what the class of 2020 had ---

    @cached_property
    def idx2token(self) -> list[str]:
        """The pieces of the vocabulary in the order of their ids."""
        return list(self.convert_ids_to_tokens(list(range(self.vocab_size))))

    @cached_property
    def token2idx(self) -> dict[str, int]:
        """The pieces of the vocabulary and their ids."""
        return {piece: number for number, piece in enumerate(self.idx2token)}

    def save_vocabulary(  # type: ignore[override]  # the library's own type has one file
        self, save_directory: str, filename_prefix: str | None = None
    ) -> tuple[str, ...]:
        """Write the SentencePiece model and ``vocab.txt`` into a folder; returns their paths.

        Raises ModelError where the tokenizer was read from tokenizer.json, which has no SentencePiece model.
        """
        source = Path(self.vocab_file or "")
        if not source.is_file():
            raise ModelError(
                "the SentencePiece model is not at hand: the tokenizer was read from tokenizer.json",
                where=str(save_directory),
                fix="use save_pretrained, which writes tokenizer.json, or copy "
                f"{KOBERT_MODEL} from monologg/kobert",
            )
        prefix = f"{filename_prefix}-" if filename_prefix else ""
        model, vocab = (Path(save_directory) / f"{prefix}{name}" for name in (KOBERT_MODEL, VOCAB))
        model.parent.mkdir(parents=True, exist_ok=True)
        if not (model.exists() and model.samefile(source)):
            shutil.copyfile(source, model)
        vocab.write_text("".join(f"{piece}\n" for piece in self.idx2token), encoding="utf-8")
        return str(model), str(vocab)

    @classmethod
    def convert_to_native_format(  # type: ignore[override]
        cls, **kwargs: Any
    ) -> dict[str, Any]:
        """Keep the files as they are: ``__init__`` reads them."""
        kwargs.pop("trust_remote_code", None)
        if kwargs.get("tokenizer_file") is None:
            kwargs.pop("tokenizer_file", None)
        return kwargs

    def encode(self, *args: Any, **kwargs: Any) -> Any:
        """The ids of a text, as the library's class gives them."""
        with self._lock:
            return super().encode(*args, **kwargs)

    def tokenize(self, *args: Any, **kwargs: Any) -> list[str]:
        """The pieces of a text, as the library's class gives them."""
        with self._lock:
            return super().tokenize(*args, **kwargs)

    def __call__(self, text: Any = None, text_pair: Any = None, *args: Any, **kwargs: Any) -> BatchEncoding:
        """As the library's class, with exact offsets."""
        with self._lock:
            batch: BatchEncoding = super().__call__(text, text_pair, *args, **kwargs)
        if text is None:  # only targets
            targets = dict(zip(("text_target", "text_pair_target"), args, strict=False)) | kwargs
            text, text_pair = targets.get("text_target"), targets.get("text_pair_target")
        if kwargs.get("is_split_into_words") or batch.encodings is None:
            return batch
        batched = isinstance(text, (list, tuple))
        samples = _samples(text, text_pair) if batched else _samples([text], [text_pair])
        edges = [[self._repair.edges(side) for side in sample] for sample in samples]
        owners = batch.get("overflow_to_sample_mapping", range(len(samples)))
        exact = [
            ExactEncoding(encoding, samples[owner], edges[owner], self._repair)
            for encoding, owner in zip(batch.encodings, owners, strict=True)
        ]
        data = dict(batch.data)
        if "offset_mapping" in data:
            tensors = kwargs.get("return_tensors")
            spans: Any = [encoding.offsets for encoding in exact]
            if tensors is not None:
                spans = BatchEncoding({"offset_mapping": spans}, tensor_type=tensors)["offset_mapping"]
            elif not batched and not kwargs.get("return_overflowing_tokens"):
                spans = spans[0]
            data["offset_mapping"] = spans
        return BatchEncoding(data, exact)  # type: ignore[arg-type]

    def __getstate__(self) -> dict[str, Any]:
        state = dict(self.__dict__)
        del state["_lock"], state["_repair"]  # made again by the copy
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._prepare()


def _samples(texts: list[Any], pairs: list[Any] | None) -> list[list[str]]:
    """The texts of each sample: one, or two of a pair."""
    second = pairs if pairs is not None else [None] * len(texts)
    samples = []
    for text, pair in zip(texts, second, strict=True):
        if isinstance(text, (list, tuple)):  # a batch may be given as pairs
            samples.append(list(text))
        else:
            samples.append([text] if pair is None else [text, pair])
    return samples


class _KoBertConfig(BertConfig):  # type: ignore[no-untyped-call]
    """The key under which AutoTokenizer finds the class by its name in tokenizer_config.json."""

    model_type = "kobert"


AutoTokenizer.register(_KoBertConfig, tokenizer_class=KoBertTokenizer, exist_ok=True)  # type: ignore[no-untyped-call]
