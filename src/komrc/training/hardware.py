"""What depends on the machine: precision, attention kernel, memory allocator."""

from __future__ import annotations

import ctypes
import logging
import os
import platform
from typing import Literal

import torch

from komrc.errors import UsageError

logger = logging.getLogger(__name__)

# On CPUs plain matrix products beat the fused attention kernel up to about this length (measured: 12 layers
# of 384, bf16, 2 cores: 3,380 against 2,350 tokens a second at 128, equal at 307).
_EAGER_UP_TO = 256
_MALLOC_VARIABLES = {"MALLOC_MMAP_THRESHOLD_", "MALLOC_TOP_PAD_", "MALLOC_TRIM_THRESHOLD_"}
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3


def keep_freed_memory() -> bool:
    """Let glibc's malloc keep what a step frees for the next one; True where it does.

    A step allocates and frees hundreds of megabytes. By default glibc returns each large block to the kernel
    at once and pays for zeroed pages again at every step. mallopt works on a running process, so there is no
    need to start Python again with MALLOC_* variables; where the user has set those, nothing changes.
    32 MiB is the highest threshold that every glibc accepts.
    """
    if os.environ.keys() & _MALLOC_VARIABLES:
        return False
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    settings = {_M_MMAP_THRESHOLD: 32 << 20, _M_TRIM_THRESHOLD: (1 << 31) - 1, _M_TOP_PAD: 64 << 20}
    accepted = [mallopt(name, value) for name, value in settings.items()]
    return all(accepted)


def computes_in_bf16(device: torch.device) -> bool:
    """Whether the device has bfloat16 arithmetic of its own, so that bf16 is faster than fp32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if platform.machine().lower() in ("x86_64", "amd64"):
        # AVX512_BF16 alone gains little; AMX tiles gain a factor of two and more.
        processor = torch.cpu.get_capabilities()
        return bool(processor.get("amx_tile") or processor.get("avx512_bf16"))
    return False


def attention_kernel(
    device: torch.device, precision: Literal["fp32", "bf16"], length: int
) -> Literal["eager", "sdpa", "packed"]:
    """The fastest attention for a batch padded to ``length``; what each is: ``SpanReader.attention``.

    A GPU reads windows packed, which leaves no padding to compute; its kernel for that wants bf16.
    """
    if device.type == "cpu":
        return "eager" if length <= _EAGER_UP_TO else "sdpa"
    return "packed" if device.type == "cuda" and precision == "bf16" else "sdpa"


def choose_precision(
    wanted: Literal["auto", "fp32", "bf16"], device: torch.device
) -> Literal["fp32", "bf16"]:
    """The precision to compute in. Raises UsageError where bf16 is asked of a GPU that lacks it."""
    if wanted == "auto":
        return "bf16" if computes_in_bf16(device) else "fp32"
    if wanted == "bf16" and not computes_in_bf16(device):
        if device.type == "cuda":
            raise UsageError("this GPU lacks bf16", where="--precision", fix="use --precision fp32")
        logger.warning("this processor has no bf16 arithmetic: --precision bf16 will be slow")
    return wanted
