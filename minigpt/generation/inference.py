"""Run a model for its outputs only, without training it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def evaluation_mode(model: torch.nn.Module) -> Iterator[None]:
    """Switch dropout and gradients off inside the block; afterwards the model is in its former mode again.

    Hold it around one forward pass, never across a `yield`. Inference mode belongs to the thread, so it would stay on
    in the code that asks for the next value.
    """
    was_training = model.training
    if was_training:
        model.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        if was_training:
            model.train()
