"""Compiling the model: many small operations become few large ones.

`torch.compile` generates code for exactly this model, and compiles it: with a C++ compiler on a processor, with Triton
on an NVIDIA GPU. The compiled function shares its weights with the plain model. Results differ from those of the plain
model by rounding.

A training compiles the forward and backward pass for one size of micro-batch. For two layers on two cores that takes 15
to 50 seconds, in the first step. Later steps are quicker (117,000 tokens per second instead of 78,000 with the preset
`nano`), so it pays on long runs. The plain model is the one that is evaluated, sampled and saved.

Generation can compile the pass of new tokens behind a cache, for every length of the cache at once. It takes as long to
start. On a processor the step of `decode` is quicker without it, so it is meant for GPUs and for models that `decode`
does not cover.

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
    from minigpt.model.kv_cache import KVCache
    from minigpt.model.transformer import Transformer

BACKEND = "inductor"
"""torch's name of the compiler."""
COMPILERS = ("g++", "clang++", "c++", "cl")
"""C++ compilers that code for a processor can be compiled with; the variable CXX can name another."""
LAUNCHERS = ("gcc", "clang", "cc")
"""C compilers that Triton can use for the code that launches its kernels; the variable CC can name another."""
ANNOUNCEMENT = "Compiling the model for this machine, which can take a minute or more; after that, steps are quicker."
"""Shown while the first step is computed."""
TRAINING = "training.compile"
"""The setting that messages are about, unless told otherwise."""
MEND = "Set training.compile to false; the training is then the same, only slower."
ON_PAGE = "Switch training.compile off; the training is then the same, only slower."


def check_compiler(device: torch.device, setting: str = TRAINING) -> None:
    """Check before the work starts that everything needed to compile is installed.

    Args:
        device: The device of the model.
        setting: Name of the setting that asks for it.

    Raises:
        ConfigError: There is no C++ compiler; or, on an NVIDIA GPU, no C compiler or no Triton, which PyTorch for Linux
            installs.
    """
    on_gpu = device.type == "cuda"
    if on_gpu and importlib.util.find_spec("triton") is None:
        raise _refusal(setting, "needs Triton on an NVIDIA GPU; it is not installed.")
    kind, variable, names = ("C", "CC", LAUNCHERS) if on_gpu else ("C++", "CXX", COMPILERS)
    chosen = os.environ.get(variable, "").split()[:1]
    if not any(shutil.which(name) for name in (*chosen, *names)):
        problem = f"needs a {kind} compiler; none is found on this machine."
        raise _refusal(setting, problem, f"Install one, for example {names[0]}, or set {setting} to false.")


def _refusal(setting: str, problem: str, mend: str | None = None) -> ConfigError:
    if setting == TRAINING:
        return ConfigError(f"{setting} {problem}", mend=mend or MEND, on_page=ON_PAGE)
    return ConfigError(f"{setting} {problem}", mend=mend or f"Set {setting} to false; the text is then the same.")


def compiled_forward(
    model: Transformer, setting: str = TRAINING, *, dynamic: bool = False
) -> Callable[..., torch.Tensor]:
    """Return the forward pass of a model; its first call compiles it.

    Args:
        model: The result uses its weights.
        setting: Name of the setting that asks for it.
        dynamic: Whether one program serves all lengths. Otherwise there is one for each size of the ids; a training has
            at most two.

    Returns:
        A function with the arguments of `Transformer.forward`. It raises a ConfigError if the compiler fails.
    """
    from torch._dynamo.exc import TorchDynamoException  # takes a second to import

    if isinstance(model.positions, AngleTable):
        model.positions.reserve(model.config.sequence_length)  # compiled code cannot lengthen the table
    forward = torch.compile(model, backend=BACKEND, dynamic=dynamic)

    def call(ids: torch.Tensor, **options: KVCache | None) -> torch.Tensor:
        try:
            logits: torch.Tensor = forward(ids, **options)
        except TorchDynamoException as error:
            reason = str(getattr(error, "inner_exception", error)).strip().partition("\n")[0]
            raise _refusal(setting, f"failed on this machine: {reason}") from error
        return logits

    return call
