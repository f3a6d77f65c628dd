"""The PyTorch engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import torch

from komrc.engines import Batch, Logits
from komrc.engines.onnx_engine import MICROBATCH_TOKENS
from komrc.errors import EngineError, UsageError
from komrc.modeling import SpanReader, onednn

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


class TorchEngine:
    """Runs a SpanReader. The model may be in training: it is put in evaluation mode for each run only.

    Args:
        model: on the device where it shall run.
        precision: "bf16" runs matrix products in bfloat16 (autocast); logits come back in float32.
    """

    def __init__(self, model: SpanReader, *, precision: Literal["fp32", "bf16"] = "fp32") -> None:
        self.model = model
        self.name = "torch" if precision == "fp32" else "torch-bf16"
        self.autocast = precision == "bf16"
        self.microbatch_tokens = MICROBATCH_TOKENS  # computed at once on a CPU

    @classmethod
    def load(
        cls,
        folder: Path,
        name: Literal["torch", "torch-bf16"] = "torch",
        *,
        model_type: str | None = None,
        device: str | None = None,
    ) -> TorchEngine:
        """The model of a folder, on ``device``; None: on the GPU where there is one.

        Raises ModelError, also for a model that was never trained to mark answers, and UsageError for a
        device that torch doesn't know or this machine doesn't have.
        """
        place = _device(device)
        gpu, half = place.type != "cpu", name == "torch-bf16"
        model = SpanReader.trained(folder, model_type=model_type, attention_dropout=0.0)
        model.to(place)
        engine = cls(model, precision="bf16" if half else "fp32")
        if half or not gpu:  # on a GPU the kernel for packed windows wants bf16
            model.attention = "packed"
        if half and not gpu and model.packs and onednn.available():
            onednn.to_bfloat16(model.qa.base_model)
            engine.autocast = False  # these layers cast for themselves
            engine.microbatch_tokens = onednn.ROWS
        return engine

    @torch.inference_mode()
    def run(self, batch: Batch) -> Logits:
        """Logits of a batch. Raises EngineError where PyTorch fails, as for want of memory."""
        training = self.model.training
        if training:
            self.model.eval()
        try:
            if self._device.type != "cpu":
                return self._logits(batch)
            parts = batch.microbatches(self.microbatch_tokens)
            return Logits.concatenate([self._logits(part) for part in parts])
        finally:
            if training:
                self.model.train()

    @property
    def _device(self) -> torch.device:
        return next(self.model.parameters()).device

    def _logits(self, batch: Batch) -> Logits:
        device, model = self._device, self.model

        def tensor(array: NDArray[Any]) -> torch.Tensor:
            return torch.from_numpy(array).to(device)

        try:
            with torch.autocast(device.type, torch.bfloat16, enabled=self.autocast):
                if model.attention == "packed":
                    arrays = batch.input_ids, batch.token_type_ids, batch.indptr
                    flat = model.forward_flat(*map(tensor, arrays))
                    outputs = [values for values in flat if values is not None]
                else:
                    ids, mask, types = batch.padded(int(model.config.pad_token_id or 0))
                    real = tensor(mask).bool()
                    padded = model(tensor(ids), tensor(mask), tensor(types))
                    outputs = [values[real] for values in padded if values is not None]
        except (RuntimeError, IndexError) as error:
            raise EngineError(
                f"PyTorch failed on a batch of {len(batch)} windows ({error})", where=str(device)
            ) from error
        return Logits.of([output.float().cpu().numpy() for output in outputs])


def _device(name: str | None) -> torch.device:
    """The device of this name, once a tensor could be put there. Raises UsageError."""
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).strip().split("\n")[0]
        raise UsageError(
            f"PyTorch can't use the device {name} ({reason})",
            where="device",
            fix='use "cpu", or a device that torch.accelerator shows',
        ) from error
    return device
