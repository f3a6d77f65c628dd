"""The PyTorch engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import torch

from komrc.engines import Batch, Logits
from komrc.errors import EngineError
from komrc.modeling import SpanReader

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


class TorchEngine:
    """Runs a SpanReader. The model may be in training: it is put in evaluation mode for each run only.

    Args:
        model: on the device where it shall run.
        precision: "bf16" runs matrix products in bfloat16 (autocast); logits come back in float32.
    """

    name = "torch"

    def __init__(self, model: SpanReader, *, precision: Literal["fp32", "bf16"] = "fp32") -> None:
        self.model = model
        self.precision = precision

    @classmethod
    def load(cls, folder: Path) -> TorchEngine:
        """The model of a folder, on the GPU where there is one. Raises ModelError."""
        model = SpanReader.from_pretrained(folder)
        return cls(model.to("cuda") if torch.cuda.is_available() else model)

    @torch.inference_mode()
    def run(self, batch: Batch) -> Logits:
        """Logits of a batch. Raises EngineError where PyTorch fails, as for want of memory."""
        device = next(self.model.parameters()).device

        def tensor(array: NDArray[Any]) -> torch.Tensor:
            return torch.from_numpy(array).to(device)

        training = self.model.training
        if training:
            self.model.eval()
        try:
            with torch.autocast(device.type, torch.bfloat16, enabled=self.precision == "bf16"):
                outputs = self.model(
                    tensor(batch.input_ids),
                    tensor(batch.attention_mask),
                    None if batch.token_type_ids is None else tensor(batch.token_type_ids),
                )
        except (RuntimeError, IndexError) as error:
            raise EngineError(
                f"PyTorch failed on a batch of {batch.input_ids.shape} tokens ({error})", where=str(device)
            ) from error
        finally:
            if training:
                self.model.train()
        start, end, front, back = (None if x is None else x.float().cpu().numpy() for x in outputs)
        assert start is not None and end is not None
        return Logits(start, end, front, back)
