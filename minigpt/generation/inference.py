"""Running a model to read from it, not to train it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def reading(model: torch.nn.Module) -> Iterator[None]:
    """Switch dropout and gradients off within the block, and give the model back in the mode it was in.

    Hold it around one forward pass, never across a `yield`: inference mode belongs to the thread, and would stay on
    in whatever code asks for the next value.
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
