"""The number format a training computes in: autocast for the forward pass, loss scaling for float16, TF32 products.

Weights, gradients and optimizer state are float32 in every case. What `training.precision` changes is matrix products:

- `float32`: products in full float32, the default.
- `tf32`: float32 numbers, but the GPU rounds both factors of a product to 10 bits of fraction (float32 has 23). Its
  tensor cores then multiply several times as fast. NVIDIA GPUs from Ampere on.
- `bfloat16`: autocast makes 16-bit copies of the factors. It has the range of float32 and 7 bits of fraction.
- `float16`: the same with 10 bits of fraction and a smaller range. Small gradients would become 0, so the loss is
  multiplied by a large factor before the backward pass, and the gradients are divided by it afterwards.

Evaluations and samples are computed in float32, because everyone who loads the weights later gets these numbers.

Source: Micikevicius et al. 2018, "Mixed Precision Training"; `torch.amp`, `torch.set_float32_matmul_precision`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch

from minigpt.config import TrainingConfig
from minigpt.errors import ConfigError

DTYPES = {
    "float32": torch.float32,
    "tf32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}
"""The type of the factors of a matrix product."""


def resolve_precision(precision: str, device: torch.device) -> str:
    """Replace `auto` by bfloat16 on hardware that multiplies in it, twice as fast, and by float32 on other hardware."""
    if precision != "auto":
        return precision
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    has = torch.cpu.get_capabilities() if device.type == "cpu" else {}
    return "bfloat16" if has.get("avx512_bf16") or has.get("amx_bf16") else "float32"


def check_precision(precision: str, device: torch.device) -> None:
    """Refuse a precision that a device does not support.

    Raises:
        ConfigError: float16 or tf32 on a device other than an NVIDIA GPU, or tf32 on a GPU older than Ampere.
    """
    if precision in ("float16", "tf32") and device.type != "cuda":
        raise ConfigError(
            f"training.precision is {precision}, which needs an NVIDIA GPU; this run is on {device.type}.",
            mend="Set training.precision to float32 or bfloat16.",
        )
    if precision == "tf32" and not torch.cuda.is_tf32_supported():
        raise ConfigError(
            "training.precision is tf32, which needs an NVIDIA GPU of the Ampere generation or newer.",
            mend="Set training.precision to float32 or float16.",
        )


def autocast(config: TrainingConfig, device: torch.device) -> contextlib.AbstractContextManager[Any]:
    """Return the context for a forward pass; it can be entered again and again, and does nothing for float32 and tf32.

    Never hold it across a `yield`: autocast belongs to the thread.
    """
    if DTYPES[config.precision] is torch.float32:
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype=DTYPES[config.precision])


@contextlib.contextmanager
def matmul_precision(precision: str) -> Iterator[None]:
    """Compute products of float32 matrices in TF32 inside the block if `precision` is `tf32`; otherwise do nothing.

    torch has one such switch for the whole process, not one a thread. So hold the block around a bounded piece of work
    and never across a `yield`: it restores the former value, and other runs and pages keep full float32. What another
    thread multiplies on the GPU at that very moment is in TF32 too.
    """
    if precision != "tf32":
        yield
        return
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def make_scaler(config: TrainingConfig, device: torch.device) -> torch.amp.GradScaler | None:
    """Return the loss scaler of float16; None for other precisions, which need none."""
    return torch.amp.GradScaler(device.type) if config.precision == "float16" else None
