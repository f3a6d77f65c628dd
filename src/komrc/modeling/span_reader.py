"""An encoder that marks where an answer starts and ends, and how much of its outer tokens belongs to it."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

from komrc.errors import ModelError
from komrc.modeling import packing
from komrc.modeling.names import COMMON
from komrc.modeling.packing import Packing
from komrc.modeling.weights import read_config, read_weights
from komrc.models.files import CONFIG, WEIGHTS, longest_window
from komrc.types import BOUNDARY_CLASSES

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

logger = logging.getLogger(__name__)

_BOUNDARY = "boundary."
_ATTENTION_DROPOUT = ("attention_probs_dropout_prob", "attention_dropout")
_LAYER = re.compile(r"\.(?:layers?|h)\.\d+\.")
# An untrained boundary head should cut nothing: e^3 against seven ones is 0.74 for "0 characters".
_CUT_NOTHING = 3.0
_WITH_PICTURES = ("layoutlmv2", "lxmert")
_NO_LIMIT = 1 << 30  # of positions: they are relative
# Models whose attention is a class that is chosen when they are built: no kernel can be set later.
FIXED_ATTENTION = ("falcon", "gpt_neo", "gptj")


def boundary_layer(layers: int) -> int:
    """After how many of an encoder's layers the boundary head reads a token's state.

    A third: there the state still has what the token is made of, and its neighbours already. In a trained
    reader's last layer it no longer does (docs/lab-notes/embedded-reader.md has the figures).
    """
    return max(1, layers // 3)


class BoundaryHead(nn.Module):
    """Two linear layers on a token's state: characters to drop at its front, and at its back."""

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.start = nn.Linear(hidden_size, BOUNDARY_CLASSES)
        self.end = nn.Linear(hidden_size, BOUNDARY_CLASSES)
        for layer in (self.start, self.end):
            nn.init.normal_(layer.weight, std=0.02)
            nn.init.zeros_(layer.bias)
            with torch.no_grad():
                layer.bias[0] = _CUT_NOTHING

    def forward(self, state: Tensor) -> tuple[Tensor, Tensor]:
        """States [B, L, H] -> two logits [B, L, 8]."""
        return self.start(state), self.end(state)


class SpanReader(nn.Module):
    """Any ``AutoModelForQuestionAnswering`` and, beside its span head, a boundary head.

    Attributes:
        config: the Hugging Face configuration.
        qa: the Hugging Face model.
        boundary: the boundary head, or None.
        untrained: the parts that the loaded file did not have ("span head", "boundary head").
        max_positions: the longest window the model can read, in tokens.
        uses_token_types: whether ``token_type_ids`` mean something to the model.
    """

    def __init__(self, qa: PreTrainedModel, *, boundary: bool) -> None:
        super().__init__()
        self.config: PretrainedConfig = qa.config
        self.qa = qa
        self.boundary = BoundaryHead(int(self.config.hidden_size)) if boundary else None
        self.untrained: tuple[str, ...] = ()
        self.max_positions = longest_window(self.config.to_dict()) or _NO_LIMIT
        self.uses_token_types = getattr(self.config, "type_vocab_size", 0) > 1
        self._default_kernel = qa.get_correct_attn_implementation(None)  # "sdpa", or "eager" without a choice
        self.attention = self._default_kernel  # type: ignore[assignment]

    @classmethod
    def from_pretrained(
        cls,
        folder: str | Path,
        *,
        model_type: str | None = None,
        boundary: bool | None = None,
        attention_dropout: float | None = None,
        config_folder: Path | None = None,
    ) -> SpanReader:
        """A model from a folder in Hugging Face's layout, in float32, on the CPU, in evaluation mode.

        Args:
            folder: contains config.json and model.safetensors (float32, float16 or KoMRC's int8).
            model_type: what it must be; None: the type in config.json.
            boundary: with or without the boundary head; None: as the weights have it.
            attention_dropout: in place of the configuration's.
            config_folder: where config.json is, if not beside the weights.

        Raises ModelError where the folder is no model or the weights don't fit the configuration.
        """
        folder = Path(folder)
        config = read_config(config_folder or folder, model_type, weight_names=lambda: read_weights(folder))
        if attention_dropout is not None:
            for name in _ATTENTION_DROPOUT:
                if hasattr(config, name):
                    setattr(config, name, attention_dropout)
        weights = read_weights(folder)
        head = {name: weights.pop(name) for name in list(weights) if name.startswith(_BOUNDARY)}
        qa, fresh = _build(config, weights, folder)
        model = cls(qa, boundary=bool(head) if boundary is None else boundary)
        untrained = ["span head"] if fresh else []
        if model.boundary is not None:
            if head:
                _load_boundary(model.boundary, head, folder)
            else:
                untrained.append("boundary head")
        model.untrained = tuple(untrained)
        if untrained:
            logger.info("%s: %s newly initialised; train before use", folder, " and ".join(untrained))
        return model.eval()

    @classmethod
    def trained(
        cls, folder: str | Path, *, model_type: str | None = None, attention_dropout: float | None = None
    ) -> SpanReader:
        """What ``from_pretrained`` gives, for whoever wants answers of it.

        Raises ModelError also where the folder has no span head, since a new one answers at random.
        """
        model = cls.from_pretrained(folder, model_type=model_type, attention_dropout=attention_dropout)
        if "span head" in model.untrained:
            raise ModelError(
                "the model was never trained to mark answers: it is an encoder without a span head",
                where=str(folder),
                fix=f"train it first: komrc train --model {folder} --train-file FILE --output-dir DIR",
            )
        return model

    @property
    def span_layer(self) -> nn.Linear | None:
        """The layer that gives the start and end logits; None where the model has no such layer."""
        encoder = {id(module) for module in self.qa.base_model.modules()}
        heads = [module for module in self.qa.modules() if id(module) not in encoder]
        layers = [module for module in heads if isinstance(module, nn.Linear) and module.out_features == 2]
        return layers[-1] if layers else None

    @property
    def attention(self) -> str:
        """The attention kernel: "sdpa", "eager" or "packed".

        Setting it has no effect on models that have only one kernel. "packed" computes real tokens only; on a
        GPU it needs bf16.
        """
        return self._attention

    @attention.setter
    def attention(self, kernel: Literal["sdpa", "eager", "packed"]) -> None:
        if kernel == "packed":
            if not self.packs:
                return
            packing.register()
        self._attention: str = kernel if self._default_kernel == "sdpa" else "eager"
        self._set_kernel(packing.KERNEL if self._attention == "packed" else self._attention)

    @contextmanager
    def attending_by(self, kernel: str) -> Iterator[None]:
        """Inside this context, the attention is a kernel of transformers' ``AttentionInterface``.

        Models without a choice use "eager".
        """
        self._set_kernel(kernel if self._default_kernel == "sdpa" else "eager")
        try:
            yield
        finally:
            self._set_kernel(packing.KERNEL if self._attention == "packed" else self._attention)

    def _set_kernel(self, name: str) -> None:
        if self.config.model_type not in FIXED_ATTENTION:
            self.qa.set_attn_implementation(name)

    @property
    def packs(self) -> bool:
        """Whether the model can read windows that follow one another in one row: positions by number, every
        token attends to its whole window, and no dropout on attention, which the kernel lacks."""
        config = self.config
        return (
            self._default_kernel == "sdpa"
            and config.model_type not in FIXED_ATTENTION
            and self.max_positions < _NO_LIMIT
            and getattr(config, "sliding_window", None) is None
            and not any(getattr(config, name, 0) for name in _ATTENTION_DROPOUT)
            and self._passes_edges()
        )

    def _passes_edges(self) -> bool:
        """Whether the model gives the windows' edges to its attention, as the flash-attn package needs it."""
        try:
            self.qa.get_correct_attn_implementation("flash_attention_2", is_init_check=True)
        except ImportError:  # the model can use the package, which isn't installed or finds no GPU
            return True
        except ValueError:
            return False
        return True

    def save(self, folder: Path) -> None:
        """Write config.json and model.safetensors (float32) into an existing folder."""
        config = self.config.to_dict()
        config.pop("_name_or_path", None)
        config["architectures"] = [type(self.qa).__name__]
        config["dtype"] = "float32"
        text = json.dumps(config, indent=2, ensure_ascii=False, sort_keys=True)
        (folder / CONFIG).write_text(text + "\n", encoding="utf-8")
        save_file(self.weights(), folder / WEIGHTS, metadata={"format": "pt"})

    def weights(self) -> dict[str, Tensor]:
        """All weights under the names they have in the file, on the CPU."""
        tensors = dict(self.qa.state_dict())
        if self.boundary is not None:
            tensors |= {f"{_BOUNDARY}{name}": v for name, v in self.boundary.state_dict().items()}
        return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}

    def load_weights(self, tensors: dict[str, Tensor]) -> None:
        """Take over weights that ``weights`` returned. Raises ModelError where one is missing or extra."""
        head = {name.removeprefix(_BOUNDARY): v for name, v in tensors.items() if name.startswith(_BOUNDARY)}
        rest = {name: v for name, v in tensors.items() if not name.startswith(_BOUNDARY)}
        try:
            self.qa.load_state_dict(rest)
            if self.boundary is not None:
                self.boundary.load_state_dict(head)
        except RuntimeError as error:
            raise ModelError(f"the weights are of another model ({error})") from error

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
        """Logits of every token.

        Args:
            input_ids: [B, L].
            attention_mask: [B, L], 1 on tokens, 0 on padding.
            token_type_ids: [B, L]; left aside where the model has no token types.

        Returns: start [B, L], end [B, L], characters to drop in front [B, L, 8] and at the back
        [B, L, 8] (None without a boundary head). Raises ModelError for windows beyond the model's limit.
        """
        self._check_length(input_ids.shape[1])
        if self.attention == "packed":
            mask = attention_mask.bool()
            types = None if token_type_ids is None else token_type_ids[mask]
            indptr = F.pad(attention_mask.sum(1).cumsum(0), (1, 0))
            flat = self.forward_flat(input_ids[mask], types, indptr)
            return tuple(None if values is None else _scatter(values, mask) for values in flat)  # type: ignore[return-value]
        arguments = {"input_ids": input_ids, "attention_mask": attention_mask}
        if token_type_ids is not None and self.uses_token_types:
            arguments["token_type_ids"] = token_type_ids
        return self._logits(arguments)

    def forward_flat(
        self, input_ids: Tensor, token_type_ids: Tensor | None, indptr: Tensor
    ) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
        """Logits of B windows that follow one another without padding; ``attention`` must be "packed".

        Args:
            input_ids: [T].
            token_type_ids: [T]; ignored where the model has no token types.
            indptr: int64 [B + 1]; window n is tokens indptr[n]:indptr[n + 1].

        Returns: as ``forward``, with [T] for [B, L]. Raises ModelError for windows beyond the model's limit.
        """
        packing = Packing.of(indptr)
        self._check_length(packing.longest)
        first = int(self.config.max_position_embeddings) - self.max_positions  # RoBERTa's kind: not 0
        arguments: dict[str, Any] = {
            "input_ids": input_ids[None],
            "position_ids": packing.positions + first,
            **packing.arguments(),
        }
        if token_type_ids is not None and self.uses_token_types:
            arguments["token_type_ids"] = token_type_ids[None]
        return tuple(None if values is None else values[0] for values in self._logits(arguments))  # type: ignore[return-value]

    def _check_length(self, longest: int) -> None:
        if not torch.compiler.is_compiling() and longest > self.max_positions:
            raise ModelError(
                f"a window of {longest} tokens is longer than the model's {self.max_positions} positions",
                fix=f"use --max-seq-length {self.max_positions} or less",
            )

    def _logits(self, arguments: dict[str, Any]) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
        # The whole model, not its encoder and a head of ours: some add attention, masks or layers in between.
        output = self.qa(**arguments, return_dict=True, output_hidden_states=self.boundary is not None)
        front, back = None, None
        if self.boundary is not None:
            states = output.get("hidden_states") or output["decoder_hidden_states"]
            front, back = self.boundary(states[boundary_layer(len(states) - 1)])
        return output.start_logits, output.end_logits, front, back


def _scatter(values: Tensor, mask: Tensor) -> Tensor:
    """[T, ...] -> [B, L, ...] with zeros outside the mask [B, L] of T ones."""
    padded = values.new_zeros(*mask.shape, *values.shape[1:])
    return padded.index_put(tuple(mask.nonzero(as_tuple=True)), values)


def _build(
    config: PretrainedConfig, weights: dict[str, Tensor], folder: Path
) -> tuple[PreTrainedModel, bool]:
    """The Hugging Face model with these weights, and whether its span head is new."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_QUESTION_ANSWERING_MAPPING
    from transformers.utils import logging as hf_logging

    if config.model_type in _WITH_PICTURES:
        raise ModelError(
            f"{config.model_type} models read pictures beside the text",
            where=str(folder),
            fix=f"use an encoder of text such as {', '.join(COMMON)}",
        )
    kind: Any = MODEL_FOR_QUESTION_ANSWERING_MAPPING[type(config)]
    level, bar = hf_logging.get_verbosity(), hf_logging.is_progress_bar_enabled()
    hf_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    hf_logging.set_verbosity(logging.ERROR)  # its table of new and unused keys; ours is one line
    try:
        names = _refuse_giants(kind, config, weights, folder)
        weights = _unwrapped(weights, names, kind.base_model_prefix)
        qa, info = kind.from_pretrained(
            None, config=config, state_dict=weights, dtype=torch.float32, output_loading_info=True
        )
    except ModelError:
        raise
    except Exception as error:  # a configuration can make transformers divide by zero, and more
        raise ModelError(
            f"the weights don't fit the configuration ({error})",
            where=str(folder),
            fix="use the config.json that belongs to these weights",
        ) from error
    finally:
        hf_logging.set_verbosity(level)
        if bar:
            hf_logging.enable_progress_bar()  # type: ignore[no-untyped-call]
    prefix = f"{qa.base_model_prefix}."
    lost = sorted(name for name in info["missing_keys"] if name.startswith(prefix))
    unused = [name for name in info["unexpected_keys"] if _LAYER.search(name)]
    if lost or unused:
        problem = (
            f"{len(lost)} weights of the encoder are missing, {lost[0]} first"
            if lost
            else (f"{len(unused)} weights belong to layers that the configuration lacks, {unused[0]} first")
        )
        raise ModelError(
            problem,
            where=str(folder),
            fix="use the config.json and model type that belong to these weights",
        )
    return qa, bool(info["missing_keys"])


def _unwrapped(weights: dict[str, Tensor], names: frozenset[str], prefix: str) -> dict[str, Tensor]:
    """The weights under the model's own names, without what a wrapper put in front of all of them, such as
    ``module.`` of DistributedDataParallel or ``model.`` of a class around the model."""
    known = names | {name.removeprefix(f"{prefix}.") for name in names}
    inner = weights
    while inner and not any(name in known for name in inner):
        first = {name.partition(".")[0] for name in inner}
        inner = {name.partition(".")[2]: tensor for name, tensor in inner.items()}
        if len(first) > 1 or "" in inner:
            return weights  # no wrapper's
    return inner


def _refuse_giants(
    kind: Any, config: PretrainedConfig, weights: dict[str, Tensor], folder: Path
) -> frozenset[str]:
    """Stop before a configuration that asks for far more memory than its weights explain.

    Returns the names of the weights that the model will have.
    """
    have = sum(tensor.numel() for tensor in weights.values())
    layers = getattr(config, "num_hidden_layers", 0)
    if isinstance(layers, int) and layers > len(weights):
        raise ModelError(
            f"asks for {layers:,} layers, but the weights hold {len(weights):,} tensors",
            where=str(folder / CONFIG),
            fix="use the config.json that belongs to these weights",
        )
    with torch.device("meta"):  # shapes only
        sketch = kind(config)
    need = sum(tensor.numel() for tensor in chain(sketch.parameters(), sketch.buffers()))
    if need > 2 * have + 10_000_000:
        raise ModelError(
            f"asks for {need:,} parameters, but the weights hold {have:,}",
            where=str(folder / CONFIG),
            fix="use the config.json that belongs to these weights",
        )
    return frozenset(sketch.state_dict())


def _load_boundary(head: BoundaryHead, tensors: dict[str, Tensor], folder: Path) -> None:
    try:
        head.load_state_dict({name.removeprefix(_BOUNDARY): tensor for name, tensor in tensors.items()})
    except RuntimeError as error:
        raise ModelError(
            f"the boundary head's weights don't fit ({error})", where=str(folder), fix="train the model again"
        ) from error
