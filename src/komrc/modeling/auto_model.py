"""The span reader, boundary head included, as a model of transformers and of its Auto classes."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import AutoModel, AutoModelForQuestionAnswering, PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import QuestionAnsweringModelOutput

from komrc.config import Provenance
from komrc.errors import UsageError
from komrc.modeling.span_reader import SpanReader
from komrc.modeling.weights import read_config
from komrc.models import hub

_HUB_OPTIONS = ("cache_dir", "revision", "token", "local_files_only")
_IGNORED = ("force_download", "proxies", "subfolder", "trust_remote_code", "adapter_kwargs", "_from_auto")


class SpanReaderConfig(PretrainedConfig):  # type: ignore[no-untyped-call]
    """The configuration of a KoMRC model for transformers' Auto classes.

    The config.json of a model folder is that of its encoder, so they need this one as an argument::

        config = SpanReaderConfig.from_pretrained(folder)
        model = AutoModelForQuestionAnswering.from_pretrained(folder, config=config)

    Args:
        encoder: the encoder's configuration, with its model_type.
        boundary_head: whether there is a boundary head.
    """

    model_type = "komrc_span_reader"

    def __init__(
        self, encoder: dict[str, Any] | None = None, *, boundary_head: bool = False, **options: Any
    ) -> None:
        super().__init__(**options)
        self.encoder = encoder or {}
        self.boundary_head = boundary_head

    @classmethod
    def from_pretrained(  # type: ignore[override]
        cls, name: str | os.PathLike[str], **options: Any
    ) -> SpanReaderConfig:
        """The configuration of a model folder or hub id.

        Args:
            options: cache_dir, revision, token and local_files_only, for a hub id.

        Raises HubError, ModelError, UsageError for other options.
        """
        folder = _folder(name, options)
        encoder = read_config(folder).to_dict()
        return cls(encoder, boundary_head=Provenance.load(folder).boundary_head)


@dataclass
class SpanReaderOutput(QuestionAnsweringModelOutput):
    """Logits of every token.

    Attributes:
        trim_start_logits: [B, L, 8]; class n drops n characters at the front of the answer's first token.
        trim_end_logits: [B, L, 8]; class n drops n characters at the back of the answer's last token.

    Both are None without a boundary head.
    """

    trim_start_logits: Tensor | None = None
    trim_end_logits: Tensor | None = None


class SpanReaderForQuestionAnswering(PreTrainedModel):  # type: ignore[no-untyped-call]
    """A KoMRC model, boundary head included, with the interface of transformers.

    Importing it registers it for ``AutoModelForQuestionAnswering`` and ``AutoModel``; see
    ``SpanReaderConfig``. Its logits are those of ``Reader`` with the torch engine.

    Attributes:
        reader: KoMRC's own module.
    """

    config_class = SpanReaderConfig
    main_input_name = "input_ids"

    def __init__(self, config: SpanReaderConfig, reader: SpanReader | None = None) -> None:
        super().__init__(config)
        if reader is None:
            from transformers import CONFIG_MAPPING

            values = dict(config.encoder)
            encoder = CONFIG_MAPPING[values.pop("model_type")].from_dict(values)
            qa = AutoModelForQuestionAnswering.from_config(encoder)  # type: ignore[no-untyped-call]
            reader = SpanReader(qa, boundary=config.boundary_head)
        self.reader = reader

    @classmethod
    def from_pretrained(  # type: ignore[override]
        cls,
        name: str | os.PathLike[str],
        *,
        config: SpanReaderConfig | None = None,
        dtype: str | torch.dtype | None = None,
        **options: Any,
    ) -> SpanReaderForQuestionAnswering:
        """The model of a folder or hub id, on the CPU, in evaluation mode.

        Args:
            config: as ``SpanReaderConfig.from_pretrained`` gives it; None: read from the folder.
            dtype: of the weights, such as torch.bfloat16; None or "auto": float32.
            options: cache_dir, revision, token and local_files_only, for a hub id.

        A span head that the file lacks is new, which is logged. Raises HubError, ModelError, UsageError
        for other options.
        """
        folder = _folder(name, options)
        reader = SpanReader.from_pretrained(folder)
        if config is None:
            config = SpanReaderConfig(reader.config.to_dict(), boundary_head=reader.boundary is not None)
        model = cls(config, reader)
        if dtype not in (None, "auto"):
            model.reader.to(getattr(torch, dtype) if isinstance(dtype, str) else dtype)
        model.train(False)
        return model

    def save_pretrained(  # type: ignore[override]
        self, save_directory: str | os.PathLike[str], **_: Any
    ) -> None:
        """Write config.json (the encoder's) and model.safetensors (float32), for ``Reader.load`` and for this
        class. The tokenizer is not part of it."""
        folder = Path(save_directory)
        folder.mkdir(parents=True, exist_ok=True)
        self.reader.save(folder)

    def forward(  # noqa: PLR0917 - the order of transformers' models
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        start_positions: Tensor | None = None,
        end_positions: Tensor | None = None,
        return_dict: bool | None = None,
    ) -> SpanReaderOutput | tuple[Tensor, ...]:
        """Logits of every token, and the loss where the answers' positions are given.

        Args:
            input_ids: [B, L].
            attention_mask: [B, L], 1 on tokens, 0 on padding; None: no padding.
            token_type_ids: [B, L].
            start_positions: [B], the answer's first token; positions beyond L are left out of the loss.
            end_positions: [B], the answer's last token.
            return_dict: False gives a tuple without the values that are None.
        """
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        start, end, trim_start, trim_end = self.reader(input_ids, mask, token_type_ids)
        loss = None
        if start_positions is not None and end_positions is not None:
            loss = (_loss(start, start_positions) + _loss(end, end_positions)) / 2
        output = SpanReaderOutput(
            loss=loss,
            start_logits=start,
            end_logits=end,
            trim_start_logits=trim_start,
            trim_end_logits=trim_end,
        )
        return output.to_tuple() if return_dict is False else output


def _loss(logits: Tensor, positions: Tensor) -> Tensor:
    beyond = logits.shape[1]
    return F.cross_entropy(logits, positions.flatten().clamp(0, beyond), ignore_index=beyond)


def _folder(name: str | os.PathLike[str], options: dict[str, Any]) -> Path:
    """The model's folder; downloaded where ``name`` is a hub id. Raises UsageError for unknown options."""
    unknown = [key for key, value in options.items() if key not in (*_HUB_OPTIONS, *_IGNORED) and value]
    if unknown:
        raise UsageError(
            f"takes no option {unknown[0]!r}",
            where="SpanReaderForQuestionAnswering.from_pretrained",
            fix=f"choose from config, dtype, {', '.join(_HUB_OPTIONS)}",
        )
    return hub.resolve(
        os.fspath(name),
        revision=options.get("revision"),
        offline=options.get("local_files_only") or None,
        cache_dir=options.get("cache_dir"),
        token=options.get("token"),
    )


AutoModel.register(SpanReaderConfig, SpanReaderForQuestionAnswering)
AutoModelForQuestionAnswering.register(SpanReaderConfig, SpanReaderForQuestionAnswering)
