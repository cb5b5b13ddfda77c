"""Compiling the forward and backward pass: many small operations become few large ones.

`torch.compile` writes a program for exactly this model and one size of micro-batch and hands it to a compiler: on a
processor a C++ compiler, on an NVIDIA GPU Triton. For two layers on two cores that takes 15 to 50 seconds, in the first
step of a training; from then on steps are quicker (117,000 tokens per second instead of 78,000 with the preset `nano`),
so it pays on long runs. The weights stay where they are: what is measured, sampled and saved is the plain model.
Results differ from the plain ones by rounding.

Source: Ansel et al. 2024, "PyTorch 2: Faster Machine Learning Through Dynamic Python Bytecode Transformation and Graph
Compilation".
"""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch

from minigpt.errors import ConfigError

if TYPE_CHECKING:
    from minigpt.model.transformer import Transformer

BACKEND = "inductor"
"""Who compiles, by torch's name."""
COMPILERS = ("g++", "clang++", "c++", "cl")
"""Programs that the pieces for a processor are compiled with, unless CXX names another."""
LAUNCHERS = ("gcc", "clang", "cc")
"""Programs that Triton compiles with what starts its pieces on a GPU, unless CC names another."""
ANNOUNCEMENT = "Compiling the model for this machine, which can take a minute or more; after that, steps are quicker."
"""Shown while the first step is computed."""
MEND = "Set training.compile to false; the training is then the same, only slower."


def check_compiler(device: torch.device) -> None:
    """Say at once what is missing, before anything is trained.

    Raises:
        ConfigError: There is no C++ compiler; on an NVIDIA GPU no C compiler, or no Triton, which PyTorch for Linux
            brings along.
    """
    on_gpu = device.type == "cuda"
    if on_gpu and importlib.util.find_spec("triton") is None:
        raise ConfigError("training.compile needs Triton on an NVIDIA GPU; it is not installed.", mend=MEND)
    kind, variable, names = ("C", "CC", LAUNCHERS) if on_gpu else ("C++", "CXX", COMPILERS)
    chosen = os.environ.get(variable, "").split()[:1]
    if not any(shutil.which(name) for name in (*chosen, *names)):
        raise ConfigError(
            f"training.compile needs a {kind} compiler; none is found on this machine.",
            mend=f"Install one, for example {names[0]}, or set training.compile to false.",
        )


def compiled(model: Transformer) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return the forward pass of a model, compiled when it is first called.

    Args:
        model: In training mode; it keeps its weights.

    Returns:
        From ids (B, T) to logits (B, T, V). It raises a ConfigError where the compiler fails.
    """
    from torch._dynamo.exc import TorchDynamoException  # a second to import, which plain trainings need not wait

    forward = torch.compile(
        model, backend=BACKEND, dynamic=False
    )  # a program for each size of micro-batch, at most two

    def call(ids: torch.Tensor) -> torch.Tensor:
        try:
            logits: torch.Tensor = forward(ids)
        except TorchDynamoException as error:
            reason = str(getattr(error, "inner_exception", error)).strip().partition("\n")[0]
            raise ConfigError(f"training.compile failed on this machine: {reason}", mend=MEND) from error
        return logits

    return call
