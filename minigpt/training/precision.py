"""With how many bits a training computes: autocast for the forward pass, a scaler for gradients in float16.

The weights, their gradients and the optimizer's memory are float32 whatever is chosen; autocast makes a 16-bit copy of
a matrix where it is multiplied. bfloat16 has the range of float32 and a third of its digits. float16 has more digits
and less range: small gradients would become 0, so the loss is multiplied by a large factor before the backward pass and
the gradients divided by it after. Measurements and samples are in float32, as whoever opens the weights later has them.

Source: Micikevicius et al. 2018, "Mixed Precision Training"; `torch.amp`.
"""

from __future__ import annotations

import contextlib
from typing import Any

import torch

from minigpt.config import TrainingConfig
from minigpt.errors import ConfigError

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def resolve_precision(precision: str, device: torch.device) -> str:
    """Turn `auto` into bfloat16 where the hardware multiplies in it, at twice the pace, else into float32."""
    if precision != "auto":
        return precision
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    has = torch.cpu.get_capabilities() if device.type == "cpu" else {}
    return "bfloat16" if has.get("avx512_bf16") or has.get("amx_bf16") else "float32"


def check_precision(precision: str, device: torch.device) -> None:
    """Refuse a precision that is no use on a device.

    Raises:
        ConfigError: float16 anywhere but on an NVIDIA GPU.
    """
    if precision == "float16" and device.type != "cuda":
        raise ConfigError(
            f"training.precision is float16, which needs an NVIDIA GPU; this run is on {device.type}.",
            mend="Set training.precision to float32 or bfloat16.",
        )


def autocast(config: TrainingConfig, device: torch.device) -> contextlib.AbstractContextManager[Any]:
    """Return what to hold around a forward pass, as often as wanted; for float32 it is nothing.

    Never across a `yield`: autocast belongs to the thread.
    """
    if config.precision == "float32":
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype=DTYPES[config.precision])


def make_scaler(config: TrainingConfig, device: torch.device) -> torch.amp.GradScaler | None:
    """Return the scaler of float16's gradients; None for other precisions, which need none."""
    return torch.amp.GradScaler(device.type) if config.precision == "float16" else None
