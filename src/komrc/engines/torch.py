"""The PyTorch engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import torch

from komrc.engines import Batch, Logits
from komrc.engines.portions import TOKENS, in_portions
from komrc.errors import EngineError
from komrc.modeling import SpanReader, onednn

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
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
        self.portion = TOKENS  # computed at once on a CPU

    @classmethod
    def load(
        cls, folder: Path, name: Literal["torch", "torch-bf16"] = "torch", *, model_type: str | None = None
    ) -> TorchEngine:
        """The model of a folder, on the GPU where there is one. Raises ModelError, also for a model that was
        never trained to mark answers."""
        gpu, half = torch.cuda.is_available(), name == "torch-bf16"
        model = SpanReader.trained(folder, model_type=model_type, attention_dropout=0.0)
        model.to("cuda" if gpu else "cpu")
        engine = cls(model, precision="bf16" if half else "fp32")
        if half or not gpu:  # on a GPU the kernel for packed windows wants bf16
            model.attention = "packed"
        if half and not gpu and model.packs and onednn.available():
            onednn.to_bfloat16(model.qa.base_model)
            engine.autocast = False  # these layers cast for themselves
            engine.portion = onednn.ROWS
        return engine

    @torch.inference_mode()
    def run(self, batch: Batch) -> Logits:
        """Logits of a batch. Raises EngineError where PyTorch fails, as for want of memory."""
        training = self.model.training
        if training:
            self.model.eval()
        try:
            if self._device.type == "cpu":
                return in_portions(batch, self._outputs, self.portion)
            return Logits(*self._outputs(batch))
        finally:
            if training:
                self.model.train()

    @property
    def _device(self) -> torch.device:
        return next(self.model.parameters()).device

    def _outputs(self, batch: Batch) -> list[NDArray[np.float32]]:
        device = self._device

        def tensor(array: NDArray[Any]) -> torch.Tensor:
            return torch.from_numpy(array).to(device)

        types = batch.token_type_ids
        try:
            with torch.autocast(device.type, torch.bfloat16, enabled=self.autocast):
                outputs = self.model(
                    tensor(batch.input_ids),
                    tensor(batch.attention_mask),
                    None if types is None else tensor(types),
                )
        except (RuntimeError, IndexError) as error:
            raise EngineError(
                f"PyTorch failed on a batch of {batch.input_ids.shape} tokens ({error})", where=str(device)
            ) from error
        return [output.float().cpu().numpy() for output in outputs if output is not None]
