"""Compiling the forward and backward pass: many small operations become few large ones.

`torch.compile` generates code for exactly this model and one size of micro-batch, and compiles it: with a C++ compiler
on a processor, with Triton on an NVIDIA GPU. For two layers on two cores that takes 15 to 50 seconds, in the first step
of a training. Later steps are quicker (117,000 tokens per second instead of 78,000 with the preset `nano`), so it pays
on long runs. The compiled function shares its weights with the plain model, which is the one that is evaluated, sampled
and saved. Results differ from those of the plain model by rounding.

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
from minigpt.model.positions import AngleTable

if TYPE_CHECKING:
    from minigpt.model.transformer import Transformer

BACKEND = "inductor"
"""torch's name of the compiler."""
COMPILERS = ("g++", "clang++", "c++", "cl")
"""C++ compilers that code for a processor can be compiled with; the variable CXX can name another."""
LAUNCHERS = ("gcc", "clang", "cc")
"""C compilers that Triton can use for the code that launches its kernels; the variable CC can name another."""
ANNOUNCEMENT = "Compiling the model for this machine, which can take a minute or more; after that, steps are quicker."
"""Shown while the first step is computed."""
MEND = "Set training.compile to false; the training is then the same, only slower."
ON_PAGE = "Switch training.compile off; the training is then the same, only slower."


def check_compiler(device: torch.device) -> None:
    """Check before a training starts that everything needed to compile is installed.

    Args:
        device: The device of the training.

    Raises:
        ConfigError: There is no C++ compiler; or, on an NVIDIA GPU, no C compiler or no Triton, which PyTorch for Linux
            installs.
    """
    on_gpu = device.type == "cuda"
    if on_gpu and importlib.util.find_spec("triton") is None:
        raise ConfigError(
            "training.compile needs Triton on an NVIDIA GPU; it is not installed.", mend=MEND, on_page=ON_PAGE
        )
    kind, variable, names = ("C", "CC", LAUNCHERS) if on_gpu else ("C++", "CXX", COMPILERS)
    chosen = os.environ.get(variable, "").split()[:1]
    if not any(shutil.which(name) for name in (*chosen, *names)):
        raise ConfigError(
            f"training.compile needs a {kind} compiler; none is found on this machine.",
            mend=f"Install one, for example {names[0]}, or set training.compile to false.",
            on_page=ON_PAGE,
        )


def compiled_forward(model: Transformer) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return the forward pass of a model; its first call compiles it.

    Args:
        model: A model in training mode; the result uses its weights.

    Returns:
        A function from ids (B, T) int64 to logits (B, T, V). It raises a ConfigError if the compiler fails.
    """
    from torch._dynamo.exc import TorchDynamoException  # takes a second to import

    if isinstance(model.positions, AngleTable):
        model.positions.reserve(model.config.sequence_length)  # compiled code cannot lengthen the table
    # not dynamic: a program for each size of micro-batch; there are at most two sizes
    forward = torch.compile(model, backend=BACKEND, dynamic=False)

    def call(ids: torch.Tensor) -> torch.Tensor:
        try:
            logits: torch.Tensor = forward(ids)
        except TorchDynamoException as error:
            reason = str(getattr(error, "inner_exception", error)).strip().partition("\n")[0]
            raise ConfigError(
                f"training.compile failed on this machine: {reason}", mend=MEND, on_page=ON_PAGE
            ) from error
        return logits

    return call
